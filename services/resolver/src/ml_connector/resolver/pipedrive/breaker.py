"""When a company is left alone, because Pipedrive fails for it. Pure; the caller passes `now_s`.

Open after a failure: no calls until the probe time; then one call decides. Each failed probe doubles the pause.
"""

from __future__ import annotations

import random


class Breaker:
    """One company's breaker."""

    def __init__(self, *, first_s: float, longest_s: float, chance: random.Random) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._chance = chance
        self._failures = 0
        self._probe_at_s = float("-inf")
        self._open = False
        self._probing = False
        self.reason = ""

    def wait_s(self, now_s: float) -> float:
        """0 when a call may be made now; else how long to leave the company alone."""
        if not self._open:
            return 0.0
        if self._probing:
            return self._first_s
        return max(0.0, self._probe_at_s - now_s)

    def begin(self) -> None:
        """A call is made; while open, it is the probe."""
        self._probing = self._open

    def succeeded(self) -> None:
        self._failures = 0
        self._open = self._probing = False

    def failed(self, now_s: float, reason: str, *, pause_s: float = 0.0, outage: bool = True) -> float:
        """For how long the company is left alone: at least `pause_s`; each `outage` in a row doubles it."""
        self._open = True
        self._probing = False
        self.reason = reason
        if outage:
            self._failures += 1
            longer_s = min(self._longest_s, self._first_s * 2 ** min(self._failures - 1, 16))
            pause_s = max(pause_s, self._chance.uniform(0.5, 1.0) * longer_s)
        else:
            pause_s *= self._chance.uniform(1.0, 1.1)
        self._probe_at_s = max(self._probe_at_s, now_s + pause_s)
        return self._probe_at_s - now_s
