"""Work one census off: each part of it in the audit before the next. What a crash leaves is told again, alike."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

from ml_connector.common.clock import Clock
from ml_connector.common.comparing import Census, Compared, not_counted
from ml_connector.common.errors import BadInput, TryLater
from ml_connector.common.kafka.record import Record
from ml_connector.common.logs import get_logger
from ml_connector.netsuite_writer.again import AGAIN_S, GIVES_UP_S

log = get_logger()

Counts = Callable[[Census, int], AsyncIterator[Compared]]  # for this partition; raises TryLater
Tell = Callable[[Compared], Awaitable[None]]  # once it returns it is in the audit; raises TryLater


class Censuses:
    def __init__(self, count: Counts, tell: Tell, clock: Clock) -> None:
        self._count = count
        self._tell = tell
        self._clock = clock

    async def answer(self, record: Record) -> None:
        """Until it is in the audit."""
        try:
            asked = Census.decode(record.value or b"")
        except BadInput as error:
            log.error("request_refused", partition=record.partition, offset=record.offset, problem=str(error))
            return
        until_s = self._clock.monotonic_s() + GIVES_UP_S
        while not await self._is_counted(asked, record.partition, until_s):
            await self._clock.sleep(AGAIN_S)

    async def _is_counted(self, asked: Census, partition: int, until_s: float) -> bool:
        try:
            async for told in self._count(asked, partition):
                await self._tell(told)
        except TryLater as error:
            if self._clock.monotonic_s() < until_s:
                log.info("census_waits", id=asked.job_id, entity=asked.entity, problem=str(error))
                return False
            return await self._is_given_up(asked, f"given up after an hour: {error}")
        except Exception as error:  # the top of a task: a fault of ours must not end the writing
            log.error("census_failed", id=asked.job_id, entity=asked.entity, exc_info=error)
            return await self._is_given_up(asked, f"a fault of ours: {type(error).__name__}")
        log.info("records_counted", id=asked.job_id, entity=asked.entity)
        return True

    async def _is_given_up(self, asked: Census, why: str) -> bool:
        try:
            await self._tell(not_counted(asked, self._clock.now_ms(), why))
        except TryLater as error:
            log.warning("comparison_not_told", id=asked.job_id, entity=asked.entity, problem=str(error))
            return False
        return True
