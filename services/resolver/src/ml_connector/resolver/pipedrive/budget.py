"""How many API tokens of one company were spent in the last 24 hours. Pure; the caller passes `now_ms`.

Pipedrive's day begins at midnight of a time zone that it does not name, and no header shows what is left
(facts/pipedrive.md section 10). What keeps within the limit in any 24 hours keeps within it on any such day.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

HOUR_MS: Final = 3_600_000
HOURS: Final = 24


class Budget:
    """Counted by hours since the epoch, so that a restart takes it over from 25 numbers."""

    def __init__(self, spent: Mapping[int, int] | None = None) -> None:
        """`spent`: tokens by hour, as `by_hour` gave them."""
        self._spent = dict(spent or {})

    def spend(self, tokens: int, now_ms: int) -> None:
        hour = now_ms // HOUR_MS
        self._spent[hour] = self._spent.get(hour, 0) + tokens

    def wait_s(self, tokens: int, limit: int, now_ms: int) -> float:
        """0 when `tokens` more may be spent now, else how long until enough hours have passed."""
        free = self.left(limit, now_ms)
        for when in sorted(self._spent):
            if free >= tokens:
                break
            free += self._spent[when]
            frees_at_ms = (when + HOURS + 1) * HOUR_MS
            if free >= tokens:
                return (frees_at_ms - now_ms) / 1000
        return 0.0 if free >= tokens else HOURS * HOUR_MS / 1000

    def left(self, limit: int, now_ms: int) -> int:
        """What may be spent now."""
        hour = now_ms // HOUR_MS
        self._spent = {when: count for when, count in self._spent.items() if when >= hour - HOURS}
        return limit - sum(self._spent.values())

    @property
    def by_hour(self) -> dict[int, int]:
        return dict(self._spent)
