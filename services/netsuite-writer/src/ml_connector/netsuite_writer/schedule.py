"""Decide which record of one account is written next. Pure.

In: entries as they are accepted, put back, blocked and released. Out: the next entry that may run.
One call per record at a time; of one record only the newest waits; live before replay before backfill, none starving;
flows of one account take turns.
Never: I/O, sleeping, reading the clock. The caller passes `now_s`.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter, OrderedDict
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final, Literal, cast

from ml_connector.common.generation import Generation
from ml_connector.common.keys import RecordType
from ml_connector.common.wire import Lane, Try

# Of 16 turns with work in every lane; each lane has its minimum.
LANE_TURNS: Final[Mapping[Lane, int]] = {"live": 12, "replay": 3, "backfill": 1}
_URGENCY: Final[Mapping[Lane, int]] = {"live": 0, "replay": 1, "backfill": 2}
_NOTHING: Final[AbstractSet[str]] = frozenset()

# How an entry may go: in a batch or alone, alone only, or not before the match query that looks for its record.
Way = Literal["any", "single", "match"]
WAYS: Final[tuple[Way, ...]] = ("any", "single", "match")


def queue_of(kind: RecordType, way: Way) -> str:
    """Entries of one record type that may go the same way wait in one queue."""
    return f"{kind}/{way}"


@dataclass(slots=True, eq=False)
class Entry:
    """A desired state that waits or is being written; its body stays in the store."""

    key: str  # of the message in netsuite.desired
    record: str
    generation: Generation
    cause: str
    flow: str
    lane: Lane
    parent: str | None = None
    contested: bool = False
    repeated: bool = False  # its message came again, maybe behind its tombstone
    rivals: dict[str, Entry] = field(default_factory=dict)  # of the same generation, by key; they end with this one
    way: Way = "any"
    adopts: str | None = None  # internal id of the existing record that becomes this one
    tries: list[Try] = field(default_factory=list)
    failures: int = 0  # transient ones in a row, for the backoff
    counted: int = 0  # transient ones while others succeeded
    faults: int = 0  # of ours, while it was handled
    began_s: float = 0.0  # its last turn
    successes_seen: int | None = None  # of the account, when it was tried first, then at its last failure
    refused_after: int | None = None  # records of its type that were written when NetSuite forbade it first

    @property
    def kind(self) -> RecordType:
        return cast(RecordType, self.record.split("/", 2)[1])

    @property
    def queue(self) -> str:
        return queue_of(self.kind, self.way)


class _Ready:
    """What may run in one lane. Flows take turns, and so do the queues of a flow; a queue is first in, first out."""

    def __init__(self) -> None:
        self._flows: OrderedDict[str, OrderedDict[str, OrderedDict[str, Entry]]] = OrderedDict()
        self.depths: Counter[str] = Counter()

    def add(self, entry: Entry, *, first: bool = False) -> None:
        queue = self._flows.setdefault(entry.flow, OrderedDict()).setdefault(entry.queue, OrderedDict())
        self.depths[entry.queue] += entry.record not in queue
        queue[entry.record] = entry  # a newer state takes the place of the older one
        if first:
            queue.move_to_end(entry.record, last=False)

    def __contains__(self, entry: Entry) -> bool:
        queues = self._flows.get(entry.flow)
        queue = queues.get(entry.queue) if queues is not None else None
        return queue is not None and queue.get(entry.record) is entry

    def remove(self, entry: Entry) -> bool:
        """Whether it was there."""
        if entry not in self:
            return False
        self._take(entry.flow, entry.queue, entry.record)
        return True

    def has_work(self, closed: AbstractSet[str]) -> bool:
        return any(depth > 0 and queue not in closed for queue, depth in self.depths.items())

    def pop(self, closed: AbstractSet[str]) -> Entry | None:
        """The next one of a queue that is not closed."""
        for flow, queues in self._flows.items():
            for name in queues:
                if name not in closed:
                    return self._pop(flow, name)
        return None

    def pop_from(self, name: str) -> Entry | None:
        """The next one of this queue."""
        flow = next((flow for flow, queues in self._flows.items() if name in queues), None)
        return None if flow is None else self._pop(flow, name)

    def _pop(self, flow: str, name: str) -> Entry:
        self._flows.move_to_end(flow)
        self._flows[flow].move_to_end(name)
        entry = next(iter(self._flows[flow][name].values()))
        self._take(flow, name, entry.record)
        return entry

    def _take(self, flow: str, name: str, record: str) -> None:
        queues = self._flows[flow]
        del queues[name][record]
        self.depths[name] -= 1
        if not queues[name]:
            del queues[name]
        if not queues:
            del self._flows[flow]


class Schedule:
    """All waiting work of one account."""

    def __init__(self, turns: Mapping[Lane, int] = LANE_TURNS) -> None:
        self._weights = dict(turns)
        self._turns = dict(turns)
        self._waiting: dict[str, Entry] = {}
        self._running: dict[str, Entry] = {}
        self._ready: dict[Lane, _Ready] = {lane: _Ready() for lane in LANE_TURNS}
        self._delayed: list[tuple[float, int, Entry]] = []
        self._blocked: dict[str, dict[str, Entry]] = {}
        self._order = itertools.count()

    def __len__(self) -> int:
        return len(self._waiting) + len(self._running)

    def accept(self, entry: Entry) -> Entry | None:
        """Take in an entry; the one that this supersedes, which may be the given one itself.

        A call that is under way is never superseded: it ends first, then the newer state goes.
        """
        running = self._running.get(entry.record)
        held = self._waiting.get(entry.record)
        for other in (running, held):
            if other is not None and other.key == entry.key:
                other.repeated = True
                return None  # the same message once more
            if other is not None and entry.generation < other.generation:
                return entry
        entry.contested |= any(other is not None and other.generation == entry.generation for other in (running, held))
        self._waiting[entry.record] = entry
        # Whoever waited for an older state, or for a parent that nobody had seen, does not wait longer for this one.
        for one in (held, *self._blocked.get(entry.record, {}).values()):
            if one is not None and _URGENCY[one.lane] < _URGENCY[entry.lane]:
                entry.lane = one.lane
        if held is not None and (held.lane, held.flow, held.queue) != (entry.lane, entry.flow, entry.queue):
            self._ready[held.lane].remove(held)
        if running is None:
            self._ready[entry.lane].add(entry)
        return held

    def resume(self, entry: Entry) -> None:
        """A call of a former owner that is still under way: nothing of its record goes before `done`."""
        self._running[entry.record] = entry

    def runs(self, entry: Entry) -> bool:
        """Whether its record is locked by it."""
        return self._running.get(entry.record) is entry

    def newest(self, record: str) -> Entry | None:
        """The newest state of a record that waits or is being written."""
        return self._waiting.get(record) or self._running.get(record)

    def next(self, now_s: float, closed: AbstractSet[str] = _NOTHING) -> Entry | None:
        """The entry to be written now, of a queue that is not closed; it runs until `done` or `put_back`."""
        self._wake(now_s)
        lane = self._lane(closed)
        if lane is None:
            return None
        entry = self._ready[lane].pop(closed)
        if entry is not None:
            self._turns[lane] -= 1
            self._run(entry)
        return entry

    def next_from(self, lane: Lane, queue: str) -> Entry | None:
        """As `next`, from one queue: for what travels together. It costs the lane no turn."""
        entry = self._ready[lane].pop_from(queue)
        if entry is not None:
            self._run(entry)
        return entry

    def depth(self, lane: Lane, queue: str) -> int:
        """How many could run now."""
        return self._ready[lane].depths[queue]

    def due_s(self) -> float | None:
        """When the next delayed entry may run; None when none is delayed."""
        return self._delayed[0][0] if self._delayed else None

    def done(self, entry: Entry) -> None:
        """The entry is settled; a newer state of its record may go now."""
        del self._running[entry.record]
        newer = self._waiting.get(entry.record)
        if newer is not None:
            self._ready[newer.lane].add(newer)

    def put_first(self, entry: Entry) -> Entry | None:
        """It did not run yet, and goes next. Returns the newer state that has superseded it meanwhile, if any."""
        newer = self._back(entry)
        if newer is None:
            self._ready[entry.lane].add(entry, first=True)
        return newer

    def put_back(self, entry: Entry, *, at_s: float) -> Entry | None:
        """Try again at `at_s`. Returns as `put_first`."""
        newer = self._back(entry)
        if newer is None:
            heapq.heappush(self._delayed, (at_s, next(self._order), entry))
        return newer

    def block(self, entry: Entry, on: str) -> Entry | None:
        """Wait until `release(on)`: a parent's record key, a flow. Returns as `put_first`.

        A parent inherits the lane of its most urgent child.
        """
        newer = self._back(entry)
        if newer is None:
            self._blocked.setdefault(on, {})[entry.record] = entry
            self._hurry(on, entry.lane)
        return newer

    def release(self, on: str) -> None:
        """Whatever was blocked on this may be looked at again."""
        for entry in self._blocked.pop(on, {}).values():
            if self._waiting.get(entry.record) is entry:
                self._ready[entry.lane].add(entry)

    def release_one(self, on: str) -> None:
        """As `release`, for the first one that still waits."""
        entries = self._blocked.get(on, {})
        while entries:
            record, entry = next(iter(entries.items()))
            del entries[record]
            if self._waiting.get(record) is entry:
                self._ready[entry.lane].add(entry)
                break
        if not entries:
            self._blocked.pop(on, None)

    def release_record(self, on: str, record: str) -> None:
        """As `release`, for this record."""
        entry = self._blocked.get(on, {}).pop(record, None)
        if entry is not None and self._waiting.get(record) is entry:
            self._ready[entry.lane].add(entry)

    def blocked_on(self) -> list[str]:
        return list(self._blocked)

    def _wake(self, now_s: float) -> None:
        while self._delayed and self._delayed[0][0] <= now_s:
            entry = heapq.heappop(self._delayed)[2]
            if self._waiting.get(entry.record) is entry:
                self._ready[entry.lane].add(entry)

    def _run(self, entry: Entry) -> None:
        del self._waiting[entry.record]
        self._running[entry.record] = entry

    def _back(self, entry: Entry) -> Entry | None:
        del self._running[entry.record]
        newer = self._waiting.get(entry.record)
        if newer is None:
            self._waiting[entry.record] = entry
        else:
            self._ready[newer.lane].add(newer)
        return newer

    def _hurry(self, record: str, lane: Lane) -> None:
        parent = self._waiting.get(record)
        if parent is None or _URGENCY[lane] >= _URGENCY[parent.lane]:
            return
        is_ready = self._ready[parent.lane].remove(parent)
        parent.lane = lane
        if is_ready:  # one that is delayed or blocked keeps its time, and takes the new lane then
            self._ready[lane].add(parent)

    def _lane(self, closed: AbstractSet[str]) -> Lane | None:
        """The lane whose turn it is among those with work."""
        with_work = [lane for lane, ready in self._ready.items() if ready.has_work(closed)]
        if not with_work:
            return None
        if all(self._turns[lane] <= 0 for lane in with_work):
            self._turns = dict(self._weights)
        return next(lane for lane in with_work if self._turns[lane] > 0)
