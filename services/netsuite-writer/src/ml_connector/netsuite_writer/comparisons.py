"""Answer comparisons, in the audit; of a drift check, have asserted again what the flow's policy says.

One that NetSuite does not answer in an hour is told as not compared, and can be asked for again. It is told before it
is asserted: what dies between is compared again, since its request is worked off only then (`requests.py`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from ml_connector.common.clock import Clock
from ml_connector.common.comparing import Compare, Compared, assert_job, not_compared
from ml_connector.common.errors import BadInput, TryLater
from ml_connector.common.kafka.record import Record
from ml_connector.common.logs import get_logger
from ml_connector.common.syncing import SyncPage
from ml_connector.netsuite_writer import drift
from ml_connector.netsuite_writer.again import AGAIN_S, until_done

log = get_logger()

GIVES_UP_S: Final = 3600.0  # others of the partition wait, and what should be was read before that

Answers = Callable[[Compare, int], Awaitable[Compared]]  # to a request of this partition; raises TryLater
Tell = Callable[[Compared], Awaitable[None]]  # once it returns it is in the audit; raises TryLater
Ask = Callable[[SyncPage], Awaitable[None]]  # the company's owner; raises TryLater


class Comparisons:
    def __init__(self, compare: Answers, tell: Tell, ask: Ask, clock: Clock) -> None:
        self._compare = compare
        self._tell = tell
        self._ask = ask
        self._clock = clock

    async def answer(self, record: Record) -> None:
        """Until it is in the audit, and what follows from it is asked for."""
        try:
            asked = Compare.decode(record.value or b"")
        except BadInput as error:
            log.error("request_refused", partition=record.partition, offset=record.offset, problem=str(error))
            return
        until_s = self._clock.monotonic_s() + GIVES_UP_S
        while (told := await self._compared(asked, record.partition, until_s)) is None:
            await self._clock.sleep(AGAIN_S)
        await until_done(partial(self._tell, told), self._clock, job_id=asked.job_id)
        count = {"records": told.records, "differences": len(told.differences)}
        log.info("records_compared", id=asked.job_id, entity=asked.entity, count=asked.page, **count)
        ids = drift.to_assert(told)
        if ids:
            page = self._assertion(asked, ids)
            await until_done(partial(self._ask, page), self._clock, job_id=asked.job_id)
            log.info("asserted_again", id=asked.job_id, flow=asked.flow, entity=asked.entity, records=len(ids))

    async def _compared(self, asked: Compare, partition: int, until_s: float) -> Compared | None:
        """None: not now."""
        try:
            return await self._compare(asked, partition)
        except TryLater as error:
            if self._clock.monotonic_s() >= until_s:
                return not_compared(asked, self._clock.now_ms(), f"given up after an hour: {error}")
            log.info("comparison_waits", id=asked.job_id, entity=asked.entity, problem=str(error))
            return None
        except Exception as error:  # the top of a task: a fault of ours in a comparison must not end the writing
            log.error("comparison_failed", id=asked.job_id, entity=asked.entity, exc_info=error)
            return not_compared(asked, self._clock.now_ms(), f"a fault of ours: {type(error).__name__}")

    def _assertion(self, asked: Compare, ids: tuple[str, ...]) -> SyncPage:
        return SyncPage(
            job_id=assert_job(asked),
            flow=asked.flow,
            entity=asked.entity,
            at_ms=self._clock.now_ms(),
            ids=ids,
            force=True,
            urgent=asked.urgent,
            unfollowed=True,
        )
