"""Wire what is asked in `netsuite.requests` and must not get lost: comparisons, censuses and polls, urgent ones,
pushes.

What a person has just changed in NetSuite goes before walks over everything: it does not stand behind their requests.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

from ml_connector.common import topics
from ml_connector.common.clock import Clock
from ml_connector.common.comparing import CENSUS, COMPARE, Census, Compare, Compared, not_compared, not_counted
from ml_connector.common.directory import Directory
from ml_connector.common.drift import POLL, POLL_STOP, Poll
from ml_connector.common.errors import TryLater
from ml_connector.common.kafka.consumer import AssignedConsumer
from ml_connector.common.kafka.partition import partition_for
from ml_connector.common.kafka.producer import Producer
from ml_connector.common.syncing import is_urgent
from ml_connector.netsuite_writer.censuses import Censuses
from ml_connector.netsuite_writer.comparisons import Comparisons
from ml_connector.netsuite_writer.partition import Partition
from ml_connector.netsuite_writer.polling import Handed, Page, Pushed, failed
from ml_connector.netsuite_writer.polls import Polls
from ml_connector.netsuite_writer.pushes import Pushes
from ml_connector.netsuite_writer.requests import RequestQueue
from ml_connector.netsuite_writer.sending import Sending
from ml_connector.netsuite_writer.settings import WriterSettings


class Requested:
    """`start`, `run` until cancelled, `close`; `own` whenever partitions come or go."""

    def __init__(
        self,
        settings: WriterSettings,
        producer: Producer,
        directory: Directory,
        partition: Callable[[int], Partition | None],
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._directory = directory
        self._partition = partition
        self._clock = clock
        sending = Sending(settings, producer, directory)
        comparisons = Comparisons(self._compare, sending.compared, sending.walk, clock)
        polls = Polls(self._poll, sending.polled, sending.walk, sending.poll, clock)
        self._consumers = [self._consumer(name) for name in ("comparisons", "urgent", "pushes")]
        usual, urgent, pushes = self._consumers
        censuses = Censuses(self._count, sending.compared, clock)
        works = {COMPARE: comparisons.answer, CENSUS: censuses.answer, POLL: polls.answer, POLL_STOP: polls.stop}
        self._queues: tuple[RequestQueue | Pushes, ...] = (
            RequestQueue(usual, works, clock, takes=lambda record: not is_urgent(record.headers)),
            RequestQueue(urgent, {COMPARE: comparisons.answer}, clock, takes=lambda record: is_urgent(record.headers)),
            Pushes(pushes, self._pushed, sending.walk, clock),
        )

    def start(self) -> None:
        for consumer in self._consumers:
            consumer.start()

    async def run(self) -> None:
        """Until cancelled."""
        await asyncio.gather(*(queue.run() for queue in self._queues))

    def own(self, partitions: frozenset[int]) -> None:
        """These are ours, and no others."""
        for queue in self._queues:
            queue.own(partitions)

    async def close(self) -> None:
        self.own(frozenset())
        for consumer in self._consumers:
            await consumer.close()

    def _consumer(self, name: str) -> AssignedConsumer:
        settings = self._settings
        topic = topics.NETSUITE_REQUESTS.full_name(settings.topic_prefix)
        return AssignedConsumer(settings.kafka(), topic=topic, group=settings.group(f"netsuite-writer-{name}"))

    async def _compare(self, asked: Compare, partition: int) -> Compared:
        """Raises TryLater."""
        if not self._belongs(asked.account, partition):
            return not_compared(asked, self._clock.now_ms(), _misplaced(partition))
        return await self._owned(partition).compare(asked)

    async def _count(self, asked: Census, partition: int) -> AsyncIterator[Compared]:
        """Raises TryLater."""
        if not self._belongs(asked.account, partition):
            yield not_counted(asked, self._clock.now_ms(), _misplaced(partition))
            return
        async for told in self._owned(partition).count(asked):
            yield told

    async def _poll(self, poll: Poll, partition: int) -> Page:
        """Raises TryLater."""
        if not self._belongs(poll.account, partition):
            return Page(failed(poll, self._clock.now_ms(), _misplaced(partition)))
        return await self._owned(partition).poll(poll)

    async def _pushed(self, partition: int, flow: str, records: Sequence[Pushed]) -> Handed:
        """Raises Refused, TryLater."""
        live = self._directory.flow(flow)
        if live is not None and not self._belongs(live.flow.netsuite.account, partition):
            return Handed({}, strange=len(records))
        return await self._owned(partition).pushed(flow, records)

    def _belongs(self, account: str, partition: int) -> bool:
        return partition_for(account.encode(), self._settings.partitions) == partition

    def _owned(self, number: int) -> Partition:
        owned = self._partition(number)
        if owned is None:
            raise TryLater(f"partition {number} is not ours any more")
        return owned


def _misplaced(partition: int) -> str:
    return f"asked for in partition {partition}, not its account's"
