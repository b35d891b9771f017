"""The clock of a stand-in: wall time that may run faster, and may be put forward."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime


class Clock:
    """`speed`: seconds of the stand-in in one real second. `wall_s`: real time, unless a test simulates it."""

    def __init__(self, speed: float = 1.0, wall_s: Callable[[], float] = time.time) -> None:
        self.speed = speed
        self._wall_s = wall_s
        self._started_s = wall_s()
        self._ahead_s = 0.0

    def now_s(self) -> float:
        return self._started_s + (self._wall_s() - self._started_s) * self.speed + self._ahead_s

    def now_ms(self) -> int:
        return int(self.now_s() * 1000)

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.now_s(), UTC)

    def advance(self, seconds: float) -> None:
        self._ahead_s += seconds

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self.speed)
