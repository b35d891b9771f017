"""The messages of one topic, as many at a time as there are, and how far each partition is read where it ends.

A partition may end behind its last message: transactions leave records there that nobody is given.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from confluent_kafka import Consumer, TopicPartition

from ml_connector.common.kafka.consumer import AssignedConsumer
from ml_connector.common.kafka.record import Record
from ml_connector.common.topics import Topic

MOST: Final = 2_000  # messages of one transaction
MOST_BYTES: Final = 16 * 1024 * 1024


@dataclass(slots=True)
class Batch:
    """Messages in the order of their partitions. `tails`: up to which offset a partition has no others."""

    records: list[Record] = field(default_factory=list)
    tails: dict[int, int] = field(default_factory=dict)

    def halves(self) -> Iterator[Batch]:
        middle = len(self.records) // 2
        yield Batch(self.records[:middle])
        yield Batch(self.records[middle:], self.tails)


class _Consumer(AssignedConsumer):
    async def positions(self, partitions: Iterable[int]) -> dict[int, int]:
        """Behind the last message that was handed over, or behind what stands there instead; all before it have come
        by the time of the answer."""
        places = [TopicPartition(self.topic, partition) for partition in partitions]

        def ask(consumer: Consumer) -> dict[int, int]:
            return {place.partition: place.offset for place in consumer.position(places) if place.offset >= 0}

        return await self._thread.call(ask)


class Feed:
    """Start it on the event loop that takes from it."""

    def __init__(self, kafka: Mapping[str, str], topic: Topic, name: str) -> None:
        self.topic = topic
        self._consumer = _Consumer(kafka, topic=name)
        self._coming: asyncio.Task[tuple[list[Record], list[int]]] | None = None
        self._ended: set[int] = set()

    async def start(self, starts: Mapping[int, int]) -> None:
        self._consumer.start()
        await self._consumer.assign(starts)

    async def close(self) -> None:
        if self._coming is not None:
            self._coming.cancel()
            await asyncio.gather(self._coming, return_exceptions=True)
        await self._consumer.close()

    async def take(self) -> Batch:
        """Waits until there is something. Raises MustStop when the client has given up."""
        batch = Batch()
        await asyncio.wait([self._next()])
        drained = await self._drain(batch, most=MOST)
        while drained and self._ended:
            ended, self._ended = self._ended, set()
            tails = await self._consumer.positions(ended)
            await self._drain(batch, most=None)
            batch.tails |= tails
        return batch

    def _next(self) -> asyncio.Task[tuple[list[Record], list[int]]]:
        if self._coming is None:
            self._coming = asyncio.create_task(self._consumer.next())
        return self._coming

    async def _drain(self, batch: Batch, *, most: int | None) -> bool:
        """Take what is there already; True: nothing more is."""
        size_bytes = 0
        while most is None or (len(batch.records) < most and size_bytes < MOST_BYTES):
            coming = self._next()
            await asyncio.sleep(0)  # what is there is had at the first step
            if not coming.done():
                return True
            records, ended = coming.result()
            self._coming = None
            batch.records += records
            self._ended.update(ended)
            size_bytes += sum(len(record.value or b"") for record in records)
        return False
