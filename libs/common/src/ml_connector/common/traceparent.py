"""A W3C trace context as it travels in headers: `00-<trace id>-<span id>-<flags>`. Pure but for chance."""

from __future__ import annotations

import random


def new_traceparent() -> str:
    """A fresh, unsampled one, for an event that came without."""
    digits = random.randbytes(24).hex()  # noqa: S311  ids, no secrets; all zeros, which would be no id, never come
    return f"00-{digits[:32]}-{digits[32:]}-00"


def trace_id(traceparent: str | bytes | None) -> str:
    """The 32 hex digits of a traceparent; empty when there is none."""
    text = traceparent.decode("ascii", "replace") if isinstance(traceparent, bytes) else traceparent or ""
    parts = text.split("-")
    return parts[1] if len(parts) == 4 and len(parts[1]) == 32 else ""
