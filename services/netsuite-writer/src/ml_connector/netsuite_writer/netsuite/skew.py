"""How far this machine's clock is from NetSuite's, by the header `Date`. Pure.

Oracle says neither how wrong `iat` and `exp` of an assertion may be, nor how one is refused (docs/unproven.md): any
refusal may be for the time, if the clocks differ.
"""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import Final

SEEN_S: Final = 3  # `Date` has whole seconds, and an answer takes its time: less than this says nothing
LARGEST_S: Final = 24 * 3600  # a machine that is further off should not sign anything


def ahead_s(date: str, now_ms: int) -> int | None:
    """Seconds that we are ahead of NetSuite (below 0: behind); None when `date` is none."""
    try:
        return round(now_ms / 1000 - parsedate_to_datetime(date).timestamp())
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def agrees(off_s: int) -> bool:
    return abs(off_s) <= SEEN_S


def worth_signing(off_s: int, *, instead_of: int) -> bool:
    """Was what was signed for the time, `instead_of` seconds from ours, so wrong that NetSuite's is another?"""
    return not agrees(off_s - instead_of) and abs(off_s) <= LARGEST_S
