"""The unfinished messages of one companion topic, in their queues, and where reading would begin again. Pure.

A queue keeps places (partition, offset); the messages themselves only while they fit into a fixed number of bytes, so
that a company that is dead for hours costs a few bytes a message.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field
from itertools import islice

from ml_connector.resolver.message import Message


@dataclass(slots=True)
class Parked:
    """One message, or only its place: then it is read again when its turn comes. `since_s`: when it was parked."""

    partition: int
    offset: int
    since_s: float
    message: Message | None


@dataclass(slots=True)
class _Progress:
    """Of one partition."""

    next_offset: int = 0
    open: list[int] = field(default_factory=list)  # a heap; closed ones are dropped when they come to its top
    closed: set[int] = field(default_factory=set)


class Parking:
    """Messages come in by `add` in the order of their offsets, and leave by `finish` in any order."""

    def __init__(self, *, held_bytes: int) -> None:
        self._free_bytes = held_bytes
        self._queues: dict[bytes, deque[Parked]] = {}
        self._progress: dict[int, _Progress] = {}

    def add(self, message: Message, now_s: float) -> None:
        progress = self._progress.setdefault(message.partition, _Progress())
        if message.offset < progress.next_offset:
            return  # read twice, after the client has lost its place
        progress.next_offset = message.offset + 1
        heapq.heappush(progress.open, message.offset)
        held = len(message.value) <= self._free_bytes
        if held:
            self._free_bytes -= len(message.value)
        queue = self._queues.setdefault(message.queue, deque())
        queue.append(Parked(message.partition, message.offset, now_s, message if held else None))

    def head(self, company: bytes, count: int) -> list[Parked]:
        """The oldest messages of a company; they stay in its queue."""
        return list(islice(self._queues.get(company, ()), count))

    def fill(self, parked: Parked, message: Message) -> None:
        """It was read again."""
        parked.message = message
        self._free_bytes -= len(message.value)

    def let_go(self, company: bytes) -> None:
        """The company waits: if there are too many bytes, forget those that were read again for it."""
        for parked in self._queues.get(company, ()):
            if self._free_bytes >= 0:
                break
            self._forget(parked)

    def finish(self, company: bytes, parked: list[Parked]) -> None:
        """These, which are near the head of the company's queue, are done with, or written elsewhere."""
        queue = self._queues[company]
        done = {one.offset for one in parked}
        kept: list[Parked] = []
        while done:
            one = queue.popleft()
            if one.offset not in done:
                kept.append(one)
                continue
            done.discard(one.offset)
            self._forget(one)
            self._progress[one.partition].closed.add(one.offset)
        queue.extendleft(reversed(kept))
        if not queue:
            del self._queues[company]

    def committable(self) -> dict[int, int]:
        """For each partition the offset below which everything is finished."""
        return {partition: _oldest_open(progress) for partition, progress in self._progress.items()}

    def drop(self, partition: int) -> list[bytes]:
        """Forget a partition that is no longer ours; the companies that were in it."""
        self._progress.pop(partition, None)
        gone = [company for company, queue in self._queues.items() if queue[0].partition == partition]
        for company in gone:
            for parked in self._queues.pop(company):
                self._forget(parked)
        return gone

    def __len__(self) -> int:
        return sum(len(queue) for queue in self._queues.values())

    def _forget(self, parked: Parked) -> None:
        if parked.message is not None:
            self._free_bytes += len(parked.message.value)
            parked.message = None


def _oldest_open(progress: _Progress) -> int:
    while progress.open and progress.open[0] in progress.closed:
        progress.closed.discard(heapq.heappop(progress.open))
    return progress.open[0] if progress.open else progress.next_offset
