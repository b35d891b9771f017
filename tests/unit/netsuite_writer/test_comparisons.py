"""Comparisons are taken up in order, and none is lost: whoever owns the partition next goes on where this one was."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_connector.common import headers as h
from ml_connector.common import measuring, metrics
from ml_connector.common.clock import ManualClock
from ml_connector.common.comparing import COMPARE, Compare, Compared, Did, Difference, Found, not_compared
from ml_connector.common.errors import TryLater
from ml_connector.common.kafka.record import Record
from ml_connector.common.syncing import SyncPage
from ml_connector.netsuite_writer.comparisons import Comparisons
from ml_connector.netsuite_writer.requests import MOST_HELD, RequestQueue


class Log:
    """The topic, and where its readers are. What is read comes in lots of `lot`."""

    def __init__(self, requests: Mapping[int, int], lot: int) -> None:
        self.records = {
            number: [
                Record("netsuite.requests", number, offset, b"a", _asked(number, offset).encode(), {h.KIND: COMPARE}, 0)
                for offset in range(count)
            ]
            for number, count in requests.items()
        }
        self.positions: dict[int, int] = {}
        self.offsets: dict[int, int] = {}
        self._lot = lot

    async def next(self) -> tuple[list[Record], list[int]]:
        while True:
            await asyncio.sleep(0)
            found = [
                record
                for number, start in self.positions.items()
                for record in self.records[number][start : start + self._lot]
            ]
            for record in found:
                self.positions[record.partition] = record.offset + 1
            if found:
                return found, []

    async def assign(self, starts: Mapping[int, int]) -> None:
        assert not starts.keys() & self.positions.keys(), "it is read already"
        await asyncio.sleep(0)
        self.positions |= {number: max(start, 0) for number, start in starts.items()}

    async def unassign(self, partitions: Iterable[int]) -> None:
        gone = set(partitions)
        assert gone <= self.positions.keys(), "it is not read"
        self.positions = {number: at for number, at in self.positions.items() if number not in gone}
        await asyncio.sleep(0)

    async def committed(self, partitions: Iterable[int]) -> dict[int, int]:
        await asyncio.sleep(0)
        return {number: self.offsets.get(number, -2) for number in partitions}

    async def commit(self, offsets: Mapping[int, int]) -> None:
        self.offsets |= offsets


def _asked(partition: int, offset: int) -> Compare:
    return Compare(job_id="j", flow="f", account=str(partition), entity="deal", page=offset, part=1, parts=1, at_ms=1)


class World:
    def __init__(self, requests: Mapping[int, int], lot: int = 5) -> None:
        self.log = Log(requests, lot)
        self.told: dict[int, list[int]] = defaultdict(list)
        self.failed: Counter[str] = Counter()  # why nothing was compared
        self.stuck: set[int] = set()
        self.asked: list[SyncPage] = []
        self.held = 0
        self.troubles = 0

    async def compare(self, asked: Compare, partition: int) -> Compared:
        await asyncio.sleep(0)
        if partition in self.stuck:
            raise TryLater("NetSuite does not answer")
        if asked.page == 3:
            raise KeyError
        return not_compared(asked, 1, "")

    async def tell(self, compared: Compared) -> None:
        await asyncio.sleep(0)
        if self.troubles:
            self.troubles -= 1
            raise TryLater("the broker is away")
        self.told[int(compared.account)].append(compared.page)
        self.failed[compared.failed.partition(":")[0]] += 1

    async def ask(self, page: SyncPage) -> None:
        await asyncio.sleep(0)
        if self.troubles:
            self.troubles -= 1
            raise TryLater("the broker is away")
        self.asked.append(page)

    async def run(self, steps: Iterable[frozenset[int]], *, step_s: float = 2) -> None:
        """One process; each step lasts some turns of the loop."""
        clock = ManualClock()
        works = {COMPARE: Comparisons(self.compare, self.tell, self.ask, clock).answer}
        queue = RequestQueue(self.log, works, clock, takes=lambda _: True)
        running = asyncio.create_task(queue.run())
        for owned in steps:
            queue.own(owned)
            clock.advance(step_s)
            for _ in range(30):
                await asyncio.sleep(0)
                self.held = max(self.held, *(len(place.held) for place in queue._places.values()), 0)
        queue.own(frozenset())
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        self.log.positions.clear()


def in_order(pages: list[int]) -> bool:
    """Without a gap; repetitions begin at one that came before."""
    reached = -1
    for page in pages:
        if page > reached + 1:
            return False
        reached = max(reached, page)
    return True


@settings(max_examples=60, deadline=None)
@given(
    counts=st.tuples(st.integers(0, 60), st.integers(0, 60)),
    lot=st.integers(1, 40),
    lives=st.lists(st.lists(st.frozensets(st.integers(0, 1)), min_size=1, max_size=6), max_size=4),
    troubles=st.integers(0, 3),
)
def test_none_is_left_out_whoever_owns_what(
    counts: tuple[int, int], lot: int, lives: list[list[frozenset[int]]], troubles: int
) -> None:
    world = World(dict(enumerate(counts)), lot)
    world.troubles = troubles

    async def live() -> None:
        for life in lives:
            await world.run(life)
        await world.run([frozenset({0, 1})] * 60)

    asyncio.run(live())

    for number, count in enumerate(counts):
        assert set(world.told[number]) == set(range(count))
        assert in_order(world.told[number])
        assert world.log.offsets.get(number, 0) == count
    assert world.held <= MOST_HELD


async def test_an_account_that_does_not_answer_holds_up_nobody_else() -> None:
    world = World({0: 50, 1: 50})
    world.stuck = {0}

    await world.run([frozenset({0, 1})] * 20)

    assert world.told == {1: list(range(50))}
    assert world.log.offsets == {1: 50}
    assert world.held == MOST_HELD


async def test_what_is_not_answered_in_an_hour_is_told_as_not_compared() -> None:
    world = World({0: 2})
    world.stuck = {0}

    await world.run([frozenset({0})] * 20, step_s=1_000)

    assert world.told == {0: [0, 1]}
    assert world.failed == {"given up after an hour": 2}


async def test_what_a_drift_check_found_is_counted_by_what_was_done() -> None:
    """What waits, or cannot be compared, says nothing."""
    found: list[tuple[Found, Did]] = [
        ("different", "asserted"), ("missing", "asserted"), ("different", "given_up"), ("waiting", "reported"),
    ]  # fmt: skip
    differences = tuple(Difference("7", "pd-deal-7", one, did=did) for one, did in found)

    async def compare(asked: Compare, _: int) -> Compared:
        return msgspec.structs.replace(not_compared(asked, 1, ""), differences=differences, drift=asked.drift)

    world = World({})
    comparisons = Comparisons(compare, world.tell, world.ask, ManualClock())
    for offset, is_drift in enumerate((True, False)):
        asked = msgspec.structs.replace(_asked(0, offset), flow="counted", drift=is_drift)
        await comparisons.answer(Record("netsuite.requests", 0, offset, b"0", asked.encode(), {}, 0))

    counted = {key: count for key, count in measuring.counted(metrics.DRIFT).items() if key[0] == "counted"}
    assert counted == {("counted", "asserted"): 2, ("counted", "given_up"): 1}
