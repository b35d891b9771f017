"""Read single messages again, by partition and offset."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from ml_connector.common.kafka.consumer import AssignedConsumer
from ml_connector.common.kafka.record import Record


class Lookup:
    """One look-up at a time; a look-up reads from its first offset on until it has passed the last."""

    def __init__(self, kafka: Mapping[str, str], *, topic: str) -> None:
        self._consumer = AssignedConsumer(kafka, topic=topic)
        self._one = asyncio.Lock()

    def start(self) -> None:
        self._consumer.start()

    async def close(self) -> None:
        await self._consumer.close()

    async def read(self, partition: int, offsets: Iterable[int]) -> dict[int, Record]:
        """By offset. One that is missing has been deleted by the topic's retention. Raises MustStop."""
        wanted = set(offsets)
        last, passed = max(wanted), -1
        found: dict[int, Record] = {}
        async with self._one:
            await self._consumer.assign({partition: min(wanted)})
            try:
                while passed < last:
                    records, ended = await self._consumer.next()
                    found |= {record.offset: record for record in records if record.offset in wanted}
                    passed = records[-1].offset if records else passed
                    if ended:
                        break
            finally:
                await self._consumer.unassign([partition])
        return found
