"""Read hydrate requests and messages put aside, of the partitions that Faust gives us; companies do not wait for
each other.

Each company has a queue and a task that works it off in order, a few at once; the pages of its syncs have another one,
since they may wait for a day. When one message of a queue must wait, the whole queue waits, and its oldest message
alone decides whether it goes on. Offsets are committed up to the oldest unfinished message, in the group
`resolver-companions`; one that has been here for `renew_s` is written again, so that a dead company holds back neither
the commits nor, at last, its own retention.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from ml_connector.common import headers as h
from ml_connector.common.clock import Clock
from ml_connector.common.kafka.consumer import AssignedConsumer
from ml_connector.common.kafka.lookup import Lookup
from ml_connector.common.kafka.record import Record
from ml_connector.common.logs import get_logger
from ml_connector.resolver.message import Defer, Message
from ml_connector.resolver.parking import Parked, Parking

log = get_logger()

# Handles one message; Defer: it stays, and is tried again.
Handle = Callable[[Message], Awaitable[Defer | None]]
Renew = Callable[[list[Message]], Awaitable[None]]

AT_ONCE: Final = 8  # messages of one company
CHUNK: Final = 200  # messages that are read again together


@dataclass(frozen=True, slots=True)
class Patience:
    """`usual_wait_s`: where nobody says how long. After `renew_s` a message is written to the end of the topic."""

    usual_wait_s: float
    renew_s: float
    held_bytes: int = 32 * 1024 * 1024


class Companion:
    """One companion topic. `own` follows Faust's assignment."""

    def __init__(
        self,
        kafka: Mapping[str, str],
        *,
        topic: str,
        group: str,
        handle: Handle,
        renew: Renew,
        clock: Clock,
        patience: Patience,
    ) -> None:
        """`renew` writes messages to the end of the topic."""
        self._consumer = AssignedConsumer(kafka, topic=topic, group=group)
        self._lookup = Lookup(kafka, topic=topic)
        self._handle = handle
        self._clock = clock
        self._renew = renew
        self._patience = patience
        self._parking = Parking(held_bytes=patience.held_bytes)
        self._owned: frozenset[int] = frozenset()
        self._tasks: dict[bytes, asyncio.Task[None]] = {}
        self._committed: dict[int, int] = {}
        self._committing: asyncio.Task[None] | None = None
        self._failed: asyncio.Future[None] | None = None

    @property
    def waiting(self) -> int:
        """Messages that are not finished."""
        return len(self._parking)

    def start(self) -> None:
        self._consumer.start()
        self._lookup.start()

    async def close(self) -> None:
        await self._consumer.close()
        await self._lookup.close()

    async def own(self, partitions: frozenset[int]) -> None:
        """Read these partitions from their committed offsets, and no others."""
        added, removed = partitions - self._owned, self._owned - partitions
        self._owned = partitions
        await self._consumer.unassign(removed)
        for partition in removed:
            for company in self._parking.drop(partition):
                self._tasks.pop(company).cancel()
            self._committed.pop(partition, None)
        if added:
            await self._consumer.assign(await self._consumer.committed(added))

    async def run(self) -> None:
        """Until cancelled. Raises what a company's task raised: MustStop."""
        self._failed = asyncio.get_running_loop().create_future()
        try:
            reading = asyncio.create_task(self._read())
            await asyncio.wait([reading, self._failed], return_when=asyncio.FIRST_COMPLETED)
            (reading if reading.done() else self._failed).result()
        finally:
            tasks = [reading, *self._tasks.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._commit()

    async def _read(self) -> None:
        while True:
            records, _ = await self._consumer.next()
            for record in records:
                if record.partition in self._owned:
                    self._park(_message(record))

    def _park(self, message: Message) -> None:
        self._parking.add(message, self._clock.monotonic_s())
        queue = message.queue
        if queue not in self._tasks and self._parking.head(queue, 1):
            due_s = h.number(message.headers, h.DUE_AT_MS, 0) / 1000 - self._clock.now_ms() / 1000
            task = self._tasks[queue] = asyncio.create_task(self._serve(queue, wait_s=max(0.0, due_s)))
            task.add_done_callback(self._note_failure)

    def _note_failure(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and self._failed is not None and not self._failed.done():
            self._failed.set_exception(error)

    # -- one company -------------------------------------------------------------------------------------------------

    async def _serve(self, company: bytes, *, wait_s: float) -> None:
        """Until its queue is empty."""
        at_once = 1
        while True:
            if wait_s > 0:
                self._parking.let_go(company)
                await self._clock.sleep(wait_s)
            await self._write_again(company)
            parked = await self._filled(company, self._parking.head(company, at_once))
            if not parked:
                del self._tasks[company]
                return
            wait_s = await self._try(company, parked)
            at_once = 1 if wait_s > 0 else AT_ONCE

    async def _try(self, company: bytes, parked: list[Parked]) -> float:
        """How long the company must wait before its next try."""
        found = await asyncio.gather(*(self._one(one) for one in parked))
        self._finish(company, [one for one, defer in zip(parked, found, strict=True) if defer is None])
        waits = [
            defer.after_s if defer.after_s is not None else self._patience.usual_wait_s for defer in found if defer
        ]
        return max(waits, default=0.0)

    async def _one(self, parked: Parked) -> Defer | None:
        if parked.message is None:
            log.error("message_gone", partition=parked.partition, offset=parked.offset)
            return None
        return await self._handle(parked.message)

    def _finish(self, company: bytes, parked: list[Parked]) -> None:
        if parked:
            self._parking.finish(company, parked)
            if self._committing is None or self._committing.done():
                self._committing = asyncio.create_task(self._commit())

    async def _commit(self) -> None:
        """Until nothing more has been finished meanwhile: a commit takes its time."""
        while offsets := {
            partition: offset
            for partition, offset in self._parking.committable().items()
            if offset > self._committed.get(partition, -1)
        }:
            self._committed.update(offsets)
            await self._consumer.commit(offsets)

    async def _write_again(self, company: bytes) -> None:
        """What has been waiting for long goes to the end of the topic."""
        old_s = self._clock.monotonic_s() - self._patience.renew_s
        while parked := [one for one in self._parking.head(company, CHUNK) if one.since_s <= old_s]:
            await self._filled(company, parked)
            await self._renew([one.message for one in parked if one.message is not None])
            self._finish(company, parked)

    async def _filled(self, company: bytes, parked: list[Parked]) -> list[Parked]:
        """The same, with their messages; where some were not kept, a whole chunk is read again."""
        if all(one.message is not None for one in parked):
            return parked
        missing = {one.offset: one for one in self._parking.head(company, CHUNK) if one.message is None}
        records = await self._lookup.read(parked[0].partition, missing)
        for offset, record in records.items():
            self._parking.fill(missing[offset], _message(record))
        return parked


def _message(record: Record) -> Message:
    key, value = record.key or b"", record.value or b""
    return Message(record.topic, record.partition, record.offset, key, value, record.headers)
