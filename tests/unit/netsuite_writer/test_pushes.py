"""Pushes are gathered, none is lost whoever owns the partition, and a bulk edit is a few requests."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from ml_connector.common import headers as h
from ml_connector.common.clock import ManualClock
from ml_connector.common.drift import MOST_PUSHED_BYTES, PUSHED
from ml_connector.common.errors import TryLater
from ml_connector.common.kafka.record import Record
from ml_connector.common.syncing import SyncPage
from ml_connector.netsuite_writer.again import GIVES_UP_S
from ml_connector.netsuite_writer.polling import Handed, Pushed
from ml_connector.netsuite_writer.pushes import LONGEST_S, QUIET_S, WRITING_S, Pushes
from ml_connector.netsuite_writer.suiteql import Refused


class World:
    """The topic, NetSuite behind `look`, and the company's owner, who is asked."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.position: int | None = None
        self.committed_to = -1
        self.asked: list[SyncPage] = []
        self.looks: list[list[str]] = []
        self.troubles = 0
        self.writing: set[str] = set()
        self.refuses = False
        self.clock = ManualClock()

    def push(self, *numbers: int, body: bytes = b"", flow: str = "f") -> None:
        given = [{"recordType": "customer", "externalId": f"pd-org-{number}"} for number in numbers]
        value = body or json.dumps({"records": given}).encode()
        headers = {h.KIND: PUSHED, h.FLOW: flow.encode()}
        self.records.append(Record("netsuite.requests", 0, len(self.records), b"a", value, headers, 0))

    # -- Requests

    async def next(self) -> tuple[list[Record], list[int]]:
        while True:
            await asyncio.sleep(0)
            if self.position is not None and self.position < len(self.records):
                found = self.records[self.position : self.position + 4]
                self.position += len(found)
                return found, []

    async def assign(self, starts: Mapping[int, int]) -> None:
        self.position = max(starts[0], 0)

    async def unassign(self, partitions: Iterable[int]) -> None:
        if set(partitions):
            self.position = None

    async def committed(self, partitions: Iterable[int]) -> dict[int, int]:
        return dict.fromkeys(partitions, self.committed_to if self.committed_to >= 0 else -2)

    async def commit(self, offsets: Mapping[int, int]) -> None:
        self.committed_to = offsets[0]

    # -- who is asked

    async def look(self, partition: int, flow: str, records: Sequence[Pushed]) -> Handed:
        await asyncio.sleep(0)
        if self.refuses:
            raise Refused("no")
        if self.troubles:
            self.troubles -= 1
            raise TryLater("NetSuite does not answer")
        self.looks.append([one.external_id for one in records])
        later = [one for one in records if one.external_id in self.writing]
        ids = [one.external_id.rpartition("-")[2] for one in records if one.external_id not in self.writing]
        return Handed({"organization": ids} if ids else {}, later)

    async def ask(self, page: SyncPage) -> None:
        await asyncio.sleep(0)
        self.asked.append(page)

    @property
    def ids(self) -> Counter[str]:
        return Counter(one for page in self.asked for one in page.ids)

    async def run(self, steps_s: Iterable[float]) -> None:
        """One process, which dies at the end."""
        pushes = Pushes(self, self.look, self.ask, self.clock)
        running = asyncio.create_task(pushes.run())
        pushes.own(frozenset({0}))
        for step_s in steps_s:
            for _ in range(12):
                await asyncio.sleep(0)
            self.clock.advance(step_s)
        for _ in range(12):
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        self.position = None


@settings(max_examples=60, deadline=None)
@given(
    pushed=st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=3), max_size=25),
    lives=st.lists(st.lists(st.sampled_from([0.1, 0.3, 1.0]), max_size=8), max_size=4),
    troubles=st.integers(0, 3),
)
def test_none_is_lost_however_often_the_owner_dies(
    pushed: list[list[int]], lives: list[list[float]], troubles: int
) -> None:
    world = World()
    world.troubles = troubles
    for numbers in pushed:
        world.push(*numbers)

    async def live() -> None:
        for life in lives:
            await world.run(life)
        await world.run([0.3] * 120)

    asyncio.run(live())

    assert set(world.ids) == {str(number) for numbers in pushed for number in numbers}
    assert all(page.urgent and page.unfollowed and page.purpose == "drift" for page in world.asked)
    assert world.committed_to == (len(pushed) or world.committed_to)


async def test_a_bulk_edit_is_looked_at_once() -> None:
    world = World()
    for number in range(1, 2_001):
        world.push(number % 500 + 1)

    await world.run([0.01] * 150 + [QUIET_S] * 3)

    assert len(world.looks) == 1
    assert len(world.looks[0]) == 500
    assert world.committed_to == 2_000


async def test_pushes_that_never_cease_do_not_put_off_those_before_them() -> None:
    world = World()
    pushes = Pushes(world, world.look, world.ask, world.clock)
    running = asyncio.create_task(pushes.run())
    pushes.own(frozenset({0}))
    for number in range(1, 15):
        world.push(number)
        for _ in range(12):
            await asyncio.sleep(0)
        world.clock.advance(QUIET_S / 2)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert world.looks, f"within {LONGEST_S} s"


async def test_who_is_being_written_is_looked_at_again_and_holds_up_nobody() -> None:
    world = World()
    world.push(1, 2)
    world.writing = {"pd-org-1"}

    await world.run([QUIET_S] * 10)
    before = (dict(world.ids), world.committed_to)
    world.writing = set()
    await world.run([QUIET_S] * 10)

    assert before == ({"2": 1}, 0)
    assert set(world.ids) == {"1", "2"}
    assert world.committed_to == 1


async def test_a_write_that_takes_for_ever_is_not_waited_for() -> None:
    world = World()
    world.push(1)
    world.writing = {"pd-org-1"}

    await world.run([QUIET_S] * int(WRITING_S + 20))

    assert world.committed_to == 1


async def test_a_flow_whose_account_does_not_answer_is_given_up_after_an_hour() -> None:
    world = World()
    world.push(1)
    world.troubles = 10_000

    await world.run([GIVES_UP_S / 10] * 40)

    assert (world.asked, world.committed_to) == ([], 1)


async def test_what_cannot_be_read_is_passed_over() -> None:
    world = World()
    for body in (
        b"{", b"[]", b"null", b"\xff\xfe", b"[" * 200_000, b'{"records":' * 20_000, b'{"records":[1]}',
        b'{"records":[{"recordType":"invoice","id":"5"}]}', b'{"recordType":"customer"}',
        b'{"recordType":"customer","id":"5; DROP TABLE customer"}', b'{"recordType":"customer","id":"' + b"9" * 30 + b'"}',
        b'{"recordType":"customer","id":"1"}' + b" " * MOST_PUSHED_BYTES,
        json.dumps({"records": [{"recordType": "customer", "id": n} for n in range(1_001)]}).encode(),
    ):  # fmt: skip
        world.push(body=body)
    world.push(7)

    await world.run([QUIET_S] * 60)

    assert world.ids == {"7": 1}
    assert world.committed_to == len(world.records)


async def test_a_query_that_netsuite_refuses_is_not_repeated() -> None:
    world = World()
    world.push(1)
    world.refuses = True

    await world.run([QUIET_S] * 10)

    assert world.committed_to == 1


async def test_each_flow_is_looked_at_by_itself() -> None:
    world = World()
    world.push(1, flow="f")
    world.push(2, flow="g")

    await world.run([QUIET_S] * 5)

    by_flow: dict[str, list[str]] = defaultdict(list)
    for page in world.asked:
        by_flow[page.flow] += page.ids
    assert by_flow == {"f": ["1"], "g": ["2"]}
