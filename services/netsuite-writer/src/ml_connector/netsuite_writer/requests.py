"""Take up what is asked of the accounts whose partitions are ours, and must not get lost: `netsuite.requests`.

A partition's position is committed once a request is worked off, and the next owner goes on from there. One after
another in each partition, which does not wait for others. A few are kept in memory; a partition with more is read on
when it has worked these off. Requests of other kinds are passed over.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import Final, Protocol

from ml_connector.common import headers as h
from ml_connector.common.clock import Clock
from ml_connector.common.kafka.record import Record

PASSED_S: Final = 30.0  # so often it is noted how far requests were passed over
MOST_HELD: Final = 8  # requests of one partition; each has a mebibyte at most

# Works one request off, however long that takes: by its kind.
Works = Mapping[bytes, Callable[[Record], Awaitable[None]]]


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
    passed: int = -1  # nothing before this offset is ours


class RequestQueue:
    """`run` until cancelled, then `own` nothing; `own` whenever partitions come or go."""

    def __init__(self, requests: Requests, works: Works, clock: Clock, *, takes: Callable[[Record], bool]) -> None:
        """`takes`: which of those kinds are for this queue."""
        self._requests = requests
        self._works = works
        self._clock = clock
        self._takes = takes
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
        await asyncio.gather(self._follow(), self._read(), self._pass())

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
        if record.value is not None and record.headers.get(h.KIND) in self._works and self._takes(record):
            place.held.append(record)
            if place.task is None:
                place.task = asyncio.create_task(self._work_off(record.partition, place))
        elif place.task is None:
            place.passed = record.offset + 1
        return False

    async def _pass(self) -> None:
        """Requests of other kinds are not read again by the next owner."""
        while True:
            await self._clock.sleep(PASSED_S)
            passed = {n: place.passed for n, place in self._places.items() if place.task is None and place.passed >= 0}
            for number in passed:
                self._places[number].passed = -1
            if passed:
                await self._requests.commit(passed)

    async def _work_off(self, partition: int, place: _Place) -> None:
        while place.held:
            await self._works[place.held[0].headers[h.KIND]](place.held[0])
            offset = place.held.popleft().offset
            await self._requests.commit({partition: offset + 1})
        place.task = None
        if place.read_on is not None:
            start, place.read_on = place.read_on, None
            await self._read_from({partition: start})
