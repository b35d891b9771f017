"""A compacted topic as a table: read to its end, then followed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Generic, TypeVar

from confluent_kafka import OFFSET_BEGINNING

from ml_connector.common.clock import Deadline
from ml_connector.common.errors import ConnectorError, TopicsDiffer, TryLater
from ml_connector.common.kafka.admin import partition_count
from ml_connector.common.kafka.consumer import AssignedConsumer
from ml_connector.common.kafka.record import Record
from ml_connector.common.logs import get_logger

log = get_logger()
V = TypeVar("V")


class CompactedTable(Generic[V]):
    """The newest value of each key. A message that does not decode is reported; the value before it stays."""

    def __init__(self, kafka: Mapping[str, str], topic: str, *, decode: Callable[[bytes], V]) -> None:
        self.topic = topic
        self._kafka = kafka
        self._decode = decode
        self._values: dict[str, V] = {}
        self._listeners: list[Callable[[str, V | None], None]] = []
        self._consumer = AssignedConsumer(kafka, topic=topic)
        self._loaded = asyncio.Event()
        self._behind: set[int] = set()
        self._following: asyncio.Task[None] | None = None

    async def load(self, deadline: Deadline) -> None:
        """Read to the end, then follow in the background. Raises TopicsDiffer, or TryLater at the deadline."""
        count = await asyncio.to_thread(partition_count, self._kafka, self.topic, deadline.remaining_s)
        if count == 0:
            raise TopicsDiffer(f"topic {self.topic} does not exist: run `mlc topics apply`")
        self._behind = set(range(count))
        self._consumer.start()
        await self._consumer.assign(dict.fromkeys(self._behind, OFFSET_BEGINNING))
        self._following = asyncio.create_task(self._follow(), name=f"follow-{self.topic}")
        try:
            await asyncio.wait_for(self._loaded.wait(), deadline.remaining_s)
        except TimeoutError as error:
            raise TryLater(f"{self.topic} was not read to its end in time") from error

    async def close(self) -> None:
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
            await self._consumer.close()

    @property
    def ready(self) -> bool:
        """Read to the end once, and still following."""
        return self._loaded.is_set() and self._following is not None and not self._following.done()

    def get(self, key: str) -> V | None:
        return self._values.get(key)

    def items(self) -> Iterator[tuple[str, V]]:
        return iter(tuple(self._values.items()))

    def subscribe(self, listener: Callable[[str, V | None], None]) -> None:
        """Call `listener(key, value or None)` for each message from now on, on the event loop."""
        self._listeners.append(listener)

    async def _follow(self) -> None:
        while True:
            records, ended = await self._consumer.next()
            for record in records:
                self._fold(record)
            self._behind.difference_update(ended)
            if not self._behind:
                self._loaded.set()

    def _fold(self, record: Record) -> None:
        if record.key is None:
            return
        key = record.key.decode("utf-8", "replace")
        try:
            value = None if record.value is None else self._decode(record.value)
        except ConnectorError as error:
            log.warning("message_refused", topic=self.topic, offset=record.offset, problem=str(error))
            return
        if value is None:
            self._values.pop(key, None)
        else:
            self._values[key] = value
        for listener in self._listeners:
            listener(key, value)
