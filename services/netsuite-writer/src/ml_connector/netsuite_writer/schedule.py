"""Decide which record of one account is written next. Pure.

In: entries as they are accepted, put back, blocked and released. Out: the next entry that may run.
One call per record at a time; of one record only the newest waits; live before replay before backfill, none starving.
Never: I/O, sleeping, reading the clock. The caller passes `now_s`.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from dataclasses import dataclass, field

from ml_connector.common.generation import Generation
from ml_connector.common.wire import Lane, Try

# Of 16 turns with work in every lane; each lane has its minimum.
LANE_TURNS: dict[Lane, int] = {"live": 12, "replay": 3, "backfill": 1}
_URGENCY: dict[Lane, int] = {"live": 0, "replay": 1, "backfill": 2}


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
    tries: list[Try] = field(default_factory=list)
    failures: int = 0  # transient ones in a row, for the backoff
    counted: int = 0  # transient ones while others succeeded
    successes_seen: int = 0  # of the account, at the last try


class Schedule:
    """All waiting work of one account."""

    def __init__(self) -> None:
        self._waiting: dict[str, Entry] = {}
        self._running: dict[str, Entry] = {}
        self._ready: dict[Lane, deque[Entry]] = {lane: deque() for lane in LANE_TURNS}
        self._delayed: list[tuple[float, int, Entry]] = []
        self._blocked: dict[str, dict[str, Entry]] = {}
        self._turns: dict[Lane, int] = dict(LANE_TURNS)
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
                return None  # the same message once more
            if other is not None and entry.generation < other.generation:
                return entry
        entry.contested |= any(other is not None and other.generation == entry.generation for other in (running, held))
        if held is not None and _URGENCY[held.lane] < _URGENCY[entry.lane]:
            entry.lane = held.lane  # whoever waited for the older state does not wait longer for the newer
        self._waiting[entry.record] = entry
        if running is None:
            self._ready[entry.lane].append(entry)
        return held

    def newest(self, record: str) -> Entry | None:
        """The newest state of a record that waits or is being written."""
        return self._waiting.get(record) or self._running.get(record)

    def next(self, now_s: float) -> Entry | None:
        """The entry to be written now; it counts as running until `done` or `put_back`."""
        while self._delayed and self._delayed[0][0] <= now_s:
            entry = heapq.heappop(self._delayed)[2]
            self._ready[entry.lane].append(entry)
        while (lane := self._lane()) is not None:
            entry = self._ready[lane].popleft()
            if self._waiting.get(entry.record) is entry and entry.record not in self._running and entry.lane == lane:
                del self._waiting[entry.record]
                self._running[entry.record] = entry
                self._turns[lane] -= 1
                return entry
        return None

    def due_s(self) -> float | None:
        """When the next delayed entry may run; None when none is delayed."""
        return self._delayed[0][0] if self._delayed else None

    def done(self, entry: Entry) -> None:
        """The entry is settled; a newer state of its record may go now."""
        del self._running[entry.record]
        newer = self._waiting.get(entry.record)
        if newer is not None:
            self._ready[newer.lane].append(newer)

    def put_back(self, entry: Entry, *, at_s: float) -> Entry | None:
        """Try again at `at_s`, unless a newer state waits: then this entry is superseded, and that one returned."""
        newer = self._back(entry)
        if newer is None:
            heapq.heappush(self._delayed, (at_s, next(self._order), entry))
        return newer

    def block(self, entry: Entry, on: str) -> Entry | None:
        """Wait until `release(on)`: a parent's record key, a flow. As `put_back`.

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
                self._ready[entry.lane].append(entry)

    def blocked_on(self) -> list[str]:
        return list(self._blocked)

    def children(self, parent: str) -> list[Entry]:
        """What waits for this parent."""
        return [entry for entry in self._blocked.get(parent, {}).values() if self._waiting.get(entry.record) is entry]

    def _back(self, entry: Entry) -> Entry | None:
        del self._running[entry.record]
        newer = self._waiting.get(entry.record)
        if newer is None:
            self._waiting[entry.record] = entry
        else:
            self._ready[newer.lane].append(newer)
        return newer

    def _hurry(self, record: str, lane: Lane) -> None:
        parent = self._waiting.get(record)
        if parent is None or _URGENCY[lane] >= _URGENCY[parent.lane]:
            return
        is_ready = parent in self._ready[parent.lane]
        parent.lane = lane
        if is_ready:  # one that is delayed or blocked keeps its time, and takes the new lane then
            self._ready[lane].append(parent)

    def _lane(self) -> Lane | None:
        """The lane whose turn it is among those with work."""
        with_work = [lane for lane, ready in self._ready.items() if ready]
        if not with_work:
            return None
        if all(self._turns[lane] <= 0 for lane in with_work):
            self._turns = dict(LANE_TURNS)
        return next(lane for lane in with_work if self._turns[lane] > 0)
