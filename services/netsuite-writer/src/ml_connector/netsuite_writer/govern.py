"""How many requests one NetSuite account may have in flight now. Pure; the caller passes `now_s`.

One governor per account, for all its flows: NetSuite counts over all integrations (facts/netsuite.md section 9).
"""

from __future__ import annotations


class Governor:
    """Slots of one account."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.in_flight = 0
        self._closed_until_s = 0.0

    def free(self, now_s: float) -> int:
        """Slots that may be taken now."""
        return 0 if now_s < self._closed_until_s else max(0, self.limit - self.in_flight)

    def opens_at_s(self, now_s: float) -> float | None:
        """When a pause ends; None when there is none."""
        return self._closed_until_s if now_s < self._closed_until_s else None

    def take(self) -> None:
        self.in_flight += 1

    def give_back(self) -> None:
        self.in_flight -= 1

    def pause(self, until_s: float) -> None:
        """No new request before `until_s`: NetSuite said that there are too many, or that it knows us not."""
        self._closed_until_s = max(self._closed_until_s, until_s)
