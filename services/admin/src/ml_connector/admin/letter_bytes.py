"""The bytes of dead letters, read from their topic again; SQL has only their places."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ml_connector.common import topics
from ml_connector.common.dead_letters import DeadLetter
from ml_connector.common.kafka.lookup import Lookup
from ml_connector.common.settings import Settings

# Where a letter's event is when it was too large to travel along.
ORIGINALS: Final = topics.EVENTS


class LetterBytes:
    """Start it on the event loop, close it last."""

    def __init__(self, settings: Settings) -> None:
        prefix = settings.topic_prefix
        self._letters = Lookup(settings.kafka(), topic=topics.DEAD_LETTERS.full_name(prefix))
        self._original_topic = ORIGINALS.full_name(prefix)
        self._originals = Lookup(settings.kafka(), topic=self._original_topic)

    def start(self) -> None:
        self._letters.start()
        self._originals.start()

    async def close(self) -> None:
        await self._letters.close()
        await self._originals.close()

    async def read(self, partition: int, offsets: Iterable[int]) -> dict[int, DeadLetter]:
        """By offset; one that is missing has left its topic."""
        records = await self._letters.read(partition, offsets)
        return {offset: DeadLetter.read(record.value, record.headers) for offset, record in records.items()}

    async def body(self, letter: DeadLetter) -> bytes:
        """Its event; empty when it is nowhere any more."""
        if letter.body or letter.topic != self._original_topic:
            return letter.body
        found = await self._originals.read(letter.partition, [letter.offset])
        record = found.get(letter.offset)
        return record.value or b"" if record is not None else b""
