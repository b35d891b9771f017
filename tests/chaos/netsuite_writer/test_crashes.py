"""What the writer loses, doubles or reorders when it is killed, stopped, or robbed of its partition: nothing."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from ml_connector.common.wire import Desired
from support.desired import desired
from support.own_account import Line, OwnAccount, newer, requests, sort_of
from support.writing import SUBSIDIARY, Writing, until

WRITER, SECOND = "netsuite-writer", "netsuite-writer#2"
SHORT_SESSION = {"MLC_SESSION_TIMEOUT_S": "3", "MLC_BACKOFF_FIRST_S": "0.1"}
CRASHING = Path(__file__).parents[2] / "support" / "crashing"

# It proves by a transaction that a partition is its own, half a session after it last did: not in so short a test.
LONG_SESSION = SHORT_SESSION | {"MLC_SESSION_TIMEOUT_S": "12"}

# Where the writer is killed, and how often NetSuite is asked in all.
IN_A_TRANSACTION = "settlement and tombstone sent, not committed"
POINTS = {
    "before the attempt": ("app:KafkaMessages.attempt:before", 1),
    "after the attempt, before the call": ("netsuite.client:NetsuiteClient.write:before", 1),
    "after the call": ("netsuite.client:NetsuiteClient.write:after", 2),
    "before settling": ("settlement:Settler._commit:before", 2),
    IN_A_TRANSACTION: ("settlement:TransactionalProducer._finish:before", 2),
    "committed, not in the local store": ("settlement:Settler._keep:before", 1),
    "after everything": ("settlement:Settler._keep:after", 1),
}

# The same for a batch; each time NetSuite gets one job, and each record goes once.
BATCH_POINTS = {
    "before the batch is in the topic": "app:KafkaMessages.job:before",
    "in the topic, before the submission": "netsuite.client:NetsuiteClient.submit:before",
    "after the submission": "netsuite.client:NetsuiteClient.submit:after",
    "while it waits for the end": "netsuite.client:NetsuiteClient.job:after",
    "before settling": "settlement:Settler._commit:before",
    "committed, not in the local store": "settlement:Settler._keep:before",
    "settled, before the batch is forgotten": "batch:Batches._forget:before",
}
BATCHES = SHORT_SESSION | {"MLC_BATCH_FROM": "20"}


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


@pytest.mark.parametrize("point", POINTS)
async def test_killed_at_each_line_it_calls_again_only_what_may_not_have_been_settled(
    point: str, tmp_path: Path
) -> None:
    where, calls = POINTS[point]
    crash = {
        "PYTHONPATH": str(CRASHING),
        "CRASH_AT": f"ml_connector.netsuite_writer.{where}",
        "CRASH_MARK": str(tmp_path / "crashed"),
    }
    session = LONG_SESSION if point == IN_A_TRANSACTION else SHORT_SESSION
    async with Writing(environment=session | crash) as writing:
        await writing.emit(state("1"))
        await writing.stack.until_ended(WRITER)
        await writing.stack.start_one(WRITER)
        (outcome,) = await writing.settled(state("1"))

        assert (tmp_path / "crashed").exists()
        assert outcome.outcome == "written"
        assert await held_name(writing, "1") == "1 v1"
        assert len(await writing.log("pd-org-1")) == calls
        assert (await writing.stats())["customer"] == 1


async def test_killed_anywhere_every_cause_has_exactly_one_outcome() -> None:
    """Four kills while 200 records in two generations go through: at whichever line of attempt, call or settling."""
    async with Writing(environment=SHORT_SESSION) as writing:
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
    async with Writing(replicas=2, environment=SHORT_SESSION) as writing:
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
    async with Writing(replicas=2, environment=SHORT_SESSION) as writing:
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


@pytest.mark.parametrize("point", BATCH_POINTS)
async def test_a_batch_whose_writer_is_killed_is_found_again_and_written_once(point: str, tmp_path: Path) -> None:
    crash = {
        "PYTHONPATH": str(CRASHING),
        "CRASH_AT": f"ml_connector.netsuite_writer.{BATCH_POINTS[point]}",
        "CRASH_MARK": str(tmp_path / "crashed"),
    }
    async with Writing(environment=BATCHES | crash) as writing:
        own = await OwnAccount.open(writing, "3000001")
        await own.emit_together(*own.states_of("organization", range(1, 31)))
        await writing.stack.until_ended(WRITER)
        await writing.stack.start_one(WRITER)
        outcomes = await own.settled()
        await until_forgotten(own)

        found = requests(await own.log())
        assert (tmp_path / "crashed").exists()
        assert outcomes == ["written"] * 30
        assert len(jobs(await own.log())) == 1
        assert "write" not in found and len(await own.tasks()) == 30
        assert await own.judged() == []


@pytest.mark.parametrize("moment", ["in flight", "answered"])
async def test_a_batch_of_a_former_owner_that_wakes_up_is_no_second_batch(moment: str) -> None:
    """Stopped for longer than the session time-out, while NetSuite answers the submission or works on the job."""
    async with Writing(replicas=2, environment=BATCHES) as writing:
        await writing.stack.stop_one(SECOND)
        own = await OwnAccount.open(writing, "3000002")
        await writing.latency(1_500 if moment == "in flight" else 300)
        old = own.states_of("organization", range(1, 31))
        await own.emit_together(*old)
        await until_submitted(own, moment)
        await writing.signal(WRITER, signal.SIGSTOP)
        await writing.latency(0)
        await writing.stack.start_one(SECOND)
        new = [newer(one, 2) for one in old[:25]]
        await own.emit(*new)
        await own.settled(*new)

        await writing.signal(WRITER, signal.SIGCONT)
        await until(writing.ready(WRITER))
        await own.emit(own.state("organization", 99))
        outcomes = await own.settled()

        tasks = await own.tasks()
        assert set(outcomes[:30]) <= {"written", "superseded"} and outcomes[30:] == ["written"] * 26
        assert len({(line["path"], line["body"]) for line in tasks}) == len(tasks)
        assert len([line for line in tasks if line["body"].endswith(' v1"')]) <= 30
        assert await own.judged() == []


def jobs(log: list[Line]) -> set[str]:
    """That NetSuite was given."""
    return {line["submitted"] for line in log if line["submitted"]}


async def until_submitted(own: OwnAccount, moment: str) -> None:
    async def submitted() -> bool:
        found = [line for line in await own.log() if sort_of(line) == "submit"]
        return any(moment == "in flight" or line["submitted"] for line in found)

    await until(submitted, every_s=0.01)


async def until_forgotten(own: OwnAccount) -> None:
    async def forgotten() -> bool:
        return not await own.jobs_under_way()

    await until(forgotten)
