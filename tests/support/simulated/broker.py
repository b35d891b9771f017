"""A broker of lists: the topics of one partition, what is written in a transaction is there at once or not at all.

The newest producer that was opened fences those before. Whoever is cut off, or asks while the broker is away, is told
so after a while; a message that is not transactional may have arrived all the same.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ml_connector.common import topics
from ml_connector.common.codec import Wire
from ml_connector.common.errors import DeliveryFailed, Fenced
from ml_connector.common.kafka.record import Record
from ml_connector.common.kafka.transaction import Transaction
from ml_connector.common.keys import attempt_key, job_key
from ml_connector.common.wire import Attempt, BatchJob, Hydrate, Outcome, Standing
from support.simulated.virtual_time import LoopClock, Process

DESIRED, OBSERVED, AUDIT = topics.DESIRED.name, topics.OBSERVED.name, topics.AUDIT.name
REQUESTS = topics.PIPEDRIVE_REQUESTS.name
ACK_S = 0.002
COMMIT_S = 0.008
GIVES_UP_S = 2.0  # a producer tries for so long before it says that a message was not delivered


class Broker:
    """What is in the topics."""

    def __init__(self, clock: LoopClock, chance: random.Random) -> None:
        self.away = False
        self.epoch = 0
        self._last_s = 0.0
        self._clock = clock
        self._chance = chance
        self._topics: dict[str, list[Record]] = defaultdict(list)
        self._grown: dict[str, asyncio.Event] = defaultdict(asyncio.Event)

    def append(self, topic: str, key: str, value: bytes | None) -> None:
        log = self._topics[topic]
        log.append(Record(topic, 0, len(log), key.encode(), value, {}, self._clock.now_ms()))
        self._grown.pop(topic, asyncio.Event()).set()

    def all(self, topic: str) -> list[Record]:
        return self._topics[topic]

    def live(self, topic: str) -> dict[str, bytes]:
        """What compaction would leave."""
        newest = {(record.key or b"").decode(): record.value for record in self._topics[topic]}
        return {key: value for key, value in newest.items() if value is not None}

    def compacted(self, topic: str) -> list[Record]:
        """The newest of each key, tombstones included, at its offset."""
        newest = {record.key: record for record in self._topics[topic]}
        return sorted(newest.values(), key=lambda record: record.offset)

    async def grown(self, topic: str) -> None:
        await self._grown[topic].wait()

    def outcomes(self) -> list[Outcome]:
        return [Outcome.decode(record.value) for record in self._topics[AUDIT] if record.value is not None]

    def hydrates(self) -> list[Hydrate]:
        return [Hydrate.decode(record.value) for record in self._topics[REQUESTS] if record.value is not None]

    async def reach(self, process: Process, within_s: float) -> None:
        """Raises DeliveryFailed."""
        loop = asyncio.get_running_loop()
        self._last_s = max(self._last_s + 1e-6, loop.time() + within_s)  # in the order in which they were sent
        await asyncio.sleep(self._last_s - loop.time())
        process.must_live()
        if self.away or process.cut_off:
            await asyncio.sleep(GIVES_UP_S)
            process.must_live()
            raise DeliveryFailed("the broker did not answer")

    async def deliver(self, process: Process, topic: str, key: str, value: Wire | None) -> None:
        """Not transactional. Raises DeliveryFailed, although the message may have arrived."""
        encoded = None if value is None else value.encode()
        try:
            await self.reach(process, ACK_S)
        except DeliveryFailed:
            if not process.cut_off and self._chance.random() < 0.3:
                self.append(topic, key, encoded)
            raise
        self.append(topic, key, encoded)
        await asyncio.sleep(ACK_S)


class SimulatedProducer:
    """As `TransactionalProducer`; being made is its `init`."""

    def __init__(self, broker: Broker, process: Process) -> None:
        self._broker = broker
        self._process = process
        broker.epoch += 1
        self._epoch = broker.epoch

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        transaction = Transaction()
        yield transaction
        await self._broker.reach(self._process, COMMIT_S)
        if self._epoch != self._broker.epoch:
            raise Fenced("another producer has taken over")
        for topic, key, value, *_ in transaction.messages:
            self._broker.append(topic, (key or b"").decode(), value)
        await asyncio.sleep(COMMIT_S)

    async def close(self) -> None:
        """There is no thread."""


class SimulatedMessages:
    """As `KafkaMessages`."""

    def __init__(self, broker: Broker, process: Process) -> None:
        self._broker = broker
        self._process = process

    async def attempt(self, attempt: Attempt | None, record: str) -> None:
        await self._broker.deliver(self._process, OBSERVED, attempt_key(record), attempt)

    async def job(self, job: BatchJob | None, idempotency_key: str) -> None:
        await self._broker.deliver(self._process, OBSERVED, job_key(idempotency_key), job)

    async def standing(self, standing: Standing | None, key: str) -> None:
        await self._broker.deliver(self._process, OBSERVED, key, standing)

    async def hydrate(self, request: Hydrate, company: str) -> None:
        await self._broker.deliver(self._process, REQUESTS, company, request)
