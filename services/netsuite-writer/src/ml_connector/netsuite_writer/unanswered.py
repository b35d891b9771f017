"""Put records of a batch in doubt, as after single calls that were not answered: the topic has it before they go again.

In: jobs of records that are locked by a batch. Out: the same jobs back in the schedule, their doubt noted.
"""

from __future__ import annotations

from collections.abc import Sequence

from ml_connector.common.errors import TryLater
from ml_connector.common.keys import DesiredKey
from ml_connector.common.logs import get_logger
from ml_connector.common.wire import Attempt, Member
from ml_connector.netsuite_writer import doubt
from ml_connector.netsuite_writer.hold import Hold
from ml_connector.netsuite_writer.job import Job, Ready, Tools
from ml_connector.netsuite_writer.together import together

log = get_logger()


class Unanswered:
    """Of one account's batches."""

    def __init__(self, account: str, *, desk: Hold, tools: Tools) -> None:
        self._account = account
        self._desk = desk
        self._tools = tools

    async def go_again(self, jobs: Sequence[Ready]) -> None:
        """Written again, and asserted once more after the quiet time."""
        await together(*(self._go_again(job) for job in jobs))

    async def _go_again(self, job: Ready) -> None:
        """Not before its doubt is noted, however often that takes."""
        failures = 0
        while True:
            try:
                await self.note(job)
            except Exception as error:  # a fault of ours: the record must neither stay locked nor go without its doubt
                failures += 1
                if failures == 1:
                    record = job.entry.record
                    log.error("record_fault", account=self._account, record_key=record, exc_info=error)
                await self._tools.clock.sleep(self._tools.backoff_s(failures))
            else:
                break
        self._desk.go_later(job, "single")

    async def note(self, job: Ready) -> None:
        """Only the doubt."""
        attempt = in_doubt(member_of(job), self._tools)
        try:
            await self._tools.messages.attempt(attempt, attempt.record_key)
        except TryLater as error:
            log.warning("attempt_not_kept", account=self._account, problem=str(error))
        self._tools.store.put_attempt(attempt.record_key, attempt)


def in_doubt(member: Member, tools: Tools) -> Attempt:
    """Its record's attempt with one more unanswered call."""
    key, now_ms = DesiredKey.parse(member.desired_key), tools.clock.now_ms()
    before = tools.store.attempt(key.record)
    doubts = before.doubts if before is not None else ()
    made = doubt.attempt_of(member, key.record, key.generation, owner=tools.owner, at_ms=now_ms, doubts=doubts)
    return doubt.unanswered(made, now_ms)


def member_of(job: Job) -> Member:
    desired = job.desired
    return Member(job.entry.key, desired.flow, desired.company, desired.entity, desired.source_id)
