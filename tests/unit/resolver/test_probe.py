"""What a client tells of its company, and when a stopped company is asked though nobody waits for it."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from ml_connector.common.clock import ManualClock
from ml_connector.common.credentials import ApiToken
from ml_connector.common.directory import LiveFlow
from ml_connector.common.errors import SecretUnreadable, TryLater
from ml_connector.common.flows import PipedriveLimits, parse_flow
from ml_connector.resolver.pipedrive.breaker import Breaker
from ml_connector.resolver.pipedrive.budget import Budget
from ml_connector.resolver.pipedrive.client import PipedriveClient
from ml_connector.resolver.pipedrive.grant import REVOKED, ClientRefused, GrantRevoked
from ml_connector.resolver.pipedrive.login import TokenLogin
from ml_connector.resolver.plan import FlowPlan, compile_flow
from ml_connector.resolver.probe import Prober
from ml_connector.resolver.standings import CompanyStanding
from support.state_topic import StateTopic

REFUSED = "Pipedrive does not accept the credential"
LIVE = LiveFlow(
    parse_flow(
        {
            "flow": "acme-eu", "environment": "sandbox", "pipedrive": {"company": "acme"},
            "netsuite": {"account": "1234567_SB1"}, "external_ids": "pd",
            "entities": {"organization": {"record": "customer", "fields": {"companyName": "data.name"}}},
        }
    ),
    1,
    paused=False,
)  # fmt: skip


class Acme:
    """A company that answers `status`; its credential has a version."""

    def __init__(self) -> None:
        self.status = 200
        self.trouble: Exception | None = None
        self.versions_now = (1,)
        self.asked = 0
        self.topic = StateTopic()
        self.clock = ManualClock()
        self.standing: CompanyStanding = self.topic.standing("acme", self.clock)
        self.prober = Prober(
            self._flows, lambda _: compile_flow(LIVE.flow, 1), self, lambda _: self.standing, self.clock
        )
        self.prober.own(lambda company: company == "acme")

    def over(self, http: httpx2.AsyncClient) -> Acme:
        self.made = PipedriveClient(
            http, TokenLogin("https://acme.pipedrive.test", self._open),
            breaker=Breaker(first_s=5, longest_s=300, chance=random.Random(1)), budget=Budget(),
            limits=PipedriveLimits(), standing=self.standing, clock=self.clock,
        )  # fmt: skip
        return self

    def answer(self, _: httpx2.Request) -> httpx2.Response:
        self.asked += 1
        return httpx2.Response(self.status, json={"success": self.status == 200, "data": {"id": 1}})

    def _open(self) -> ApiToken:
        if self.trouble is not None:
            raise self.trouble
        return ApiToken(token="t")

    def _flows(self) -> Iterator[LiveFlow]:
        return iter([LIVE])

    def client(self, plan: FlowPlan) -> PipedriveClient:
        assert plan.company == "acme"
        return self.made

    def versions(self, plan: FlowPlan) -> tuple[int, ...]:
        return self.versions_now

    async def read(self) -> None:
        """After the breaker's pause."""
        self.clock.advance(400)
        with suppress(TryLater):
            await self.made.read("organization", "1")

    @property
    def told(self) -> list[str | None]:
        return self.topic.told("acme")


@pytest_asyncio.fixture
async def acme() -> AsyncIterator[Acme]:
    one = Acme()
    async with httpx2.AsyncClient(transport=httpx2.MockTransport(one.answer)) as http:
        yield one.over(http)


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        (GrantRevoked(REVOKED), REVOKED),
        (ClientRefused("the client is not accepted"), "the client is not accepted"),
        (SecretUnreadable("api-token: not set"), "api-token: not set"),
    ],
)
async def test_what_only_a_person_can_mend_is_told_until_it_is_mended(acme: Acme, trouble: Any, told: str) -> None:
    acme.trouble = trouble
    for _ in range(3):
        await acme.read()
    acme.trouble = None
    for _ in range(3):
        await acme.read()

    assert acme.told == [told, None]


@pytest.mark.parametrize("status", [200, 404])
async def test_refused_credential_is_told_until_anything_is_found_or_not(acme: Acme, status: int) -> None:
    acme.status = 401
    for _ in range(3):
        await acme.read()
    acme.status = status
    await acme.read()

    assert acme.told == [REFUSED, None]


@pytest.mark.parametrize("status", [403, 429, 500, 301])
async def test_what_may_pass_by_itself_changes_nothing(acme: Acme, status: int) -> None:
    acme.status = status
    await acme.read()
    assert acme.told == []

    await acme.standing.stopped(REFUSED)
    await acme.read()
    assert acme.told == [REFUSED]


async def test_doctor_tells_it_too(acme: Acme) -> None:
    acme.trouble = GrantRevoked(REVOKED)
    with pytest.raises(GrantRevoked):
        await acme.made.log_in()
    assert acme.told == [REVOKED]

    acme.trouble = None
    await acme.made.look("/api/v1/users/me", tokens=20)
    assert acme.told == [REVOKED, None]


async def test_company_that_works_is_not_probed(acme: Acme) -> None:
    for _ in range(3):
        await acme.prober.look()

    assert acme.asked == 0


async def test_stopped_company_is_probed_once_for_each_credential(acme: Acme) -> None:
    acme.status = 401
    await acme.read()
    already = acme.asked
    for _ in range(5):
        acme.clock.advance(100)
        await acme.prober.look()
    assert acme.asked == already + 1

    acme.status, acme.versions_now = 200, (2,)
    await acme.prober.look()

    assert (acme.asked, acme.told) == (already + 2, [REFUSED, None])


async def test_credential_replaced_while_nobody_owned_the_company_is_probed_after_the_assignment(acme: Acme) -> None:
    acme.status = 401
    await acme.read()
    await acme.prober.look()
    acme.prober.own(lambda _: False)
    acme.status = 200
    await acme.prober.look()
    assert acme.told == [REFUSED]

    acme.prober.own(lambda _: True)
    await acme.prober.look()

    assert acme.told == [REFUSED, None]


async def test_probe_that_was_not_answered_comes_again_later(acme: Acme) -> None:
    await acme.standing.stopped(REFUSED)
    acme.trouble = httpx2.ConnectError("down")
    await acme.prober.look()
    acme.trouble = None
    await acme.prober.look()
    assert acme.told == [REFUSED]

    acme.clock.advance(60)
    await acme.prober.look()

    assert acme.told == [REFUSED, None]
