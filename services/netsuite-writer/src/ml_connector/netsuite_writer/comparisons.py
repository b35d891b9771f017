"""Answer comparisons, in the audit; of a drift check, have asserted again what the flow's policy says.

One that NetSuite does not answer in an hour is told as not compared, and can be asked for again. It is told before it
is asserted: what dies between is compared again, since its request is worked off only then (`requests.py`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from ml_connector.common import measuring, metrics
from ml_connector.common.clock import Clock
from ml_connector.common.comparing import Compare, Compared, assert_job, not_compared
from ml_connector.common.errors import BadInput
from ml_connector.common.kafka.record import Record
from ml_connector.common.logs import get_logger
from ml_connector.common.syncing import SyncPage
from ml_connector.netsuite_writer import drift
from ml_connector.netsuite_writer.again import until_answered, until_done

log = get_logger()


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
        told = await until_answered(
            partial(self._compare, asked, record.partition),
            lambda why: not_compared(asked, self._clock.now_ms(), why),
            self._clock,
            what="comparison",
            job_id=asked.job_id,
            entity=asked.entity,
        )
        await until_done(partial(self._tell, told), self._clock, job_id=asked.job_id)
        count = {"records": told.records, "differences": len(told.differences)}
        log.info("records_compared", id=asked.job_id, entity=asked.entity, count=asked.page, **count)
        if asked.drift:
            _count(told)
        ids = drift.to_assert(told)
        if ids:
            page = self._assertion(asked, ids)
            await until_done(partial(self._ask, page), self._clock, job_id=asked.job_id)
            log.info("asserted_again", id=asked.job_id, flow=asked.flow, entity=asked.entity, records=len(ids))

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


def _count(told: Compared) -> None:
    for one in told.differences:
        if one.found not in drift.UNCLEAR:
            measuring.count(metrics.DRIFT, told.flow, one.did)
