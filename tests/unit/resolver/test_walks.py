"""A walk whose process may die before any message is written, while Pipedrive fails, changes and forgets cursors.

The real parts, but for the broker: lists of what was acknowledged. Of what is written together any part may be there.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx2
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_connector.common import headers as h
from ml_connector.common import topics
from ml_connector.common.clock import ManualClock
from ml_connector.common.comparing import COMPARE, MOST_BYTES, MOST_RECORDS, Compare, Expected, Unmapped
from ml_connector.common.credentials import ApiToken
from ml_connector.common.flows import PipedriveLimits
from ml_connector.common.generation import Generation
from ml_connector.common.syncing import CONTROL, PAGE, SyncControl, SyncPage, SyncState, sync_key
from ml_connector.common.wire import Desired
from ml_connector.resolver.listing import Listed, Reading, resolve
from ml_connector.resolver.message import Message, Output
from ml_connector.resolver.pipedrive.breaker import Breaker
from ml_connector.resolver.pipedrive.budget import Budget
from ml_connector.resolver.pipedrive.client import PipedriveClient
from ml_connector.resolver.pipedrive.login import TokenLogin
from ml_connector.resolver.plan import FlowPlan
from ml_connector.resolver.refresh import Refresher
from ml_connector.resolver.walks import Walks
from support.resolving import Cored
from support.state_topic import StateTopic

COMPANY, JOB = "acme", "j1"
KEY = sync_key(COMPANY, JOB, "organization")
NOW_MS = 1_795_000_000_000
ROWS = 3  # of one page
LIMITS = PipedriveLimits(burst=100_000, daily_tokens=10_000_000)


def flow(name: str) -> dict[str, Any]:
    """`name`: the expression of the only field."""
    return {
        "flow": COMPANY,
        "environment": "sandbox",
        "pipedrive": {"company": COMPANY},
        "netsuite": {"account": "1234567_SB1"},
        "external_ids": "pd",
        "entities": {"organization": {"record": "customer", "fields": {"companyName": name}}},
    }


class Died(Exception):
    """The process, at this line."""


class World:
    """What outlives a process. `lives`: how many messages each process writes before it dies; then one that does not."""

    def __init__(self, objects: int, lives: list[int], seed: int, *, custom: bool = False) -> None:
        self.custom = {"c" * 40: "nobody knows"} if custom else {}
        self.paths: list[str] = []
        self.chance = random.Random(seed)
        self.objects = dict.fromkeys(range(1, objects + 1), "name")
        self.stable = set(self.objects)
        self.requests: list[Message] = []
        self.committed = 0
        self.kept: dict[str, bytes] = {}
        self.desired: dict[str, int] = {}
        self.compared: list[Compare] = []
        self.refusals = self.troubles = 0
        self._lives = lives
        self._left: int | None = None

    def ask(self, kind: bytes, body: bytes) -> None:
        self._append(COMPANY.encode(), body, {h.KIND: kind})

    @property
    def state(self) -> SyncState | None:
        return SyncState.decode(self.kept[KEY]) if KEY in self.kept else None

    async def send(self, outputs: Sequence[Output]) -> None:
        for output in self.chance.sample(outputs, len(outputs)):
            if self._left is not None:
                self._left -= 1
                if self._left < 0:
                    raise Died
            self._write(output)

    def _write(self, output: Output) -> None:
        key = output.key.decode()
        if output.topic is topics.STATE:
            if output.value is None:
                self.kept.pop(key, None)
            else:
                self.kept[key] = output.value
        elif output.topic is topics.PIPEDRIVE_REQUESTS:
            self._append(output.key, output.value or b"", output.headers)
        elif output.topic is topics.DESIRED:
            cause = key.split("#", 2)[2]
            self.desired[cause] = self.desired.get(cause, 0) + 1
        elif output.topic is topics.NETSUITE_REQUESTS:
            self.compared.append(Compare.decode(output.value or b""))
        else:
            assert output.topic is topics.AUDIT
            assert key.partition("/")[0] in self.desired, "accepted before it is safe"

    def _append(self, key: bytes, body: bytes, headers: dict[str, bytes]) -> None:
        self.requests.append(Message("pipedrive.requests", 0, len(self.requests), key, body, headers))

    def answer(self, request: httpx2.Request) -> httpx2.Response:
        """Pipedrive, in pages of its own size; whatever is changed meanwhile."""
        self.paths.append(request.url.path)
        if request.url.path.endswith("Fields"):
            return httpx2.Response(200, json={"data": [], "additional_data": None})
        self._live()
        *_, last = request.url.path.split("/")
        if last.isdigit():
            found = {"id": int(last), "name": self.objects[int(last)]} if int(last) in self.objects else None
            return httpx2.Response(200 if found else 404, json={"data": found})
        if "ids" in request.url.params:
            listed = [int(one) for one in request.url.params["ids"].split(",") if int(one) in self.objects]
            rows = [{"id": n, "name": self.objects[n], "custom_fields": self.custom} for n in listed]
            return httpx2.Response(200, json={"data": rows, "additional_data": {"next_cursor": None}})
        cursor = request.url.params.get("cursor")
        if self.troubles and self.chance.random() < 0.3:
            self.troubles -= 1
            return httpx2.Response(self.chance.choice((500, 429, 502)), json={})
        if cursor and self.refusals and self.chance.random() < 0.3:
            self.refusals -= 1
            return httpx2.Response(400, json={"success": False})
        ids = [number for number in sorted(self.objects) if number > int(cursor or 0)]
        rows = [{"id": n, "name": self.objects[n], "custom_fields": self.custom} for n in ids[:ROWS]]
        following = str(ids[ROWS - 1]) if len(ids) > ROWS else None
        return httpx2.Response(
            200, content=json.dumps({"data": rows, "additional_data": {"next_cursor": following}}).encode()
        )

    def _live(self) -> None:
        number = self.chance.randrange(1, 60)
        match self.chance.randrange(4):
            case 0:
                self.objects[max(self.objects, default=0) + 1] = "new"
            case 1 if number in self.objects:
                self.objects[number] = "changed"
            case 2 if number in self.objects:
                del self.objects[number]
                self.stable.discard(number)

    async def run(self) -> None:
        """Until all is handled, by one process after another."""
        while self.committed < len(self.requests):
            self._left = self._lives.pop(0) if self._lives else None
            try:
                await self._process()
            except Died:
                continue

    async def at_once(self) -> None:
        """All that is asked for, handled together: some of it was put aside before."""
        async with self._walks() as (walks, _):
            await asyncio.gather(*(walks.take(message) for message in self.requests))

    async def _process(self) -> None:
        async with self._walks() as (walks, clock):
            while self.committed < len(self.requests):
                message = self.requests[self.committed]
                later = await walks.take(message)
                if later is not None:
                    again = Output(topics.PIPEDRIVE_REQUESTS, b"", message.key, message.value, message.headers)
                    await self.send([again])
                    clock.advance(1_000)
                self.committed += 1

    @contextlib.asynccontextmanager
    async def _walks(self) -> AsyncIterator[tuple[Walks, ManualClock]]:
        """Those of a new process."""
        cored = Cored(now_ms=NOW_MS)
        cored.apply(flow('custom["Rank"]' if self.custom else "data.name"), version=1)
        async with httpx2.AsyncClient(transport=httpx2.MockTransport(self.answer)) as http:
            clients = OneClient(http, cored)
            refresher = Refresher(cored.core, cored.book, clients, self.send, cored.clock, reread_s=60)
            walks = Walks(cored.core, refresher, clients, self.kept.get, self.send, cored.clock, reread_s=60)
            yield walks, cored.clock


class OneClient:
    """Of the only company."""

    def __init__(self, http: httpx2.AsyncClient, cored: Cored) -> None:
        self._client = PipedriveClient(
            http,
            TokenLogin("http://pipedrive.test", lambda: ApiToken(token="t")),
            breaker=Breaker(first_s=1, longest_s=2, chance=random.Random(1)),
            budget=Budget(),
            limits=LIMITS,
            standing=StateTopic().standing(COMPANY, cored.clock),
            clock=cored.clock,
        )

    def client(self, plan: FlowPlan) -> PipedriveClient:
        assert plan.company == COMPANY
        return self._client


def first_page(**more: Any) -> bytes:
    return SyncPage(job_id=JOB, flow=COMPANY, entity="organization", at_ms=NOW_MS, **more).encode()


def steer(to: Any) -> bytes:
    return SyncControl(job_id=JOB, flow=COMPANY, entity="organization", to=to, at_ms=NOW_MS).encode()


@settings(max_examples=60, deadline=None)
@given(
    objects=st.integers(0, 25),
    lives=st.lists(st.integers(0, 25), max_size=8),
    pauses=st.lists(st.sampled_from(["paused", "running"]), max_size=4),
    troubles=st.integers(0, 6),
    refusals=st.integers(0, 3),
    seed=st.integers(0, 10_000),
)
def test_no_page_is_skipped_whatever_happens(
    objects: int, lives: list[int], pauses: list[str], troubles: int, refusals: int, seed: int
) -> None:
    """Each object that is there all the while is emitted, and the walk ends."""
    world = World(objects, lives, seed)
    world.troubles, world.refusals = troubles, refusals

    async def walk() -> None:
        world.ask(PAGE, first_page())
        for to in pauses:
            world.ask(CONTROL, steer(to))
        await world.run()
        for _ in range(2):
            if world.state is not None and world.state.state == "paused":
                world.ask(CONTROL, steer("running"))
                await world.run()

    asyncio.run(walk())

    assert world.state is not None
    assert world.state.state == "done"
    assert {f"syn:{JOB}:organization:{number}" for number in world.stable} <= world.desired.keys()


@settings(max_examples=40, deadline=None)
@given(
    objects=st.integers(0, 25),
    lives=st.lists(st.integers(0, 15), max_size=8),
    troubles=st.integers(0, 6),
    refusals=st.integers(0, 3),
    seed=st.integers(0, 10_000),
)
def test_a_comparison_skips_no_page_and_accepts_nothing(
    objects: int, lives: list[int], troubles: int, refusals: int, seed: int
) -> None:
    world = World(objects, lives, seed)
    world.troubles, world.refusals = troubles, refusals

    async def walk() -> None:
        world.ask(PAGE, first_page(purpose="compare"))
        await world.run()

    asyncio.run(walk())

    assert world.state is not None
    assert world.state.state == "done"
    progress = world.state.progress
    last = [asked for asked in world.compared if asked.page >= progress.first_page]
    assert {asked.first_page for asked in last} == {progress.first_page}
    assert world.stable <= {int(one.source_id) for asked in last for one in asked.records}
    pages = {asked.page for asked in last}
    assert pages == set(range(progress.first_page, progress.last_page + 1))
    assert world.desired == {}


@settings(max_examples=40, deadline=None)
@given(
    asked=st.sets(st.integers(1, 300), min_size=1, max_size=250),
    lives=st.lists(st.integers(0, 12), max_size=8),
    troubles=st.integers(0, 6),
    seed=st.integers(0, 10_000),
)
def test_a_drift_check_covers_its_ids_and_leaves_nothing_behind(
    asked: set[int], lives: list[int], troubles: int, seed: int
) -> None:
    """Nobody follows it: who asked for it learns from the comparisons that all was looked at."""
    world = World(200, lives, seed)
    world.troubles = troubles
    ids = tuple(map(str, sorted(asked)))

    async def walk() -> None:
        world.ask(PAGE, first_page(ids=ids, purpose="drift", unfollowed=True, urgent=True))
        await world.run()

    asyncio.run(walk())

    covered = {one.source_id for part in world.compared for one in part.records}
    assert covered | {one.source_id for part in world.compared for one in part.unmapped} == set(ids)
    assert all(part.drift and part.urgent for part in world.compared)
    assert (world.kept.get(KEY), world.desired) == (None, {})
    asked_again = [message for message in world.requests if SyncPage.decode(message.value).page > 1]
    assert {message.queue for message in asked_again} <= {b"acme/urgent"}


async def test_a_drift_check_that_fails_says_so_of_each_id() -> None:
    world = World(0, [], 1)
    page = SyncPage(
        job_id=JOB, flow=COMPANY, entity="deal", at_ms=NOW_MS, ids=("5", "7"), purpose="drift", unfollowed=True
    )
    world.ask(PAGE, page.encode())

    await world.run()

    [told] = world.compared
    assert [(one.source_id, one.reason) for one in told.unmapped] == [
        (number, "the flow does not map deals") for number in ("5", "7")
    ]
    assert world.kept == {}


@given(objects=st.integers(0, 30), seed=st.integers(0, 100))
@settings(max_examples=25, deadline=None)
def test_requests_that_come_twice_are_done_once(objects: int, seed: int) -> None:
    world = World(objects, [], seed)

    async def walk() -> None:
        for _ in range(3):
            world.ask(PAGE, first_page())
        await world.run()
        for message in list(world.requests):
            world.ask(message.headers[h.KIND], message.value)
        await world.run()

    asyncio.run(walk())

    assert set(world.desired.values()) <= {1}
    assert world.state is not None
    assert world.state.progress.read == len(world.desired)


async def test_pages_of_a_company_are_read_one_at_a_time() -> None:
    """Also where one waits with what was put aside, and another one has just been asked for."""
    world = World(7, [], 1)
    for _ in range(4):
        world.ask(PAGE, first_page())

    await world.at_once()

    assert world.paths == ["/api/v2/organizations"]
    assert [SyncPage.decode(message.value).page for message in world.requests] == [1, 1, 1, 1, 2]


def test_field_that_no_definition_has_is_asked_for_once_in_a_walk() -> None:
    """Each of its pages comes by it."""
    world = World(20, [], 1, custom=True)

    async def walk() -> None:
        world.ask(PAGE, first_page())
        await world.run()

    asyncio.run(walk())

    assert world.state is not None
    assert (world.state.state, len(world.desired)) == ("done", world.state.progress.desired)
    assert world.paths.count("/api/v2/organizationFields") == 1
    assert world.paths.count("/api/v2/organizations") > 5


async def test_letter_of_an_object_can_be_replayed_under_a_better_mapping() -> None:
    cored = Cored(now_ms=NOW_MS)
    cored.apply(flow("data.name"), version=1)
    request = Message("pipedrive.requests", 0, 7, COMPANY.encode(), first_page(), {h.KIND: PAGE})
    page = SyncPage.decode(request.value)
    listed = Listed(b'{"id":5,"name":["a list"]}', Generation(NOW_MS - 5_000))
    plan = cored.core.plan(COMPANY)
    assert plan is not None

    outputs = await resolve(cored.core, plan, page, request, Reading([listed], NOW_MS, NOW_MS))
    letter = next(output for output in outputs.first if output.topic is topics.DEAD_LETTERS)
    cored.apply(flow("'a name'"), version=2)
    given = {**letter.headers, h.CAUSE: b"rpl:j:0", h.REVISION: b"%d" % NOW_MS, h.LANE: b"replay"}
    replayed = cored.core.event(Message("pipedrive.events", 0, 1, COMPANY.encode(), letter.value or b"", given))

    assert (letter.key, outputs.faults.total(), outputs.desired) == (f"syn:{JOB}:organization:5".encode(), 1, 0)
    assert isinstance(replayed, list)
    desired = next(Desired.decode(output.value or b"") for output in replayed if output.topic is topics.DESIRED)
    assert (desired.fields, desired.source_id) == ({"companyName": "a name"}, "5")


async def test_rows_that_are_no_objects_are_counted_and_the_others_go_on() -> None:
    cored = Cored(now_ms=NOW_MS)
    cored.apply(flow("data.name"), version=1)
    request = Message("pipedrive.requests", 0, 7, COMPANY.encode(), first_page(), {h.KIND: PAGE})
    bodies = [b"null", b"[]", b'{"id":true}', b'{"id":-3}', b'{"id":' + b"9" * 5_000 + b"}", b"\xff", b"[" * 100_000]
    listed = [Listed(body, Generation(NOW_MS - 5_000)) for body in [*bodies, b'{"id":5,"name":"a"}']]
    plan = cored.core.plan(COMPANY)
    assert plan is not None

    outputs = await resolve(cored.core, plan, SyncPage.decode(request.value), request, Reading(listed, NOW_MS, NOW_MS))

    assert (outputs.desired, outputs.faults.total()) == (1, len(bodies))
    assert [output.topic for output in outputs.first] == [topics.DESIRED]


async def compared(bodies: Sequence[bytes], *, name: str = "data.name") -> list[Compare]:
    """What the account's owner is asked about one page."""
    cored = Cored(now_ms=NOW_MS)
    cored.apply(flow(name), version=1)
    request = Message("pipedrive.requests", 0, 7, COMPANY.encode(), first_page(purpose="compare"), {h.KIND: PAGE})
    plan = cored.core.plan(COMPANY)
    assert plan is not None
    listed = [Listed(body, Generation(NOW_MS - 5_000)) for body in bodies]
    listed.append(Listed(b"", Generation(NOW_MS - 5_000), "77"))
    page = SyncPage.decode(request.value)

    outputs = await resolve(cored.core, plan, page, request, Reading(listed, NOW_MS, NOW_MS))

    assert outputs.audit == []
    assert {(output.topic, output.key, output.headers[h.KIND]) for output in outputs.first} == {
        (topics.NETSUITE_REQUESTS, b"1234567_SB1", COMPARE)
    }
    asked = [Compare.decode(output.value or b"") for output in outputs.first]
    assert outputs.desired == sum(len(one.records) for one in asked)
    assert outputs.faults.total() == sum(len(one.unmapped) for one in asked)
    return asked


async def test_a_page_to_be_compared_covers_all_its_objects() -> None:
    [asked] = await compared(
        [b'{"id":5,"name":"a"}', b'{"id":6,"name":["a list"]}', b'{"id":7,"is_deleted":true}', b"[]"]
    )

    gen = Generation(NOW_MS - 5_000)
    assert asked.records == (
        Expected("5", "customer", "pd-org-5", gen, "upsert", fields={"companyName": "a"}),
        Expected("7", "customer", "pd-org-7", gen, "gone"),
        Expected("77", "customer", "pd-org-77", gen, "gone"),
    )
    assert [one.source_id for one in asked.unmapped] == ["6", ""]
    assert "companyName" in asked.unmapped[0].reason
    assert (asked.job_id, asked.entity, asked.page, asked.part, asked.parts) == (JOB, "organization", 1, 1, 1)


async def test_a_page_is_asked_about_in_parts_that_stay_small() -> None:
    long = [json.dumps({"id": number, "name": "n" * 30_000}).encode() for number in range(1, 101)]
    too_long = json.dumps({"id": 500, "name": "n" * (MOST_BYTES + 1)}).encode()
    many = [json.dumps({"id": number, "name": "n"}).encode() for number in range(1, MOST_RECORDS + 1)]

    parts = await compared([*long, too_long])
    by_number = await compared(many)

    assert [(one.part, one.parts) for one in parts] == [(1, 3), (2, 3), (3, 3)]
    assert {one.source_id for part in parts for one in part.records} == {*map(str, range(1, 101)), "77"}
    assert max(len(part.encode()) for part in parts) < MOST_BYTES + 100_000
    assert [(type(one), one.source_id) for part in parts for one in part.unmapped] == [(Unmapped, "500")]
    assert [len(one.records) for one in by_number] == [MOST_RECORDS, 1]
