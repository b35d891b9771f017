"""One log line a minute and flow, instead of one a request; none for a flow to which nothing came."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from ml_connector.common.clock import Clock
from ml_connector.common.logs import get_logger
from ml_connector.ingest.doors import Counts

log = get_logger()

EVERY_S: Final = 60.0


class Summary:
    """`run` until cancelled. `counts`: by flow."""

    def __init__(self, counts: Callable[[], dict[str, Counts]], clock: Clock) -> None:
        self._counts = counts
        self._clock = clock
        self._logged: dict[str, tuple[int, int, int]] = {}

    async def run(self) -> None:
        while True:
            await self._clock.sleep(EVERY_S)
            await self.tell()

    async def tell(self) -> None:
        for flow, counts in tuple(self._counts().items()):
            accepted, refused, unavailable = now = counts.accepted, counts.refused, counts.unavailable
            if now == self._logged.get(flow, (0, 0, 0)):
                continue
            self._logged[flow] = now
            log.info("deliveries", flow=flow, count=accepted, refused=refused, unavailable=unavailable)
            await asyncio.sleep(0)  # thousands of lines in one go would hold up the deliveries
