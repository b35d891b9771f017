"""What was put aside for a dead company, over five simulated hours: nothing is lost, nobody else waits.

The resolver's own parts on a real broker and a clock that the test moves; only Faust is left out.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import httpx2
import pytest
import pytest_asyncio

from ml_connector.cli.reading import newest_by_key
from ml_connector.cli.stack import ACCOUNT
from ml_connector.common import headers as h
from ml_connector.common import topics
from ml_connector.common.clock import ManualClock, SystemClock
from ml_connector.common.credentials import ApiToken
from ml_connector.common.directory import LiveFlow
from ml_connector.common.flows import Flow, PipedriveLimits, parse_flow
from ml_connector.common.kafka.admin import TopicSpec, end_offsets, ensure_topics
from ml_connector.common.kafka.producer import Producer
from ml_connector.common.wire import Desired
from ml_connector.resolver import emit
from ml_connector.resolver.companions import Companion, Patience
from ml_connector.resolver.core import Core
from ml_connector.resolver.message import Defer, Message
from ml_connector.resolver.pipedrive.breaker import Breaker
from ml_connector.resolver.pipedrive.budget import Budget
from ml_connector.resolver.pipedrive.client import PipedriveClient
from ml_connector.resolver.pipedrive.login import TokenLogin
from ml_connector.resolver.plan import FlowPlan
from ml_connector.resolver.refresh import Refresher
from ml_connector.resolver.resolve import Book
from ml_connector.resolver.send import Sender
from ml_connector.sandbox import broker as brokers
from support.pipedrive_standin import PipedriveProcess
from support.resolving import event
from support.state_topic import StateTopic
from support.writing import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

EVENTS, RECORDS = 20_000, 100
STEP_S, HOURS = 120, 5
RENEW_S = 3600.0
DEAD_PORT = "http://127.0.0.1:9"
START = datetime(2026, 11, 20, tzinfo=UTC)


@pytest.fixture(scope="module")
def kafka() -> Iterator[dict[str, str]]:
    with brokers.start() as one:
        found = {"bootstrap.servers": one.bootstrap_servers}
        specs = [TopicSpec(topic.name, 1, dict(topic.config)) for topic in topics.ALL]
        ensure_topics(found, specs, replication_factor=1)
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def half(kafka: dict[str, str]) -> AsyncIterator[HalfResolver]:
    with PipedriveProcess() as pipedrive:
        async with httpx2.AsyncClient(timeout=5) as http:
            producer = Producer(kafka)
            producer.start()
            yield HalfResolver(kafka, producer, http, pipedrive)
            await producer.close()


class HalfResolver:
    """Everything behind `pipedrive.deferred`. Companies: "dead", until it is revived, and "well"."""

    def __init__(
        self, kafka: dict[str, str], producer: Producer, http: httpx2.AsyncClient, pipedrive: PipedriveProcess
    ) -> None:
        self.kafka = kafka
        self.clock = ManualClock(int(START.timestamp() * 1000) + 86_400_000)
        self._producer = producer
        self._http = http
        self._urls = {"dead": DEAD_PORT, "well": pipedrive.url}
        self._living = pipedrive.url
        for company in self._urls:
            pipedrive.company(company)
        self._clients: dict[str, PipedriveClient] = {}
        book = Book(lambda _: None)
        core = Core(self, book, self.clock)
        # The system's clock for the broker: the simulated one only moves when the test says so.
        self._sender = Sender(producer, SystemClock(), prefix="", partitions=1)
        self._refresher = Refresher(core, book, self, self._sender.send, self.clock, reread_s=60)

    def flow(self, name: str) -> LiveFlow:
        document = {
            "flow": name, "environment": "sandbox", "pipedrive": {"company": name}, "external_ids": name,
            "netsuite": {"account": ACCOUNT},
            "entities": {"organization": {"record": "customer", "fields": {"companyName": 'custom["Tier"]'}}},
        }  # fmt: skip
        return LiveFlow(parse_flow(document), 1, False)

    def version(self, name: str, version: int) -> Flow | None:
        return None

    def client(self, plan: FlowPlan) -> PipedriveClient:
        name = plan.company
        if name not in self._clients:
            self._clients[name] = PipedriveClient(
                self._http,
                TokenLogin(self._urls[name], lambda: ApiToken(token=f"token-of-{name}")),
                breaker=Breaker(first_s=5, longest_s=300, chance=random.Random(1)),
                budget=Budget(),
                limits=PipedriveLimits(burst=1000),
                standing=StateTopic().standing(name, self.clock),
                clock=self.clock,
            )
        return self._clients[name]

    def revive(self) -> None:
        self._urls["dead"] = self._living
        self._clients.clear()

    async def defer(self, company: str, bodies: list[bytes]) -> None:
        headers = {
            h.FLOW: company, h.COMPANY: company, h.ACCOUNT: ACCOUNT, h.RECEIVED_AT_MS: str(self.clock.now_ms()),
            h.KIND: "event", h.DUE_AT_MS: str(self.clock.now_ms()),
        }  # fmt: skip
        given = {name: value.encode() for name, value in headers.items()}
        sent = [
            self._producer.send_nowait(topics.DEFERRED.name, key=company.encode(), value=body, headers=given)
            for body in bodies
        ]
        await asyncio.gather(*sent)

    async def handle(self, message: Message) -> Defer | None:
        found = await self._refresher.event(message)
        if isinstance(found, Defer):
            return found
        await self._sender.send(found)
        return None

    async def renew(self, messages: list[Message]) -> None:
        await self._sender.send([emit.renewed(message) for message in messages])

    @contextlib.asynccontextmanager
    async def companion(self) -> AsyncIterator[Companion]:
        """A process's life, from its assignment to SIGTERM."""
        one = Companion(
            self.kafka, topic=topics.DEFERRED.name, group="companions", handle=self.handle, renew=self.renew,
            clock=self.clock, patience=Patience(usual_wait_s=300, renew_s=RENEW_S, held_bytes=1024 * 1024),
        )  # fmt: skip
        one.start()
        running = asyncio.create_task(one.run())
        await one.own(frozenset({0}))
        try:
            yield one
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await one.close()

    async def desired(self) -> list[Desired]:
        found = await asyncio.to_thread(newest_by_key, self.kafka, topics.DESIRED.name)
        return [Desired.decode(value) for value in found.values()]

    async def causes(self, company: str) -> set[str]:
        return {one.cause for one in await self.desired() if one.flow == company}

    async def pass_time(self, seconds: float, *, waiting: int) -> None:
        """In steps, each until the dead company sleeps again."""
        for _ in range(int(seconds / STEP_S)):
            self.clock.advance(STEP_S)
            await until(lambda: _is(self.clock.sleepers == waiting), within_s=60, every_s=0.005)


async def _is(value: bool) -> bool:
    return value


@pytest.mark.timeout(240)
async def test_dead_company_for_five_hours(half: HalfResolver) -> None:
    bodies = [
        event(str(number), source_id=1 + number % RECORDS, at=(START + timedelta(seconds=number)).isoformat())
        for number in range(EVENTS)
    ]
    await half.defer("dead", bodies)
    told = 0

    async def neighbour_is_served() -> None:
        nonlocal told
        told += 1
        await half.defer("well", [event(f"well-{told}")])
        await until(lambda: _served(half, told))

    async with half.companion() as one:
        await until(lambda: _is(one.waiting == EVENTS))
        await half.pass_time(3600, waiting=1)
        await neighbour_is_served()
        await one.own(frozenset())
        await one.own(frozenset({0}))
        await until(lambda: _is(one.waiting == EVENTS))
        await half.pass_time(3600, waiting=1)
        await neighbour_is_served()
    async with half.companion() as one:
        await until(lambda: _is(one.waiting == EVENTS))
        for _ in range(HOURS - 2):
            await half.pass_time(3600, waiting=1)
            await neighbour_is_served()
        assert await half.causes("dead") == set()

        half.revive()
        half.clock.advance(300)
        await until(lambda: _is(one.waiting == 0), within_s=90)

    assert await half.causes("dead") == {f"1:{number}" for number in range(EVENTS)}
    newest = {one.source_id: one for one in sorted(await half.desired(), key=lambda one: one.generation)}
    assert {newest[str(1 + number % RECORDS)].cause for number in range(RECORDS)} == {
        f"1:{number}" for number in range(EVENTS - RECORDS, EVENTS)
    }
    appended = end_offsets(half.kafka, topics.DEFERRED.name, [0])[0]
    assert appended <= EVENTS * (1 + HOURS) + told


async def _served(half: HalfResolver, told: int) -> bool:
    return {f"1:well-{number}" for number in range(1, told + 1)} <= await half.causes("well")
