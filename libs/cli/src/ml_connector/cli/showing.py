"""How answers of the admin service look in a terminal, in a pipe, and to a program.

In: values as the service gives them. Out: results on stdout, hints on stderr.
Never: a control character that came from outside.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from ml_connector.cli.say import err, out
from ml_connector.common.clock import SystemClock

PIPE_WIDTH: Final = 100  # columns of a table that goes into a file or a pipe
GAP: Final = 2  # between two columns
LEAST: Final = 12  # of a column that is cut
BLIND_S: Final = 60  # the service looks once a second

# Besides what controls a terminal: marks that turn the direction of what follows them.
_HARMFUL: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
_TURNING: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_ENTITIES: Final = {"organization": "org"}


def clean(value: object) -> str:
    """As text in which nothing acts on a terminal; lines and tabs stay."""
    text = "" if value is None else str(value)
    return "".join("\N{REPLACEMENT CHARACTER}" if _acts(one) else one for one in text)


def _acts(one: str) -> bool:
    return one not in "\n\t" and (one in _TURNING or unicodedata.category(one) in _HARMFUL)


def one_line(value: object) -> str:
    return clean(" ".join(("" if value is None else str(value)).split()))


def pretty(value: object, *, sort_keys: bool = False) -> str:
    """JSON for reading; text as it is."""
    if isinstance(value, str):
        return clean(value)
    return clean(json.dumps(value, indent=2, sort_keys=sort_keys, ensure_ascii=False))


def time_of(value: object) -> datetime | None:
    """ISO 8601, as the service writes it."""
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found is not None and found.tzinfo is None else found


def when(value: object) -> str:
    """`2026-07-28 03:00:12Z`; a dash for never."""
    found = time_of(value)
    return f"{found.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z" if found is not None else "-"


def age(value: object) -> str:
    """`42s`, `7m`, `3h`, `12d`."""
    found = time_of(value)
    if found is None:
        return "-"
    seconds = max(0.0, SystemClock().now_ms() / 1000 - found.timestamp())
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size:.0f}{unit}"
    return f"{seconds:.0f}s"


def lasting(seconds: float) -> str:
    """A stretch of time, roughly: `42 s`, `7 min`, `3 h`, `12 days`."""
    for unit, size in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(1.0, seconds):.0f} s"


def object_of(one: Mapping[str, Any]) -> str:
    """`org 5`: what `mlc record show` takes; the record's key where no object is known."""
    entity, source_id = one.get("entity"), one.get("source_id")
    if entity and source_id:
        return one_line(f"{_ENTITIES.get(entity, entity)} {source_id}")
    return one_line(one.get("record_key"))


def table(*columns: str, rest: str) -> Table:
    """`columns` stay whole, each on one line; `rest` is what is left of the width, and is cut."""
    made = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), expand=True, header_style="bold")
    for name in columns:
        made.add_column(name, no_wrap=True)
    made.add_column(rest, ratio=1, no_wrap=True, overflow="ellipsis")
    return made


def add(made: Table, *values: object) -> None:
    made.add_row(*(Text(one_line(value)) for value in values))


def facts(pairs: Iterable[tuple[str, object]]) -> Table:
    """A name and a value on each line; pairs without a value are left out."""
    made = Table.grid(padding=(0, GAP, 0, 0))
    made.add_column(no_wrap=True, style="bold")
    made.add_column(overflow="fold")
    for name, value in pairs:
        if value not in (None, "", [], {}):
            made.add_row(name, Text(one_line(value)))
    return made


def show(what: RenderableType) -> None:
    """Fitted to the terminal, or to `PIPE_WIDTH`; wider only where an id would be cut, since people copy ids."""
    width = out.width if out.is_terminal else PIPE_WIDTH
    if isinstance(what, Table):
        width = max(width, _least(what))
    console = out if width <= out.width else Console(width=width, highlight=False)
    with console.capture() as captured:
        console.print(what, width=width, soft_wrap=False)
    lines = captured.get().rstrip("\n").split("\n")
    sys.stdout.write("\n".join(line.rstrip(" ") for line in lines) + "\n")


def _least(made: Table) -> int:
    """All columns but the last one whole, and something of that."""
    whole = [Text.from_markup(str(column.header)).cell_len for column in made.columns[:-1]]
    for place, column in enumerate(made.columns[:-1]):
        whole[place] = max(whole[place], *(cell.cell_len for cell in column.cells if isinstance(cell, Text)), 0)
    return sum(whole) + GAP * len(whole) + LEAST


def counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def say(text: str) -> None:
    """A line of the result, as long as it is."""
    out.print(Text(clean(text)))


def hint(text: str) -> None:
    """Beside the result: on stderr."""
    err.print(Text(clean(text), style="dim"))


def tell(answer: Mapping[str, Any]) -> None:
    """The answer for machines."""
    sys.stdout.write(json.dumps(answer) + "\n")


def tell_behind(answer: Mapping[str, Any]) -> None:
    """Whether there may be more than was shown."""
    behind = answer.get("behind") or {}
    if behind and behind["age_s"] is None:
        hint("the admin service reads the topics for the first time: this is not all")
    elif behind and behind["age_s"] > BLIND_S:
        hint(f"the admin service has not seen the ends of the topics for {behind['age_s']:.0f} s: this may not be all")
    elif behind and behind["messages"]:
        hint(f"{counted(behind['messages'], 'message')} behind the topics")
