"""Work off polls: a page is read, what it left to be compared is asked for, it is told, the next page is asked for.

Each step is acknowledged before the next, and the request is worked off after the last (`requests.py`): what dies
between is done again, so a page may come twice but none is left out.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from ml_connector.common.clock import Clock
from ml_connector.common.drift import Poll, Polled, PollStop
from ml_connector.common.errors import BadInput, Malformed
from ml_connector.common.kafka.record import Record
from ml_connector.common.logs import get_logger
from ml_connector.netsuite_writer.again import until_answered, until_done
from ml_connector.netsuite_writer.comparisons import Ask
from ml_connector.netsuite_writer.polling import Page, failed

log = get_logger()

REMEMBERED: Final = 1_000  # polls

Reads = Callable[[Poll, int], Awaitable[Page]]  # a page of this partition; raises TryLater
Tell = Callable[[Polled], Awaitable[None]]  # in the audit; raises TryLater
AskNext = Callable[[Poll], Awaitable[None]]  # ourselves, or who owns the account then; raises TryLater


class Polls:
    def __init__(self, read: Reads, tell: Tell, ask: Ask, ask_next: AskNext, clock: Clock) -> None:
        self._read = read
        self._tell = tell
        self._ask = ask
        self._ask_next = ask_next
        self._clock = clock
        self._reached: dict[str, int] = {}  # by job: the last page that was worked off here
        self._stopped: dict[str, int] = {}

    async def answer(self, record: Record) -> None:
        """One page."""
        try:
            poll = Poll.decode(record.value or b"")
            _refuse_unfit(poll)
        except BadInput as error:
            log.error("request_refused", partition=record.partition, offset=record.offset, problem=str(error))
            return
        if poll.job_id in self._stopped or poll.page <= self._reached.get(poll.job_id, 0):
            return
        page = await until_answered(
            partial(self._read, poll, record.partition),
            lambda why: Page(failed(poll, self._clock.now_ms(), why)),
            self._clock,
            what="poll",
            job_id=poll.job_id,
            entity=poll.entities[0],
        )
        await self._hand_on(page, poll.job_id)
        _keep(self._reached, poll.job_id, poll.page)

    async def stop(self, record: Record) -> None:
        """Its next page stands behind this request, and is passed over."""
        try:
            _keep(self._stopped, PollStop.decode(record.value or b"").job_id, 0)
        except BadInput as error:
            log.error("request_refused", partition=record.partition, offset=record.offset, problem=str(error))

    async def _hand_on(self, page: Page, job_id: str) -> None:
        polled = page.polled
        if page.walk is not None:
            await until_done(partial(self._ask, page.walk), self._clock, job_id=job_id)
        await until_done(partial(self._tell, polled), self._clock, job_id=job_id)
        if page.next is not None:
            await until_done(partial(self._ask_next, page.next), self._clock, job_id=job_id)
        log.info("page_polled", id=job_id, entity=polled.entity, count=polled.page, records=polled.asked)


def _refuse_unfit(poll: Poll) -> None:
    """Raises Malformed."""
    if not poll.entities or poll.page < 1 or not (poll.after_id or "0").isdigit():
        raise Malformed("a poll has an entity, a page of at least 1, and an id in digits")


def _keep(kept: dict[str, int], job_id: str, value: int) -> None:
    kept[job_id] = value
    if len(kept) > REMEMBERED:
        del kept[next(iter(kept))]
