"""What the topics and the stand-in say while a writer works, read by one for all who wait for something."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import inf
from typing import Final, Self

from ml_connector.common import topics
from ml_connector.common.kafka.record import Record
from ml_connector.common.wire import Attempt, BatchJob, Hydrate, Outcome
from support.writing import Writing

TOPICS: Final = (topics.AUDIT, topics.DESIRED, topics.OBSERVED, topics.PIPEDRIVE_REQUESTS)


@dataclass(slots=True)
class Under:
    """What is unsettled in one partition. `waiting`: keys of `netsuite.desired`."""

    waiting: set[str]
    attempts: dict[str, Attempt]
    jobs: dict[str, BatchJob]


class Board:
    """`async with Board.reading(writing) as board:`; `until` wakes up at every change."""

    def __init__(self, writing: Writing) -> None:
        self.outcomes: dict[str, list[Outcome]] = defaultdict(list)  # by cause, repetitions included
        self.hydrates: dict[str, list[Hydrate]] = defaultdict(list)  # by flow
        self.partitions: dict[int, Under] = defaultdict(lambda: Under(set(), {}, {}))
        self.hits: dict[int, int] = {}  # of faults
        self._writing = writing
        self._read: dict[str, int] = defaultdict(int)
        self._changed = asyncio.Condition()
        self._looking = asyncio.Lock()

    @classmethod
    @asynccontextmanager
    async def reading(cls, writing: Writing) -> AsyncIterator[Self]:
        board = cls(writing)
        task = asyncio.create_task(board._keep_reading())
        try:
            yield board
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def until(self, condition: Callable[[], bool], *, what: Callable[[], str], within_s: float = 60.0) -> None:
        try:
            async with asyncio.timeout(None if within_s == inf else within_s), self._changed:
                await self._changed.wait_for(condition)
        except TimeoutError:
            raise AssertionError(f"not within {within_s:.0f} s: {what()}") from None

    async def look(self) -> None:
        """Read what is there now."""
        async with self._looking:
            await self._look()
        async with self._changed:
            self._changed.notify_all()

    def waits(self, key: str) -> bool:
        """Whether a message of `netsuite.desired` has no tombstone yet."""
        return any(key in under.waiting for under in self.partitions.values())

    def open_of(self, account: str) -> list[str]:
        """What is not forgotten yet: batches, and attempts that are open or in doubt."""
        account = account.lower()
        found = [key for under in self.partitions.values() for key, job in under.jobs.items() if job.account == account]
        for under in self.partitions.values():
            found += [key for key in under.attempts if key.startswith(f"{account}/")]
        return found

    async def _keep_reading(self) -> None:
        while True:
            await self.look()

    async def _look(self) -> None:
        audit, desired, observed, requests = await asyncio.gather(*(self._new(topic) for topic in TOPICS))
        for record in audit:
            if record.value is not None and (record.key or b"").endswith(b"/outcome"):
                outcome = Outcome.decode(record.value)
                self.outcomes[outcome.cause].append(outcome)
        for record in desired:
            waiting = self.partitions[record.partition].waiting
            (waiting.discard if record.value is None else waiting.add)((record.key or b"").decode())
        for record in observed:
            self._observe(record)
        for record in requests:
            hydrate = Hydrate.decode(record.value or b"")
            self.hydrates[hydrate.flow].append(hydrate)
        self.hits = {fault["id"]: fault["hits"] for fault in await self._writing.fault_hits()}

    def _observe(self, record: Record) -> None:
        key, under = (record.key or b"").decode(), self.partitions[record.partition]
        if key.startswith("attempt/"):
            under.attempts.pop(key.removeprefix("attempt/"), None)
            if record.value is not None:
                under.attempts[key.removeprefix("attempt/")] = Attempt.decode(record.value)
        elif key.startswith("job/"):
            under.jobs.pop(key, None)
            if record.value is not None:
                under.jobs[key] = BatchJob.decode(record.value)

    async def _new(self, topic: topics.Topic) -> list[Record]:
        found = await self._writing.read(topic)
        done, self._read[topic.name] = self._read[topic.name], len(found)
        return found[done:]
