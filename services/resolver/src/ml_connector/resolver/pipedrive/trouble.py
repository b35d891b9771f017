"""What an answer of Pipedrive that is none means, and how long to leave the company alone. Pure, one table.

The two kinds of 429 differ in `x-ratelimit-remaining` only; hammering after a 429 turns into Cloudflare's 403 with an
HTML body (facts/pipedrive.md section 10; what the vendor documents nowhere stands in docs/unproven.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

WINDOW_S: Final = 2.0
SPENT_PAUSE_S: Final = 900.0  # resets at midnight of a time zone that Pipedrive does not name
BANNED_PAUSE_S: Final = 300.0
REFUSED_PAUSE_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Trouble:
    """`pause_s`: at least; the breaker's own pause may be longer. `outage`: each one in a row doubles the pause."""

    reason: str
    pause_s: float = 0.0
    outage: bool = True


def trouble(status: int, headers: Mapping[str, str]) -> Trouble:
    """`headers` with lower-case names, as httpx2 has them."""
    asked_s = _seconds(headers, "retry-after")  # not in today's documents
    html = "json" not in headers.get("content-type", "")
    match status:
        case 429 if headers.get("x-ratelimit-remaining") == "0":
            reset_s = asked_s or _seconds(headers, "x-ratelimit-reset") or WINDOW_S
            return Trouble("Pipedrive's burst limit is spent", reset_s, outage=False)
        case 429:
            return Trouble("Pipedrive's daily token budget is spent", asked_s or SPENT_PAUSE_S, outage=False)
        case 403 if html:
            return Trouble("Pipedrive's edge has banned us for a while", BANNED_PAUSE_S)
        case 401:
            return Trouble("Pipedrive does not accept the credential", REFUSED_PAUSE_S)
        case 402:
            return Trouble("the Pipedrive account is closed or not paid", REFUSED_PAUSE_S)
        case 403:
            return Trouble("the credential may not read this in Pipedrive", REFUSED_PAUSE_S)
        case _:
            return Trouble(f"Pipedrive answered {status}")


def _seconds(headers: Mapping[str, str], name: str) -> float | None:
    """Where the header holds whole seconds (the unit of x-ratelimit-reset is inferred); never longer than a day's end
    is waited for."""
    value = headers.get(name, "")
    return min(float(value), SPENT_PAUSE_S) if value.isascii() and value.isdigit() else None
