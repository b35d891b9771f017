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
        self._probe_at_s = 0.0
        self._probing = False

    def allows(self, now_s: float) -> bool:
        """Whether a call may be made now. While open, only one at a time after the probe time."""
        if not self._failures:
            return True
        if self._probing or now_s < self._probe_at_s:
            return False
        self._probing = True
        return True

    def succeeded(self) -> None:
        self._failures = 0
        self._probing = False

    def failed(self, now_s: float, after_s: float | None = None) -> None:
        """`after_s`: what Pipedrive asked us to wait."""
        self._failures += 1
        self._probing = False
        pause_s = min(self._longest_s, self._first_s * 2 ** min(self._failures - 1, 16))
        self._probe_at_s = now_s + max(after_s or 0.0, self._chance.uniform(0.5, 1.0) * pause_s)
