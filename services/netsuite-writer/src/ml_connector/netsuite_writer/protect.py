"""Decide when an account, a record type or a flow is better left alone. Pure; the caller passes `now_s`.

In: how requests and records ended. Out: may the next request go, must the flow halt.
Never: I/O, sleeping, reading the clock. Nothing here dead-letters a record; it prevents that (DESIGN rule 6).
"""

from __future__ import annotations

import random
import re
from collections import deque

SIGNATURE_CHARACTERS = 120  # at most; enough to tell NetSuite's texts apart, short enough for a list
# An apostrophe within a word ends no quotation, 'O'Brien' is one text; a quotation cut off ends with the message.
_QUOTED = re.compile(
    r"""(?<!\w)'.*?(?:'(?!\w)|\Z)|\u2018.*?(?:\u2019(?!\w)|\Z)|"[^"]*(?:"|\Z)|“[^”]*(?:”|\Z)|«[^»]*(?:»|\Z)""",
    re.DOTALL,
)
_TOKEN = re.compile(r"[\w@.,:/#+-]+")


class Breaker:
    """Suspension of an account, or of one record type of it, with a half-open probe.

    Only requests that began after it last tripped can trip it again: the others met the same fault.
    """

    def __init__(self, *, first_s: float, longest_s: float, chance: random.Random) -> None:
        self.is_open = False
        self.reason = ""  # of the last trip; empty when closed
        self._first_s = first_s
        self._longest_s = longest_s
        self._chance = chance
        self._pause_s = first_s
        self._tripped_s = float("-inf")
        self._until_s = float("-inf")
        self._probing = False

    def trip(self, now_s: float, reason: str, *, started_s: float) -> bool:
        """Open it or, when a probe failed, keep it open for twice as long; True if it was closed before."""
        if started_s <= self._tripped_s:
            return False
        was_closed = not self.is_open
        self._pause_s = self._first_s if was_closed else min(self._longest_s, 2 * self._pause_s)
        self._tripped_s = now_s
        self._until_s = now_s + self._pause_s * self._chance.uniform(0.75, 1.0)
        self.is_open, self.reason, self._probing = True, reason, False
        return was_closed

    def admits(self, now_s: float) -> bool:
        """Closed; or the pause is over and no probe under way."""
        return not self.is_open or (now_s >= self._until_s and not self._probing)

    def begin(self, now_s: float) -> None:
        """A request begins; when the pause is over it is the probe."""
        if self.is_open and now_s >= self._until_s:
            self._probing = True

    def abandoned(self, *, started_s: float) -> None:
        """A request ended without saying anything (overload, cancelled); if it was the probe, the next may probe."""
        if started_s >= self._until_s:
            self._probing = False

    def succeeded(self) -> bool:
        """A request went through, so the fault is over; True if it was open."""
        was_open = self.is_open
        self.is_open, self.reason, self._probing = False, "", False
        return was_open

    def opens_at_s(self, now_s: float) -> float | None:
        """When the next probe may go; None when one may go now, or when an answer decides."""
        return self._until_s if self.is_open and now_s < self._until_s else None


class Streak:
    """Failures of a whole account in a row (5xx, time-outs) without one success."""

    def __init__(self, length: int) -> None:
        self._length = length
        self._failures = 0

    def failed(self) -> bool:
        """True from the failure on that makes the streak long enough, until a success."""
        self._failures += 1
        return self._failures >= self._length

    def succeeded(self) -> None:
        self._failures = 0


class Flood:
    """Many records of one flow rejected alike in a row: more likely the flow's fault than theirs."""

    def __init__(self, *, run: int, ratio: float, window: int) -> None:
        """Trips at `run` like rejections in a row that make up, with others, `ratio` of the last `window` endings."""
        self._run = run
        self._ratio = ratio
        self._endings: deque[bool] = deque(maxlen=window)  # True: rejected
        self._signature = ""
        self._alike = 0

    def rejected(self, signature: str) -> bool:
        """True: this one would be too many; halt the flow before it is dead-lettered.

        So it says of every further one alike, as those still under way end, until one is written.
        """
        self._alike = self._alike + 1 if signature == self._signature else 1
        self._signature = signature
        self._endings.append(True)
        return self._alike >= self._run and sum(self._endings) >= self._ratio * len(self._endings)

    def written(self) -> None:
        self._alike = 0
        self._endings.append(False)

    def reset(self) -> None:
        """A person resumed the flow: what went before counts no more."""
        self._alike = 0
        self._endings.clear()


def signature(code: str, message: str) -> str:
    """What rejections of different records have in common: without quoted texts, numbers, ids and e-mail addresses.

    Linear in the message, which comes from outside.
    """
    words = _TOKEN.sub(_constant, _QUOTED.sub(" ", f"{code} {message}".lower()))
    return " ".join(words.split())[:SIGNATURE_CHARACTERS].rstrip()


def _constant(token: re.Match[str]) -> str:
    word = token.group()
    return "" if "@" in word or any(character.isnumeric() for character in word) else word
