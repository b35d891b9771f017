"""As many requests in flight as NetSuite grants and leaves free, and not one more; in the form that the account takes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count

import pytest

from ml_connector.common.keys import external_id
from support.own_account import Line, OwnAccount, sort_of
from support.steering import beside, opened, record, records, stats
from support.writing import Writing, until

pytestmark = pytest.mark.asyncio(loop_scope="session")
FEW = 19  # too few for a batch: single calls (MLC_BATCH_FROM)


@asynccontextmanager
async def slow(writing: Writing, ms: float) -> AsyncIterator[None]:
    await writing.latency(ms)
    try:
        yield
    finally:
        await writing.latency(0)


def writes(log: list[Line]) -> list[Line]:
    return [line for line in log if sort_of(line) == "write"]


@pytest.mark.parametrize(
    ("name", "granted", "reserve", "used"),
    [
        pytest.param("3500001", {}, 0, 8, id="account limit"),
        pytest.param("3500002", {"integration_limit": 3}, 0, 3, id="integration specific"),
        pytest.param("3500003", {}, 2, 6, id="with a reserve"),
        pytest.param("3500004", {"integration_limit": 3}, 2, 1, id="integration specific, with a reserve"),
    ],
)
async def test_the_limit_is_read_from_netsuite(
    writing: Writing, name: str, granted: dict[str, int], reserve: int, used: int
) -> None:
    limits = {"concurrency": "auto", "reserve": reserve}
    own = await opened(writing, name, slots=8, facts=granted, netsuite=limits)

    async with slow(writing, 50):
        await own.emit_together(*own.states_of("organization", range(1, FEW + 1)))
        await own.outcomes()

    found = await stats(own)
    assert (await own.log())[0]["path"].endswith("/governanceLimits")
    assert (found["peak_in_flight"], found["refused_for_concurrency"]) == (used, 0)
    assert await own.judged(slots=used) == []


async def test_a_limit_that_may_not_be_read_is_what_every_account_grants(writing: Writing) -> None:
    """Administrators only (Oracle article_0625010817)."""
    own = await opened(writing, "3500005", slots=8, netsuite={"concurrency": "auto"})
    await own.fault("insufficient_permission", match={"path": "governanceLimits"})

    async with slow(writing, 50):
        await own.emit_together(*own.states_of("organization", range(1, FEW + 1)))
        await own.outcomes()

    assert (await stats(own))["peak_in_flight"] == 5


async def test_the_least_limit_of_several_flows_holds_for_all(writing: Writing) -> None:
    own = await opened(writing, "3500006", slots=8, netsuite={"concurrency": 6})
    await own.emit(own.state("organization", 1))
    await own.outcomes()
    other = await beside(own, "flow-3500006-us", prefix="us", netsuite={"concurrency": 3})
    eu = own.states_of("organization", range(2, 11))
    us = [
        other.state("organization", number, external_id=external_id("us", "organization", str(number)))
        for number in range(2, 11)
    ]
    proof = other.state("organization", 1, external_id="us-org-1")
    await other.emit(proof)
    await other.settled(proof)

    async with slow(writing, 50):
        await asyncio.gather(own.emit(*eu), other.emit(*us))
        await own.outcomes(*eu, *us)

    found = await stats(own)
    assert (found["peak_in_flight"], found["refused_for_concurrency"]) == (3, 0)


async def test_a_pause_that_netsuite_asks_for_is_kept(writing: Writing) -> None:
    own = await opened(writing, "3500021", slots=2, facts={"others_in_flight": 2, "retry_after_s": 2})
    states = own.states_of("organization", range(1, 4))

    await own.emit(*states)

    async def refused() -> list[Line]:
        return [line for line in await own.log() if line["status"] == 429]

    async def is_refused() -> bool:
        return bool(await refused())

    await until(is_refused)
    await own.switch(others_in_flight=0)
    await own.outcomes(*states)

    began_ms = min(line["start_ms"] for line in await own.log() if line["status"] == 204)
    assert began_ms - max(line["end_ms"] for line in await refused()) >= 2000


async def test_two_flows_of_one_account_get_their_turns_alike(writing: Writing) -> None:
    own = await opened(writing, "3500007", slots=2)
    other = await beside(own, "flow-3500007-us", prefix="us")
    proof = other.state("organization", 99, external_id="us-org-99")
    await other.emit(proof)
    await other.settled(proof)

    async with slow(writing, 30):
        eu = own.states_of("organization", range(1, 15))
        us = [
            other.state("organization", number, external_id=external_id("us", "organization", str(number)))
            for number in range(1, 5)
        ]
        await own.emit_together(*eu[:2])
        await own.emit(*eu[2:])
        await other.emit(*us)
        await own.outcomes(*eu, *us)

    order = [line["external_id"] for line in writes(await own.log())]
    last_of_us = max(order.index(state.external_id) for state in us)
    assert last_of_us < len(order) - 4  # they did not wait behind all of the other flow


async def test_slots_that_others_take_are_left_to_them_and_found_again_when_freed(writing: Writing) -> None:
    own = await OwnAccount.open(writing, "3500008")
    numbers = count(1)

    async def keep_going() -> None:
        while True:
            await own.emit(*(own.state("organization", next(numbers)) for _ in range(10)))
            await own.outcomes(*own.states[-10:])

    async def so_many_at_once(least: int, *, after_seq: int) -> bool:
        return any(line["in_flight_at_start"] >= least - 1 for line in await own.log() if line["seq"] > after_seq)

    async with slow(writing, 40):
        going = asyncio.create_task(keep_going())
        try:
            await until(lambda: so_many_at_once(5, after_seq=0))
            await own.switch(others_in_flight=3)
            taken = (await own.log())[-1]["seq"]

            async def went_on() -> bool:
                return len([line for line in await own.log() if line["seq"] > taken and line["status"] == 204]) >= 60

            await until(went_on)
            refused = (await stats(own))["refused_for_concurrency"]
            await own.switch(others_in_flight=0)
            freed = (await own.log())[-1]["seq"]
            await until(lambda: so_many_at_once(5, after_seq=freed), within_s=12)  # PROBE_LONGEST_S, and what it needs
        finally:
            going.cancel()
            await asyncio.gather(going, return_exceptions=True)
        await own.outcomes()

    assert 1 <= refused <= 8  # one crowd, then a probe now and then
    assert await own.dead_letters() == []


# -- an account that does not take PUT for opportunities ---------------------------------------------------------------

NO_PUT = {"opportunity_upsert": False}


async def test_looked_up_opportunities_are_created_once_and_then_changed(writing: Writing) -> None:
    own = await opened(writing, "3500010", facts=NO_PUT, netsuite={"opportunities": "look-up"})
    await own.emit(own.state("organization", 1), own.state("deal", 1, of=1))
    await own.outcomes()

    await own.emit(own.state("deal", 1, version=2, of=1))
    await own.outcomes()

    log = [line for line in await own.log() if line["record_type"] == "opportunity"]
    assert [(line["method"], line["status"]) for line in log] == [("GET", 404), ("POST", 204), ("PATCH", 204)]
    assert (await record(own, "opportunity", "pd-deal-1"))["title"].endswith("v2")
    assert await own.judged() == []


async def test_creates_whose_answers_were_lost_make_no_second_ones(writing: Writing) -> None:
    own = await opened(writing, "3500011", facts=NO_PUT, netsuite={"opportunities": "look-up"})
    await own.emit(own.state("organization", 1))
    await own.outcomes()

    for number, fault in enumerate(("lost_answer", "error_after_commit", "reset"), start=1):
        await own.fault(fault, match={"method": "POST", "path": "/opportunity$"})
        deal = own.state("deal", number, of=1)
        await own.emit(deal)
        assert await own.settled(deal) == ["written"]

    assert [one["externalId"] for one in await records(own, "opportunity")] == ["pd-deal-1", "pd-deal-2", "pd-deal-3"]
    assert await own.judged() == []


async def test_a_create_that_lands_after_the_next_one_was_looked_up_makes_no_second_one(writing: Writing) -> None:
    own = await opened(writing, "3500014", facts=NO_PUT, netsuite={"opportunities": "look-up"})
    await own.emit(own.state("organization", 1))
    await own.outcomes()
    await own.fault("late_commit", match={"method": "POST", "path": "/opportunity$"}, delay_s=0.8)
    await own.fault("slow_body", match={"method": "GET", "path": "eid:pd-deal-1"}, count=2, delay_s=1.2)

    deal = own.state("deal", 1, of=1)
    await own.emit(deal)
    assert await own.settled(deal) == ["written"]

    log = [line for line in await own.log() if line["record_type"] == "opportunity"]
    assert [(line["method"], line["status"]) for line in log] == [
        ("GET", 404),
        ("POST", 0),
        ("GET", 404),
        ("POST", 400),  # "This entity already exists."
        ("GET", 200),
        ("PATCH", 204),
    ]
    assert len(await records(own, "opportunity")) == 1


async def test_many_looked_up_opportunities_go_in_no_batch(writing: Writing) -> None:
    own = await opened(writing, "3500015", facts=NO_PUT, netsuite={"opportunities": "look-up"})
    await own.emit(own.state("organization", 1))
    await own.outcomes()

    await own.emit(*own.states_of("deal", range(1, 41), of=1))
    assert set(await own.settled()) == {"written"}

    assert not [line for line in await own.log() if line["submitted"]]
    assert len(await records(own, "opportunity")) == 40


async def test_an_account_that_refuses_put_says_in_the_dead_letter_what_to_set(writing: Writing) -> None:
    own = await opened(writing, "3500016", facts=NO_PUT)
    customer, deal = own.state("organization", 1), own.state("deal", 1, of=1)

    await own.emit(customer, deal)
    assert await own.settled(customer, deal) == ["written", "dead_lettered"]

    (letter,) = await own.dead_letters()
    assert letter.code == "UPSERT_REFUSED"
    assert "netsuite.opportunities: look-up" in letter.message
