"""Many records travel together: the whole writer, a real broker, the stand-in's log as the judge.

Each test has an account of its own, so it begins as a writer does that has not measured anything yet.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from aiohttp import web

from ml_connector.netsuite_writer.call import SAME
from ml_connector.sandbox.server import Server
from ml_connector.sandbox.web import Reply, Request
from support.own_account import OwnAccount, newer, requests, sort_of, unchanged
from support.writing import Writing, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

SHORT = {"MLC_BATCH_FROM": "20", "MLC_BACKOFF_FIRST_S": "0.1", "MLC_BACKOFF_LONGEST_S": "1", "MLC_QUIET_S": "5"}
NO_ADDRESS = {"email": "no address"}  # NetSuite rejects it
UNSEEN = {"autoName": True}  # no column shows it, so a read-back proves nothing
_numbers = itertools.count(2_000_001)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def writing() -> AsyncIterator[Writing]:
    async with Writing(environment=SHORT) as started:
        yield started


async def opened(writing: Writing, **facts: Any) -> OwnAccount:
    return await OwnAccount.open(writing, str(next(_numbers)), **facts)


async def test_few_go_singly_and_a_deep_queue_in_a_batch(writing: Writing) -> None:
    own = await opened(writing)

    await own.emit_together(*own.states_of("organization", range(1, 20)))
    await own.settled()
    singly = requests(await own.log())
    await own.emit_together(*own.states_of("organization", range(20, 80)))
    outcomes = await own.settled()

    assert singly == {"write": 19}
    assert requests(await own.log()).keys() == {"write", "submit", "poll", "query"}
    assert len(await own.tasks()) >= 40  # the others got ready while they came in
    assert outcomes == ["written"] * 79
    assert await own.judged() == []


async def test_a_clear_batch_costs_a_submit_a_poll_or_few_and_one_query(writing: Writing) -> None:
    own = await opened(writing)

    await own.emit_together(*own.states_of("organization", range(1, 101)))
    await own.settled()

    found = requests(await own.log())
    assert 1 <= found.pop("poll") <= 5
    assert found == {"submit": 1, "query": 1}
    assert len(await own.tasks()) == 100
    assert await own.judged() == []


async def test_parents_are_there_before_their_children_are_sent(writing: Writing) -> None:
    """Persons and deals come first and go in batches, too, once enough of their organizations are written."""
    await writing.latency(100)
    own = await opened(writing, slots=2)
    ids = range(1, 61)
    persons = [own.state("person", number, of=number) for number in ids]
    deals = [own.state("deal", number, of=number) for number in ids]

    await own.emit_together(*persons, *deals, *own.states_of("organization", ids))
    outcomes = await own.settled()
    await writing.latency(0)

    submits = [line["record_type"] for line in await own.log() if sort_of(line) == "submit"]
    held = await own.held()
    assert submits[0] == "customer" and set(submits) > {"customer"}
    assert outcomes == ["written"] * 180
    assert held["pd-deal-7"]["entity"] == held["pd-person-7"]["company"] == "pd-org-7"
    assert await own.judged() == []


async def test_superseded_generations_do_not_travel(writing: Writing) -> None:
    own = await opened(writing)
    states = [own.states_of("organization", range(1, 31), version=version) for version in (1, 2, 3)]

    await own.emit_together(*states[0], *states[2], *states[1])

    assert await own.settled(*states[0], *states[1]) == ["superseded"] * 60
    assert await own.settled(*states[2]) == ["written"] * 30
    assert len(await own.tasks()) == 30
    assert await own.judged() == []


async def test_a_failing_record_settles_alone(writing: Writing) -> None:
    own = await opened(writing)
    states = own.states_of("organization", range(1, 41))
    states[12] = own.state("organization", 13, fields=NO_ADDRESS)

    await own.emit_together(*states)
    outcomes = await own.settled()

    (letter,) = await own.dead_letters()
    found = requests(await own.log())
    assert outcomes == ["written"] * 12 + ["dead_lettered"] + ["written"] * 27
    assert (letter.cause, letter.stage) == (states[12].cause, "write")
    assert b"no address" in letter.request and b"o:errorCode" in letter.response
    assert found["poll"] <= 5
    assert {sort: found[sort] for sort in found if sort != "poll"} == {"submit": 1, "query": 1, "tasks": 1, "result": 1}
    assert await own.judged() == []


async def test_a_generation_that_comes_meanwhile_waits_and_wins(writing: Writing) -> None:
    await writing.latency(100)
    own = await opened(writing)
    old = own.states_of("organization", range(1, 41))

    await own.emit_together(*old)
    await until_under_way(own)
    new = [newer(state, 2) for state in old]
    await own.emit(*new)
    outcomes = await own.settled()
    await writing.latency(0)

    assert outcomes == ["written"] * 80
    assert {record["companyName"][-2:] for record in (await own.held()).values()} == {"v2"}
    assert await own.judged() == []


async def until_under_way(own: OwnAccount) -> None:
    async def submitted() -> bool:
        return "submit" in requests(await own.log())

    await until(submitted)


async def test_what_netsuite_holds_already_costs_no_request_unless_forced(writing: Writing) -> None:
    own = await opened(writing)
    first = own.states_of("organization", range(1, 41))
    again, forced = [unchanged(one, 2) for one in first], [unchanged(one, 3, force=True) for one in first]

    await own.emit_together(*first)
    await own.settled()
    before = await own.log()
    await own.emit_together(*again)
    skipped = await own.outcomes(*again)
    between = await own.log()
    await own.emit_together(*forced)
    asserted = await own.outcomes(*forced)

    assert len(between) == len(before)
    assert {(outcome.outcome, outcome.reason) for outcome in skipped} == {("written", SAME)}
    assert {(outcome.outcome, outcome.reason) for outcome in asserted} == {("written", "")}
    assert len([line for line in await own.lines() if line["commit_seq"] is not None]) == 80
    assert await own.judged() == []


async def test_without_a_read_back_the_results_decide(writing: Writing) -> None:
    own = await opened(writing)
    states = own.states_of("organization", range(1, 41))
    states[0] = own.state("organization", 1, fields=NO_ADDRESS)
    await own.fault("locked_record", count=None, match={"path": "/query/"})

    await own.emit_together(*states)
    outcomes = await own.settled()

    found = requests(await own.log())
    assert outcomes == ["dead_lettered"] + ["written"] * 39
    assert (found["submit"], found["query"], found["tasks"], found["result"]) == (1, 1, 1, 40)
    assert "write" not in found
    assert await own.judged() == []


@pytest.mark.parametrize(
    "switches",
    [
        {"task_list": "one_item"},
        {"job_location": "relative"},
        {"failed_result": "ok_status"},
        {"failed_progress": "error"},
        {"failed_progress": "succeeded"},
        {"null_columns": "null"},
    ],
    ids=str,
)
async def test_open_questions_of_batches_answered_the_other_way(writing: Writing, switches: dict[str, Any]) -> None:
    """docs/unproven.md: each costs the same requests and ends alike."""
    own = await opened(writing, **switches)
    states = own.states_of("organization", range(1, 31))
    states[3] = own.state("organization", 4, fields=NO_ADDRESS)
    states[7] = own.state("organization", 8, fields=UNSEEN)

    await own.emit_together(*states)
    outcomes = await own.settled()

    found = requests(await own.log())
    assert [outcomes[3], outcomes.count("written")] == ["dead_lettered", 29]
    assert (found["submit"], found["query"], found["tasks"], found["result"]) == (1, 1, 1, 2)
    assert "write" not in found
    assert await own.judged() == []


async def test_jobs_that_take_slots_are_ridden_out(writing: Writing) -> None:
    """Then NetSuite refuses more than the flow's limit says; a job's own slot is no request of ours."""
    await writing.latency(50)
    own = await opened(writing, async_takes_slots=True)

    await own.emit_together(*own.states_of("organization", range(1, 101)))
    await until_under_way(own)
    await own.emit(*(own.state("deal", number, of=1 + number % 10) for number in range(1, 16)))
    outcomes = await own.settled()
    await writing.latency(0)

    assert outcomes == ["written"] * 115
    assert await own.judged(slots=own.slots + 1) == []


@asynccontextmanager
async def answering(netsuite: str, segment: str, body: bytes) -> AsyncIterator[str]:
    """The address of a door to NetSuite that answers itself, with this body, where a path ends in `segment`."""

    async def answer(request: Request) -> Reply:
        if request.path.rstrip("/").endswith(f"/{segment}"):
            return Reply(200, body, {"content-type": "application/json"})
        url = httpx2.URL(request.url).copy_with(**_place_of(netsuite))
        told = await http.request(request.method, url, content=request.body or None, headers=request.headers)
        kept = {name: told.headers[name] for name in ("content-type", "location") if name in told.headers}
        return Reply(told.status_code, told.content, kept)

    runner = web.ServerRunner(web.Server(Server(answer).handle))
    async with httpx2.AsyncClient(timeout=30) as http:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        await runner.cleanup()


def _place_of(address: str) -> dict[str, Any]:
    url = httpx2.URL(address)
    return {"scheme": url.scheme, "host": url.host, "port": url.port}


ODD = b'{"items": [null]}'


@pytest.mark.parametrize(("segment", "doubtful"), [("task", [4, 8]), ("suiteql", [])])
async def test_a_batch_whose_answers_nobody_thought_of_leaves_no_record_locked(
    writing: Writing, segment: str, doubtful: list[int]
) -> None:
    """Without the list of tasks the doubtful go singly; without the read-back each has its own result read."""
    async with answering(writing.stack.urls["netsuite"], segment, ODD) as address:
        own = await opened(writing, changes={"netsuite": {"base_url": address}})
        states = own.states_of("organization", range(1, 31))
        states[3] = own.state("organization", 4, fields=NO_ADDRESS)
        states[7] = own.state("organization", 8, fields=UNSEEN)

        await own.emit_together(*states)
        outcomes = await own.settled()
        written = [line["external_id"] for line in await own.log() if sort_of(line) == "write"]
        after = own.states_of("organization", range(1, 41), version=2)
        await own.emit(*after)
        outcomes_after = await own.settled(*after)

        assert [outcomes[3], outcomes.count("written")] == ["dead_lettered", 29]
        assert sorted(written) == sorted(f"pd-org-{number}" for number in doubtful)
        assert outcomes_after == ["written"] * 40
        assert await own.jobs_under_way() == []
        assert await own.judged() == []


SEQUENTIAL = {"MLC_BATCH_PARALLEL": "false"}
OTHER_WAYS = {
    "results": SEQUENTIAL,
    "calls": SEQUENTIAL | {"MLC_BATCH_DOUBTFUL": "calls"},
}


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=OTHER_WAYS)
async def otherwise(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Writing, str]]:
    async with Writing(environment=SHORT | OTHER_WAYS[request.param]) as started:
        yield started, request.param


async def test_a_doubtful_record_is_asked_for_or_written_again(otherwise: tuple[Writing, str]) -> None:
    writing, way = otherwise
    own = await opened(writing)
    states = own.states_of("organization", range(1, 31))
    states[3] = own.state("organization", 4, fields=NO_ADDRESS)
    states[7] = own.state("organization", 8, fields=UNSEEN)

    await own.emit_together(*states)
    outcomes = await own.settled()

    found = requests(await own.log())
    again = {"tasks": 1, "result": 2} if way == "results" else {"write": 2}
    assert [outcomes[3], outcomes.count("written")] == ["dead_lettered", 29]
    assert {sort: found[sort] for sort in found if sort != "poll"} == {"submit": 1, "query": 1} | again
    assert await own.judged() == []


async def test_a_batch_that_stops_at_a_failure_is_written_to_its_end(otherwise: tuple[Writing, str]) -> None:
    """What was not executed is not rejected, whatever its result says."""
    writing, _ = otherwise
    own = await opened(writing, batch_stops_at_failure=True)
    states = own.states_of("organization", range(101, 131))
    states[9] = own.state("organization", 110, fields=NO_ADDRESS)

    await own.emit_together(*states)
    outcomes = await own.settled()

    assert outcomes == ["written"] * 9 + ["dead_lettered"] + ["written"] * 20
    assert len(await own.tasks()) == 10
    assert await own.judged() == []


async def test_batches_can_be_forbidden() -> None:
    async with Writing(environment=SHORT | {"MLC_JOBS_AT_ONCE": "0"}) as writing:
        own = await opened(writing)

        await own.emit_together(*own.states_of("organization", range(1, 61)))
        await own.settled()

        assert requests(await own.log()) == {"write": 60}
        assert await own.judged() == []
