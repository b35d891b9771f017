"""A W3C trace context as it travels in headers: `00-<trace id>-<span id>-<flags>`. Pure but for chance."""

from __future__ import annotations

import random
from contextvars import ContextVar
from typing import Final

LENGTH: Final = 55
_ODD: Final = frozenset("13579bdf")  # the last digit of the flags: bit 0 says sampled

# Of what is being done, in this task: set by `telemetry.Carried`.
doing: Final[ContextVar[str]] = ContextVar("traceparent", default="")


def current() -> str:
    """The traceparent of what is being done; empty when nobody says."""
    return doing.get()


def new_traceparent() -> str:
    """A fresh, unsampled one, for an event that came without."""
    digits = random.randbytes(24).hex()  # noqa: S311  ids, no secrets; all zeros, which would be no id, never come
    return f"00-{digits[:32]}-{digits[32:]}-00"


def trace_id(traceparent: str | bytes | None) -> str:
    """The 32 hex digits of a traceparent; empty when there is none."""
    if not traceparent:
        return ""
    text = traceparent.decode("ascii", "replace") if isinstance(traceparent, bytes) else traceparent
    parts = text.split("-")
    return parts[1] if len(parts) == 4 and len(parts[1]) == 32 else ""


def sampled(traceparent: str | None) -> bool:
    """Whether whoever made it records its trace; false for what is no traceparent."""
    return traceparent is not None and len(traceparent) == LENGTH and traceparent[-1] in _ODD


def parse(traceparent: str) -> tuple[int, int, int] | None:
    """Trace id, span id, flags; None for what is no traceparent."""
    parts = traceparent.split("-")
    try:
        found = int(parts[1], 16), int(parts[2], 16), int(parts[3], 16)
    except (IndexError, ValueError):
        return None
    return found if len(traceparent) == LENGTH and found[0] and found[1] else None
