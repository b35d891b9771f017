"""Structured logs: a static event and fields from a closed list, so that no secret or customer value can slip in.

A field whose name is not in FIELDS is dropped and its name reported; a text is cut. Exceptions are printed by
type and, for our own errors only, by message (those never hold values).
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Final, Literal, TextIO, cast

import structlog

from ml_connector.common.errors import ConnectorError
from ml_connector.common.traceparent import current, sampled, trace_id

FIELDS: Final = frozenset(
    """
    account action after_s attempt cause code company count days_left deadline_s delay_s destination due_in_s entity
    environment epoch error flow flows generation group host id in_flight kek kind lag lane limit name offset
    outcome partition partitions path pid port problem reason record_key records request_id secrets service
    refused signal size_bytes source_id span_id stage state status subject took_ms topic trace_id
    unavailable url version waiting
    """.split()  # noqa: SIM905  a paragraph of words is read more easily than a list of literals
)
MAX_TEXT: Final = 500

Logger = structlog.stdlib.BoundLogger

_KEPT: Final = FIELDS | {"event", "level", "timestamp", "logger", "exception", "dropped_fields"}


def get_logger() -> Logger:
    return cast(Logger, structlog.get_logger())


def configure(
    service: str,
    *,
    level: str = "info",
    form: Literal["json", "console"] | str = "json",
    to: TextIO | None = None,
) -> None:
    """Send this process's logs, those of libraries included, to `to` (default stderr)."""
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _name_trace,
        _name_exception,
        _keep_known_fields,
    ]
    renderer: structlog.types.Processor = (
        structlog.processors.JSONRenderer() if form == "json" else structlog.dev.ConsoleRenderer(colors=False)
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.WriteLoggerFactory(file=to or sys.stderr),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.bind_contextvars(service=service)
    _route_libraries(level)


class _ToStructlog(logging.Handler):
    """What libraries log: the logger's name and the static format text, never the arguments (they may hold values)."""

    def emit(self, record: logging.LogRecord) -> None:
        get_logger().log(
            record.levelno,
            "library_message",
            name=record.name,
            problem=str(record.msg),
            error=_type_of(record),
        )


def _type_of(record: logging.LogRecord) -> str | None:
    return record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else None


def _route_libraries(level: str) -> None:
    root = logging.getLogger()
    root.handlers[:] = [_ToStructlog()]
    root.setLevel(max(logging.WARNING, getattr(logging, level.upper())))


def _name_trace(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Of what is being done: the trace, and its span if there is one that is recorded."""
    now = current()
    if now:
        event.setdefault("trace_id", trace_id(now))
        if sampled(now):
            event.setdefault("span_id", now[36:52])
    return event


def _name_exception(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """`exc_info=...` becomes the error's type, and its text when it is one of ours."""
    given = event.pop("exc_info", None)
    error = sys.exc_info()[1] if given is True else given
    if isinstance(error, BaseException):
        event["error"] = type(error).__name__
        if isinstance(error, ConnectorError):
            event["problem"] = str(error)
    return event


def _keep_known_fields(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    dropped = [name for name in event if name not in _KEPT]
    for name in dropped:
        del event[name]
    if dropped:
        event["dropped_fields"] = dropped
    for name, value in event.items():
        if isinstance(value, str) and len(value) > MAX_TEXT:
            event[name] = value[:MAX_TEXT] + "..."
    return event
