"""Messages that follow from what was committed in SQL: written to their topics afterwards, in order, until the broker
has them.

An act is one transaction: the change and the messages that tell of it. So nothing is told that did not happen, and
nothing that happened stays untold, whatever dies in between.

Of several replicas the one with the lease writes, and what it read long ago it reads anew before it sends it: another
may have written newer messages meanwhile. One that is stopped in the instant between that look at the clock and the
sending may still send an older message after a newer one. Whoever reads a topic bears that: of two entries under a key
the one with the higher version counts.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from sqlalchemy import Connection, delete, insert, select
from sqlalchemy.exc import DBAPIError

from ml_connector.admin.database import Database
from ml_connector.admin.tables import outbox
from ml_connector.common.clock import Clock
from ml_connector.common.errors import TryLater
from ml_connector.common.kafka.partition import partition_for
from ml_connector.common.kafka.producer import Delivered, Producer
from ml_connector.common.logs import get_logger
from ml_connector.common.settings import Settings
from ml_connector.common.topics import Topic, by_name

log = get_logger()

CHUNK: Final = 200
AGAIN_S: Final = 1.0
SURE: Final = 1 / 3  # of a turn: then it is taken again before anything is sent


def put_message(connection: Connection, topic: Topic, *, partition_key: str, key: str, value: bytes | None) -> None:
    """To be written once this transaction is committed. None deletes the key."""
    row = {"topic": topic.name, "partition_key": partition_key, "key": key, "value": value}
    connection.execute(insert(outbox), [row])


class Turn(Protocol):
    """Of several replicas one has it."""

    def take(self) -> bool: ...


class Outbox:
    """`publish` after a commit; `run` sees to what a crash or the broker has left."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        producer: Producer,
        turn: Turn,
        clock: Clock,
        *,
        turn_ms: int = 15_000,
    ) -> None:
        """`turn_ms`: how long a turn lasts that is not taken again."""
        self._settings = settings
        self._database = database
        self._producer = producer
        self._turn = turn  # of two replicas one writes at a time: an older state must not come after a newer one
        self._turn_ms = turn_ms
        self._clock = clock
        self._one = asyncio.Lock()

    async def publish(self) -> bool:
        """Write what is there; False: some of it is left for `run`."""
        async with self._one:
            try:
                while await asyncio.to_thread(self._oldest, 1):
                    taken_ms = self._clock.now_ms()
                    if not await asyncio.to_thread(self._turn.take):
                        return False
                    rows = await asyncio.to_thread(self._oldest, CHUNK)
                    if self._clock.now_ms() - taken_ms > self._turn_ms * SURE:
                        continue
                    await asyncio.gather(
                        *(self._send(topic, place, key, value) for _, topic, place, key, value in rows)
                    )
                    await asyncio.to_thread(self._done, [row[0] for row in rows])
            except (TryLater, DBAPIError) as error:
                log.warning("outbox_waits", error=type(error).__name__)
                return False
            return True

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.publish()
            await self._clock.sleep(AGAIN_S)

    def _send(self, name: str, partition_key: str, key: str, value: bytes | None) -> asyncio.Future[Delivered]:
        topic = by_name(name)
        if topic is None:
            raise RuntimeError(f"{name} is no topic of ours")
        partition = partition_for(partition_key.encode(), topic.partitions(self._settings.partitions))
        full = topic.full_name(self._settings.topic_prefix)
        return self._producer.send_nowait(full, key=key.encode(), value=value, partition=partition)

    def _oldest(self, most: int) -> list[tuple[int, str, str, str, bytes | None]]:
        with self._database.read() as connection:
            rows = connection.execute(select(outbox).order_by(outbox.c.id).limit(most))
            return [(row.id, row.topic, row.partition_key, row.key, row.value) for row in rows]

    def _done(self, ids: list[int]) -> None:
        """These and no others: a smaller number may be committed later."""
        with self._database.write() as connection:
            connection.execute(delete(outbox).where(outbox.c.id.in_(ids)))
