"""What the writer loses, doubles or reorders when it is killed, stopped, or robbed of its partition: nothing."""

from __future__ import annotations

import signal

import pytest

from ml_connector.common.wire import Desired
from support.desired import desired
from support.writing import SUBSIDIARY, Writing, until

WRITER, SECOND = "netsuite-writer", "netsuite-writer#2"


def state(source_id: str, version: int = 1) -> Desired:
    fields = {"companyName": f"{source_id} v{version}"}
    return desired("organization", source_id, version=version, references=SUBSIDIARY, fields=fields)


async def held_name(writing: Writing, source_id: str) -> str:
    record = await writing.record("customer", f"pd-org-{source_id}")
    return "" if record is None else str(record["companyName"])


async def until_called(writing: Writing, external_id: str = "", *, times: int = 1, within_s: float = 30.0) -> None:
    async def called() -> bool:
        return len(await writing.log(external_id)) >= times

    await until(called, within_s=within_s)


async def test_killed_while_a_call_is_under_way_it_makes_the_call_again() -> None:
    """Attempt announced, request sent, answer lost."""
    async with Writing() as writing:
        await writing.latency(2_000)
        await writing.emit(state("1"))
        await until_called(writing, "pd-org-1")

        await writing.stack.kill(WRITER)
        await writing.latency(0)
        await writing.stack.start_one(WRITER)
        (outcome,) = await writing.settled(state("1"))

        assert outcome.outcome == "written"
        assert await held_name(writing, "1") == "1 v1"


@pytest.mark.timeout(240)  # after each kill the group waits for the dead member's session, 10 s
async def test_killed_anywhere_every_cause_has_exactly_one_outcome() -> None:
    """Four kills while 200 records in two generations go through: at whichever line of attempt, call or settling."""
    async with Writing(MLC_BACKOFF_FIRST_S="0.1") as writing:
        await writing.latency(5)
        states = [state(str(number), version) for version in (1, 2) for number in range(1, 201)]
        kills = 0
        for number in range(4):
            part = states[number * 100 : number * 100 + 100]
            before = len(await writing.log())
            await writing.emit(*part)
            await until_called(writing, times=before + 10 + 7 * number)
            await writing.stack.kill(WRITER)
            kills += bool(await writing.live_keys())
            await writing.stack.start_one(WRITER)

        outcomes = await writing.settled(*states, within_s=60)

        assert kills == 4, "a kill that hit no unsettled work proves nothing"
        assert {outcome.outcome for outcome in outcomes} <= {"written", "superseded"}
        assert [await held_name(writing, str(number)) for number in range(1, 201)] == [
            f"{number} v2" for number in range(1, 201)
        ]
        assert (await writing.stats())["customer"] == 200


async def test_a_partition_that_comes_back_is_resumed_not_remembered() -> None:
    """It moves from one writer to the other and back; the first one's local store is stale by then."""
    async with Writing(replicas=2) as writing:
        await writing.stack.stop_one(SECOND)
        await writing.emit(state("1", 1))
        await writing.settled(state("1", 1))
        assert await writing.stack.stop_one(WRITER) == 0  # closed cleanly: its store says version 1
        await writing.stack.start_one(SECOND)
        await writing.emit(state("1", 3))
        await writing.settled(state("1", 3))
        assert await writing.stack.stop_one(SECOND) == 0

        await writing.stack.start_one(WRITER)
        await writing.emit(state("1", 2), state("1", 3), state("1", 4))
        outcomes = await writing.settled(state("1", 2), state("1", 3), state("1", 4))

        assert [outcome.outcome for outcome in outcomes] == ["superseded", "written", "written"]
        assert await held_name(writing, "1") == "1 v4"
        assert len(await writing.writes("pd-org-1")) == 3


async def test_a_former_owner_that_wakes_up_records_and_writes_nothing() -> None:
    """Stopped for longer than the session time-out, with one call under way and more to come."""
    async with Writing(replicas=2) as writing:
        await writing.stack.stop_one(SECOND)
        await writing.latency(1_500)
        old = [state(str(number), 1) for number in range(1, 21)]
        await writing.emit(*old)
        await until_called(writing, old[0].external_id)
        await writing.signal(WRITER, signal.SIGSTOP)
        await writing.latency(0)
        await writing.stack.start_one(SECOND)
        new = [state(str(number), 2) for number in range(1, 21)]
        await writing.emit(*new)
        await writing.settled(*new, within_s=40)
        calls = len(await writing.log())

        await writing.signal(WRITER, signal.SIGCONT)
        await until(writing.ready(WRITER))
        late = state("99")
        await writing.emit(late)
        await writing.settled(*old, *new, late)

        assert [await held_name(writing, str(number)) for number in range(1, 21)] == [
            f"{number} v2" for number in range(1, 21)
        ]
        assert len(await writing.log()) == calls + 1
