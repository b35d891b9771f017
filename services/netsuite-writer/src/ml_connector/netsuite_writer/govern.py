"""How many requests one NetSuite account may have in flight now. Pure; the caller passes `now_s`.

In: requests as they begin and end, refusals for concurrency. Out: the free slots, or when to ask again.
Never: I/O, sleeping, reading the clock. Chance is injected, so that several processes do not probe in step.
One governor per account, for all its flows: NetSuite counts over all integrations and tells nobody how many
slots the others hold (facts/netsuite.md section 9). So the free ones are found by trying: a refusal lowers the limit
at once, time raises it again: quickly to just below what was refused, then now and then one above.
"""

from __future__ import annotations

import heapq
import random
from bisect import bisect_right
from dataclasses import dataclass

DECREASE = 0.75  # of what was in flight when NetSuite refused
REGAIN_S = 1.0  # at most; until the limit is back at the level below the refused one
PROBE_FIRST_S = 2.0  # at most; from there until the refused level is tried again, doubled each time that fails
PROBE_LONGEST_S = 8.0  # at most; freed slots are found within this and the two lines below
CONFIRM_S = 1.0  # a level not refused for this long is free; over twice the slowest refusal measured against (400 ms)
GROW_S = 0.04  # per slot, once the refused level turned out to be free: 50 slots in 2 s
ALONE_FIRST_S = 1.0  # at most, a fifth at least; the pause when even a single request was refused, doubled while it is
ALONE_LONGEST_S = 5.0  # at most


@dataclass(frozen=True, slots=True)
class _Growth:
    """The way back up after a refusal, fixed at that moment: when each level is reached."""

    level: int  # where it starts
    since_s: float
    refused: int  # the level NetSuite refused, above `level`
    step_s: float  # per slot, up to below `refused`
    probe_s: float  # when `refused` is tried again

    @property
    def forgotten_s(self) -> float:
        """From here on the refused level counts as free."""
        return self.probe_s + CONFIRM_S

    def reached_s(self, level: int) -> float:
        if level < self.refused:
            return self.since_s + (level - self.level) * self.step_s
        if level == self.refused:
            return self.probe_s
        return self.forgotten_s + (level - self.refused) * GROW_S

    def limit(self, now_s: float, ceiling: int) -> int:
        above = range(self.level + 1, ceiling + 1)
        return min(ceiling, self.level + bisect_right(above, now_s, key=self.reached_s))


class Governor:
    """Slots of one account. The limit starts at the ceiling and stays there until NetSuite refuses a request."""

    def __init__(self, ceiling: int, *, chance: random.Random) -> None:
        self.ceiling = ceiling
        self.in_flight = 0
        self._chance = chance
        self._holds: list[float] = []  # a heap of the moments at which they end
        self._growth: _Growth | None = None  # None: never refused
        self._decreased_s = float("-inf")
        self._probe_pause_s = PROBE_FIRST_S
        self._closed_until_s = float("-inf")
        self._asked_until_s = float("-inf")  # NetSuite named this moment itself
        self._alone_pause_s = ALONE_FIRST_S

    def bound(self, ceiling: int) -> None:
        """The flow or governanceLimits changed.

        A lower ceiling holds at once; a higher one too, unless the way back from a refusal is not over yet.
        """
        self.ceiling = ceiling

    def limit(self, now_s: float) -> int:
        """Requests that may be in flight now; never above the ceiling."""
        return self.ceiling if self._growth is None else self._growth.limit(now_s, self.ceiling)

    def free(self, now_s: float) -> int:
        """Slots that may be taken now."""
        if now_s < max(self._closed_until_s, self._asked_until_s):
            return 0
        return max(0, self.limit(now_s) - self.in_flight - self._held(now_s))

    def opens_at_s(self, now_s: float) -> float | None:
        """The earliest moment after `now_s` at which `free` may rise by itself; None: only a `give_back` changes it."""
        opens_s = max(self._closed_until_s, self._asked_until_s)
        if now_s < opens_s:
            return opens_s
        moments = self._holds[:1] if self._held(now_s) else []
        limit = self.limit(now_s)
        if self._growth is not None and limit < self.ceiling:
            moments.append(self._growth.reached_s(limit + 1))
        return min(moments, default=None)

    def take(self) -> int:
        """A request begins; how many are in flight with it, for `overloaded`."""
        self.in_flight += 1
        return self.in_flight

    def give_back(self) -> None:
        self.in_flight -= 1

    def hold(self, until_s: float) -> None:
        """Until then a request whose answer never came may still occupy a slot at NetSuite."""
        heapq.heappush(self._holds, until_s)

    def wait(self, until_s: float) -> None:
        """NetSuite asked for a pause: no request begins before it is over."""
        self._asked_until_s = max(self._asked_until_s, until_s)

    def overloaded(self, now_s: float, *, started_s: float, among: int) -> None:
        """A request that began at `started_s`, `among` so many, was refused; call it before its `give_back`.

        Only a request that began after the last decrease says something new: the others were part of the same crowd.
        Its neighbours may have ended before its refusal is heard of, or begun just after it: the greater number counts.
        """
        if started_s <= self._decreased_s:
            return
        refused = min(max(among, self.in_flight) + self._held(now_s), self.limit(now_s) + 1)
        start_s = self._pause_alone(now_s, started_s) if refused <= 1 else now_s
        self._set_probe_pause(refused, started_s)
        self._decreased_s = now_s
        self._growth = self._way_back(max(2, refused), start_s)

    def _way_back(self, refused: int, start_s: float) -> _Growth:
        level = max(1, min(int(refused * DECREASE), refused - 1))
        regain_s = self._jittered(REGAIN_S)
        probe_s = start_s + self._jittered(self._probe_pause_s)
        steps = refused - 1 - level
        if steps:
            probe_s += regain_s
        return _Growth(level, start_s, refused, regain_s / max(1, steps), probe_s)

    def _set_probe_pause(self, refused: int, started_s: float) -> None:
        """A level refused once more is tried more rarely; any other is news."""
        known = self._growth
        if known is not None and refused >= known.refused and started_s < known.forgotten_s:
            self._probe_pause_s = min(PROBE_LONGEST_S, 2 * self._probe_pause_s)
        else:
            self._probe_pause_s = PROBE_FIRST_S

    def _pause_alone(self, now_s: float, started_s: float) -> float:
        """Others hold every slot: ask for one now and then, and less often while none is free."""
        repeated = started_s < self._closed_until_s + CONFIRM_S
        self._alone_pause_s = min(ALONE_LONGEST_S, 2 * self._alone_pause_s) if repeated else ALONE_FIRST_S
        self._closed_until_s = now_s + self._alone_pause_s * self._chance.uniform(0.2, 1.0)
        return self._closed_until_s

    def _held(self, now_s: float) -> int:
        while self._holds and self._holds[0] <= now_s:
            heapq.heappop(self._holds)
        return len(self._holds)

    def _jittered(self, longest_s: float) -> float:
        return longest_s * self._chance.uniform(0.5, 1.0)
