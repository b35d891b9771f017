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
        found: dict[int, Record] = {}
        async with self._one:
            await self._consumer.assign({partition: min(wanted)})
            try:
                while wanted:
                    records, ended = await self._consumer.next()
                    for record in records:
                        if record.offset in wanted:
                            found[record.offset] = record
                        wanted = {offset for offset in wanted if offset > record.offset}
                    if ended:
                        break
            finally:
                await self._consumer.unassign([partition])
        return found
