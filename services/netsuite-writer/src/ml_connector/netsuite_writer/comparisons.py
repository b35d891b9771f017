"""Take up comparisons for the accounts whose partitions are ours: `netsuite.requests` in, `audit` out.

Unlike what `asked.py` answers, none may get lost: a partition's position is committed once the answer is in the audit,
and the next owner goes on from there. One after another in each partition, which does not wait for others; one that
NetSuite does not answer in an hour is told as not compared, and can be asked for again. A few are kept in memory; a
partition with more is read on when it has worked these off.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import Final, Protocol

from ml_connector.common import headers as h
from ml_connector.common.clock import Clock
from ml_connector.common.comparing import COMPARE, Compare, Compared, not_compared
from ml_connector.common.errors import BadInput, TryLater
from ml_connector.common.kafka.record import Record
from ml_connector.common.logs import get_logger

log = get_logger()

MOST_HELD: Final = 8  # requests of one partition; each has a mebibyte at most
AGAIN_S: Final = 2.0
GIVES_UP_S: Final = 3600.0  # others of the partition wait, and what should be was read before that

Answers = Callable[[Compare, int], Awaitable[Compared]]  # to a request of this partition; raises TryLater
Tell = Callable[[Compared], Awaitable[None]]  # once it returns it is in the audit; raises TryLater


class Requests(Protocol):
    """`netsuite.requests`, by partition: an AssignedConsumer."""

    async def next(self) -> tuple[list[Record], list[int]]: ...

    async def assign(self, starts: Mapping[int, int]) -> None: ...

    async def unassign(self, partitions: Iterable[int]) -> None: ...

    async def committed(self, partitions: Iterable[int]) -> dict[int, int]: ...

    async def commit(self, offsets: Mapping[int, int]) -> None: ...


@dataclass(slots=True)
class _Place:
    """One partition. `read_on`: it is not read until then, and from here."""

    held: deque[Record] = field(default_factory=deque)
    read_on: int | None = None
    task: asyncio.Task[None] | None = None


class Comparisons:
    """`run` until cancelled, then `own` nothing; `own` whenever partitions come or go."""

    def __init__(self, requests: Requests, compare: Answers, tell: Tell, clock: Clock) -> None:
        self._requests = requests
        self._compare = compare
        self._tell = tell
        self._clock = clock
        self._owned: frozenset[int] = frozenset()
        self._changed = asyncio.Event()
        self._places: dict[int, _Place] = {}
        self._reading: set[int] = set()
        self._moving = asyncio.Lock()  # a partition is not read anew before what was read of it is dropped

    def own(self, partitions: frozenset[int]) -> None:
        """These are ours, and no others; what is under way for others is given up."""
        if partitions == self._owned:
            return
        self._owned = partitions
        self._changed.set()
        for number in [number for number in self._places if number not in partitions]:
            task = self._places.pop(number).task
            if task is not None:
                task.cancel()

    async def run(self) -> None:
        """Until cancelled."""
        await asyncio.gather(self._follow(), self._read())

    async def _follow(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            await self._stop_reading(self._reading - self._places.keys())
            added = self._owned - self._places.keys()
            if added:
                starts = await self._requests.committed(added)
                still = {number: start for number, start in starts.items() if number in self._owned}
                self._places.update({number: _Place() for number in still})
                await self._read_from(still)

    async def _read_from(self, starts: Mapping[int, int]) -> None:
        async with self._moving:
            self._reading |= starts.keys()
            await self._requests.assign(starts)

    async def _stop_reading(self, partitions: Set[int]) -> None:
        async with self._moving:
            self._reading -= partitions
            await self._requests.unassign(partitions)

    async def _read(self) -> None:
        while True:
            records, _ = await self._requests.next()
            full = {record.partition for record in records if self._take(record)}
            if full:
                await self._stop_reading(full)

    def _take(self, record: Record) -> bool:
        """True: its partition is not to be read for now. All of a lot are taken together, with no turn for others, so
        that nothing is taken that stands behind what is not."""
        place = self._places.get(record.partition)
        if place is None or place.read_on is not None:
            return False
        if len(place.held) >= MOST_HELD:
            place.read_on = record.offset
            return True
        if record.value is not None and record.headers.get(h.KIND) == COMPARE:
            place.held.append(record)
            if place.task is None:
                place.task = asyncio.create_task(self._work_off(record.partition, place))
        return False

    async def _work_off(self, partition: int, place: _Place) -> None:
        while place.held:
            await self._answer(place.held[0])
            offset = place.held.popleft().offset
            await self._requests.commit({partition: offset + 1})
        place.task = None
        if place.read_on is not None:
            start, place.read_on = place.read_on, None
            await self._read_from({partition: start})

    async def _answer(self, record: Record) -> None:
        """Until it is in the audit."""
        try:
            asked = Compare.decode(record.value or b"")
        except BadInput as error:
            log.error("request_refused", partition=record.partition, offset=record.offset, problem=str(error))
            return
        until_s = self._clock.monotonic_s() + GIVES_UP_S
        while (told := await self._compared(asked, record.partition, until_s)) is None or not await self._is_told(told):
            await self._clock.sleep(AGAIN_S)

    async def _compared(self, asked: Compare, partition: int, until_s: float) -> Compared | None:
        """None: not now."""
        try:
            return await self._compare(asked, partition)
        except TryLater as error:
            if self._clock.monotonic_s() >= until_s:
                return not_compared(asked, self._clock.now_ms(), f"given up after an hour: {error}")
            log.info("comparison_waits", id=asked.job_id, entity=asked.entity, problem=str(error))
            return None
        except Exception as error:  # the top of a task: a fault of ours in a comparison must not end the writing
            log.error("comparison_failed", id=asked.job_id, entity=asked.entity, exc_info=error)
            return not_compared(asked, self._clock.now_ms(), f"a fault of ours: {type(error).__name__}")

    async def _is_told(self, compared: Compared) -> bool:
        count = {"records": compared.records, "differences": len(compared.differences)}
        try:
            await self._tell(compared)
        except TryLater as error:
            log.warning("comparison_not_told", id=compared.job_id, entity=compared.entity, problem=str(error))
            return False
        log.info("records_compared", id=compared.job_id, entity=compared.entity, count=compared.page, **count)
        return True
