"""Pipedrive's limits, and a thousand companies of which some are dead, slow or failing; the stand-in's log judges."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator

import httpx2
import pytest
import pytest_asyncio

from ml_connector.common import topics
from ml_connector.common.wire import Hydrate
from support.resolving import Resolving, event, token_of
from support.writing import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

FIELDS = {"companyName": "data.name", "comments": 'custom["Tier"]'}
COMPANIES = 1000
SLOW_S = 45.0  # their answers; a busy machine needs half of it for the others
SICK = {"dead": 100, "slow": 100, "failing": 100}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def resolving() -> AsyncIterator[Resolving]:
    async with Resolving(MLC_PROBE_FIRST_S="1", MLC_PROBE_LONGEST_S="4", MLC_DEFERRED_S="2") as one:
        yield one


class Acme:
    """A company on the smallest plan, with organizations that can be hydrated."""

    def __init__(self, resolving: Resolving) -> None:
        self.resolving = resolving
        self.name = f"acme-{uuid.uuid4().hex[:8]}"

    async def founded(self, organizations: int, **pipedrive: object) -> list[str]:
        """Ids of its organizations."""
        await self.resolving.company(self.name)
        await self.resolving.sandbox(
            "POST", f"companies/{self.name}/objects", {"organizations": organizations, "persons": 0, "deals": 0}
        )
        await self.resolving.company(self.name, plan="lite")
        flow = self.resolving.flow(self.name, {"companyName": "data.name"}, **pipedrive)
        self.resolving.flows([{**flow, "schedule": {"sync": "0 0 1 1 *"}}])
        return [str(number) for number in range(1, organizations + 1)]

    def hydrate(self, ids: list[str]) -> set[str]:
        """Ask for these; the causes of the answers."""
        for number in ids:
            request = Hydrate(
                request_id=f"{self.name}-{number}", flow=self.name, entity="organization", source_id=number,
                lane="live", reason="a test", at_ms=int(time.time() * 1000),
            )  # fmt: skip
            self.resolving.ask(request, company=self.name)
        return {f"hyd:{self.name}-{number}" for number in ids}

    async def answered(self, causes: set[str], *, within_s: float = 40) -> None:
        async def all_are() -> bool:
            return causes <= set(await self.resolving.desired())

        await until(all_are, within_s=within_s)

    async def statuses(self) -> Counter[int]:
        lines = await self.resolving.asked(self.name)
        return Counter(line["status"] for line in lines if line["path"].startswith("/api/v2/organizations/"))

    async def somebody_else(self, requests: int, *, until: int | None = None) -> None:
        """Another integration with the same token. It asks so often, or until it gets this status."""
        url = f"{self.resolving.stack.urls['pipedrive']}/api/v2/organizations/1"
        async with httpx2.AsyncClient(headers={"x-api-token": token_of(self.name)}) as http:
            for _ in range(requests):
                if (await http.get(url)).status_code == until:
                    return


async def test_burst_window_is_never_overrun(resolving: Resolving) -> None:
    """The smallest plan grants 20 requests in any 2 seconds."""
    acme = Acme(resolving)
    ids = await acme.founded(90)

    await acme.answered(acme.hydrate(ids))

    assert await acme.statuses() == {200: 90}


async def test_after_others_took_the_window_it_waits_and_goes_on(resolving: Resolving) -> None:
    acme = Acme(resolving)
    ids = await acme.founded(10)
    await acme.somebody_else(25)
    already = await acme.statuses()

    await acme.answered(acme.hydrate(ids))

    found = await acme.statuses()
    assert found[200] - already[200] == 10
    assert found[429] - already[429] <= 8, "what was under way together may meet the same wall, and no more"
    assert found[403] == 0


async def test_tokens_of_the_day_are_not_overspent(resolving: Resolving) -> None:
    acme = Acme(resolving)
    terms = {"limits": {"daily_tokens": 100, "reserve": 0.5}, "events": "none"}  # its webhooks are not looked at
    ids = await acme.founded(60, **terms)

    causes = acme.hydrate(ids)

    async def spent() -> bool:
        return (await acme.statuses())[200] == 50

    await until(spent)
    acme.hydrate(["1"])

    async def put_aside() -> bool:
        parked = [record for record in await resolving.read(topics.DEFERRED) if record.key == acme.name.encode()]
        return len(parked) >= 10

    await until(put_aside)
    assert await acme.statuses() == {200: 50}
    assert len(causes & set(await resolving.desired())) == 50


async def test_banned_company_is_asked_once(resolving: Resolving) -> None:
    """Hammering turns 429 into Cloudflare's 403; whoever goes on asking stays banned."""
    acme = Acme(resolving)
    ids = await acme.founded(5)
    await acme.somebody_else(2_000, until=403)
    already = await acme.statuses()

    acme.hydrate(ids)

    async def put_aside() -> bool:
        parked = [record for record in await resolving.read(topics.DEFERRED) if record.key == acme.name.encode()]
        return len(parked) >= len(ids)

    await until(put_aside)
    found = await acme.statuses()
    assert found[403] - already[403] == 1
    assert found[429] == already[429]


@pytest.mark.timeout(180)
async def test_sick_companies_delay_no_other_and_lose_nothing(resolving: Resolving) -> None:
    """Each company's first event needs its definitions, so that each has to be asked."""
    sick = {f"{kind}-{number}": kind for kind, count in SICK.items() for number in range(count)}
    healthy = [f"well-{number}" for number in range(COMPANIES - len(sick))]
    for name in [*sick, *healthy]:
        await resolving.company(name)
    for name, kind in sick.items():
        if kind == "slow":
            await resolving.sandbox("POST", "faults", {"company": name, "delay_s": SLOW_S})
        if kind == "failing":
            await resolving.sandbox("POST", "faults", {"company": name, "status": 500})
    dead = {"base_url": "http://127.0.0.1:9"}
    resolving.flows(resolving.flow(name, FIELDS, **(dead if sick.get(name) == "dead" else {})) for name in sick)
    resolving.flows(resolving.flow(name, FIELDS) for name in healthy)

    for name in sick:
        resolving.take([event(f"{name}-{number}") for number in range(3)], flow=name, company=name)
    for name in healthy:
        resolving.take([event(f"{name}-{number}") for number in range(3)], flow=name, company=name)
    sent_s = time.monotonic()
    expected = {f"1:{name}-{number}" for name in healthy for number in range(3)}

    async def most_are_there() -> bool:
        return len(expected & set(await resolving.desired())) >= 0.95 * len(expected)

    await until(most_are_there, within_s=SLOW_S - 1)
    assert time.monotonic() - sent_s < SLOW_S, "the slow ones have not answered yet"
    assert not {f"1:{name}-0" for name in sick} & set(await resolving.desired())

    await resolving.sandbox("DELETE", "faults")
    resolving.flows((resolving.flow(name, FIELDS) for name, kind in sick.items() if kind == "dead"), version=2)
    await resolving.resolved([f"{name}-{number}" for name in [*sick, *healthy] for number in range(3)], within_s=90)
    deferrals = Counter((record.key or b"").decode() for record in await resolving.read(topics.DEFERRED))
    assert {deferrals[name] for name in sick} == {3}, "each event was put aside once, however often it was tried"
