"""Read hydrate requests and deferred events of the same partitions that Faust gives us; plain loops.

Each message is finished (its outputs acknowledged) before its offset is committed, in the group `resolver-companions`.
A deferred message waits for its due time, and those behind it with it: they were put aside later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from ml_connector.common import headers as h
from ml_connector.common.clock import Clock
from ml_connector.common.kafka.consumer import AssignedConsumer
from ml_connector.common.kafka.record import Record
from ml_connector.common.logs import get_logger
from ml_connector.resolver.message import Message

log = get_logger()

Handle = Callable[[Message], Awaitable[None]]

AT_ONCE = 16  # hydrates of one batch that are under way together
LONGEST_WAIT_S = 1.0  # while waiting for a due time: how soon a lost partition is noticed


class Companion:
    """One companion topic. `owned` follows Faust's assignment."""

    def __init__(self, consumer: AssignedConsumer, handle: Handle, clock: Clock) -> None:
        self._consumer = consumer
        self._handle = handle
        self._clock = clock
        self._owned: frozenset[int] = frozenset()
        self._places = asyncio.Semaphore(AT_ONCE)

    async def own(self, partitions: frozenset[int]) -> None:
        """Read these partitions from their committed offsets, and no others."""
        added, removed = partitions - self._owned, self._owned - partitions
        self._owned = partitions
        await self._consumer.unassign(removed)
        if added:
            await self._consumer.assign(await self._consumer.committed(added))

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            records, _ = await self._consumer.next()
            for batch in _by_due(records):
                await self._finish([record for record in batch if record.partition in self._owned])

    async def _finish(self, records: list[Record]) -> None:
        if not records:
            return
        await self._wait_until_due(records[0])
        await asyncio.gather(*(self._one(record) for record in records))
        offsets = {record.partition: record.offset + 1 for record in records if record.partition in self._owned}
        await self._consumer.commit(offsets)

    async def _one(self, record: Record) -> None:
        async with self._places:
            key, value = record.key or b"", record.value or b""
            await self._handle(Message(record.topic, record.partition, record.offset, key, value, record.headers))

    async def _wait_until_due(self, record: Record) -> None:
        due_ms = h.number(record.headers, h.DUE_AT_MS, 0)
        while record.partition in self._owned and (wait_s := (due_ms - self._clock.now_ms()) / 1000) > 0:
            await self._clock.sleep(min(wait_s, LONGEST_WAIT_S))


def _by_due(records: list[Record]) -> Iterable[list[Record]]:
    """Consecutive messages of one due second together; requests have none and stay in one batch."""
    batch: list[Record] = []
    for record in records:
        due_s = h.number(record.headers, h.DUE_AT_MS, 0) // 1000
        if batch and due_s != h.number(batch[-1].headers, h.DUE_AT_MS, 0) // 1000:
            yield batch
            batch = []
        batch.append(record)
    if batch:
        yield batch
