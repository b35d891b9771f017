"""A company's burst window. pyrate-limiter's own has a thread for each, with an event loop in it: too many at thousands
of companies."""

from __future__ import annotations

from typing import Final

from pyrate_limiter import InMemoryBucket, Limiter, Rate, RateItem, SingleBucketFactory

# Pipedrive counts in a rolling window of 2 s, and sees a request later than we do, now more, now less.
WINDOW_MS: Final = 2_200


class Window(InMemoryBucket):
    """Forgets what has left the window whenever it takes something."""

    def put(self, item: RateItem) -> bool:
        self.leak(item.timestamp)
        return super().put(item)


def burst_window(requests: int) -> Limiter:
    """So many within WINDOW_MS; whoever comes too early waits."""
    return Limiter(SingleBucketFactory(Window([Rate(requests, WINDOW_MS)]), schedule_leak=False))
