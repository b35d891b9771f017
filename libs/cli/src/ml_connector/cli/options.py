"""What is typed: the options that many commands have, ids and times as people write them.

Never: asking anybody. What is written wrongly is BadInput before anything happens.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, get_type_hints

import typer

from ml_connector.cli.showing import one_line
from ml_connector.common.clock import SystemClock
from ml_connector.common.errors import BadInput

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Reason = Annotated[str, typer.Option(help="Why. It is recorded with your name.")]
Id = Annotated[str, typer.Argument(help="Its id, twelve hexadecimal digits.", metavar="ID")]

_ID: Final = re.compile(r"[0-9a-f]{12}\Z")
_FLOW: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}\Z")
_AGO: Final = re.compile(r"(\d{1,6})([smhdw])\Z")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def id_of(text: str) -> str:
    """An id as it stands in a path. Raises BadInput."""
    if not _ID.match(text.strip().lower()):
        raise BadInput(f"{one_line(text)} is no id: it has twelve hexadecimal digits; the lists show them")
    return text.strip().lower()


def each_of(texts: list[str] | None) -> list[str]:
    """What an option names that takes several, comma separated, and can be repeated."""
    return [one.strip() for text in texts or [] for one in text.split(",") if one.strip()]


def flow_name(text: str) -> str:
    """A flow's name as it stands in a path. Raises BadInput."""
    if not _FLOW.match(text.strip()):
        raise BadInput(f"{one_line(text)} is no name of a flow: `mlc flows list` shows them")
    return text.strip()


def now() -> datetime:
    """In UTC."""
    return datetime.fromtimestamp(SystemClock().now_ms() / 1000, UTC)


def moment(text: str, now: datetime) -> str:
    """`2h` ago, or a date or time in ISO 8601 (without a zone it is UTC), as the service takes it. Raises BadInput."""
    ago = _AGO.match(text.strip())
    try:
        found = now - timedelta(**{_UNITS[ago[2]]: int(ago[1])}) if ago else datetime.fromisoformat(text.strip())
    except (ValueError, OverflowError) as error:
        raise BadInput(f"{one_line(text)} is no time: write 30m, 2h, 7d, or 2026-07-28T03:00") from error
    aware = found if found.tzinfo is not None else found.replace(tzinfo=UTC)
    return aware.astimezone(UTC).isoformat().replace("+00:00", "Z")


def takes(**kinds: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Parameters that are dataclasses become one option for each of their fields: many options, few arguments."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command, eval_str=True).parameters.values()
        parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own if one.name not in kinds]
        for kind in kinds.values():
            parameters += _options(kind)

        @functools.wraps(command)
        def run(**given: Any) -> None:
            made = {
                name: kind(**{field.name: given.pop(field.name) for field in fields(kind)})
                for name, kind in kinds.items()
            }
            command(**given, **made)

        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what typer reads
        return run

    return decorate


def _options(kind: type) -> list[inspect.Parameter]:
    hints = get_type_hints(kind, include_extras=True)
    return [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=hints[field.name]
        )
        for field in fields(kind)
    ]
