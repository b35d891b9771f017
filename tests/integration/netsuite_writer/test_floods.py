"""A flow whose records are all rejected alike halts before it fills the dead-letter topic, until somebody resumes it."""

from __future__ import annotations

import signal

import pytest

from ml_connector.common.keys import external_id, flow_key
from ml_connector.common.wire import Desired
from support.own_account import WRITER, OwnAccount
from support.steering import apply, beside, has_tombstone, resume, standing, until_standing, waiting
from support.writing import Writing, until

pytestmark = pytest.mark.asyncio(loop_scope="session")
RUN = 6  # MLC_FLOOD_RUN


async def without_subsidiary(writing: Writing, name: str, count: int) -> tuple[OwnAccount, list[Desired]]:
    """The flow maps none, and its NetSuite has become OneWorld: every record lacks it."""
    own = await OwnAccount.open(writing, name, oneworld=True)
    states = own.states_of("organization", range(1, count + 1), references={})
    return own, states


async def halted(own: OwnAccount, states: list[Desired]) -> None:
    """The flow has halted, and nothing of it is under way any more."""
    await until_standing(own, flow_key(own.flow))

    async def the_rest_waits() -> bool:
        return await waiting(own) == len(states) - (RUN - 1)

    await until(the_rest_waits)


@pytest.mark.parametrize(("name", "count"), [("3400001", 15), ("3400002", 60)])
async def test_a_flood_of_rejections_halts_the_flow_and_a_resumed_one_settles(
    writing: Writing, name: str, count: int
) -> None:
    """By single calls, and by batches."""
    own, states = await without_subsidiary(writing, name, count)

    await own.emit_together(*states)
    await halted(own, states)
    found = await standing(own, flow_key(own.flow))
    letters = await own.dead_letters()
    assert found is not None
    assert (found.state, found.reason) == ("halted", f"{RUN} records in a row: USER_ERROR")
    assert len(letters) == RUN - 1
    assert {letter.code for letter in letters} == {"USER_ERROR"}

    await own.switch(oneworld=False)
    await resume(own)
    outcomes = await own.settled()

    assert sorted(outcomes) == ["dead_lettered"] * (RUN - 1) + ["written"] * (count - RUN + 1)
    assert len(await own.dead_letters()) == RUN - 1
    assert await has_tombstone(own, flow_key(own.flow))


async def test_what_comes_while_a_flow_is_halted_waits_and_other_flows_of_the_account_go_on(writing: Writing) -> None:
    own, states = await without_subsidiary(writing, "3400003", 15)
    await own.emit_together(*states)
    await halted(own, states)
    asked = len(await own.log())
    other = await beside(own, "flow-3400003-us", prefix="us")

    later = own.state("organization", 99)
    good = [
        other.state("organization", number, external_id=external_id("us", "organization", str(number)))
        for number in range(1, 11)
    ]
    await own.emit(later)
    await other.emit(*good)

    assert await other.settled(*good) == ["written"] * 10
    assert len(await own.log()) == asked + 10
    assert await waiting(own) == len(states) - (RUN - 1) + 1
    assert await standing(own, flow_key(other.flow)) is None


async def test_a_halt_outlives_the_writer_and_ends_with_a_new_version_of_the_flow(writing: Writing) -> None:
    own, states = await without_subsidiary(writing, "3400004", 15)
    await own.emit_together(*states)
    await halted(own, states)
    asked = len(await own.log())

    await writing.signal(WRITER, signal.SIGKILL)
    await writing.stack.until_ended(WRITER)
    await writing.stack.start_one(WRITER)
    other = await beside(own, "flow-3400004-us", prefix="us")
    proof = other.state("organization", 1, external_id="us-org-1")
    await other.emit(proof)
    await other.settled(proof)
    assert [line["external_id"] for line in (await own.log())[asked:]] == ["us-org-1"]
    assert await waiting(own) == len(states) - (RUN - 1)

    await own.switch(oneworld=False)
    assert await apply(own, own.document()) == 2
    outcomes = await own.settled()

    assert outcomes.count("dead_lettered") == RUN - 1
    assert await has_tombstone(own, flow_key(own.flow))


async def test_a_resumed_flow_that_is_still_wrong_halts_again(writing: Writing) -> None:
    own, states = await without_subsidiary(writing, "3400005", 30)
    await own.emit_together(*states)
    await halted(own, states)
    before = await standing(own, flow_key(own.flow))

    await resume(own)

    async def again() -> bool:
        now = await standing(own, flow_key(own.flow))
        return now is not None and now != before and await waiting(own) == len(states) - 2 * (RUN - 1)

    await until(again)
    assert len(await own.dead_letters()) == 2 * (RUN - 1)


async def test_different_rejections_among_written_records_are_no_flood(writing: Writing) -> None:
    own = await OwnAccount.open(writing, "3400006")
    bad = {"email": "no address"}
    states = [own.state("organization", number, fields=bad if number % 2 else {}) for number in range(1, 25)]

    await own.emit(*states)
    outcomes = await own.settled()

    assert outcomes == ["dead_lettered", "written"] * 12
    assert await standing(own, flow_key(own.flow)) is None
