"""A sync as a job: what is kept and told of it, which acts are possible, what is said to the owner and when."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select

from ml_connector.admin.database import Database
from ml_connector.admin.replay.control import Conflict, NotFound
from ml_connector.admin.sync.ask import Asked
from ml_connector.admin.sync.drive import SAY_AGAIN_S
from ml_connector.admin.sync.known import outcomes_of
from ml_connector.admin.tables import act, observed, sync, sync_walk
from ml_connector.common import headers as h
from ml_connector.common import keys, topics
from ml_connector.common.generation import Generation
from ml_connector.common.syncing import Progress, SyncPage
from ml_connector.common.wire import Parent, Standing, Try
from support import admin_messages as m
from support.letters import new_database
from support.sync_office import ANNA, FULL, Office


@pytest.fixture
def office(empty: Database) -> Office:
    return Office(empty)


def test_sync_goes_from_entity_to_entity_and_leaves_no_state_behind(office: Office) -> None:
    job = office.create()
    assert office.look() == [("organization", "page")]

    office.tell(job.job_id, "running")
    assert office.look() == []
    office.tell(job.job_id, "done", progress=Progress(pages=1, read=7, desired=7, tokens=10))
    assert office.look() == []  # its result is kept first
    assert office.look() == [("organization", "forgotten"), ("person", "page")]
    office.forgets(job.job_id)
    office.tell(job.job_id, "done", "person")
    office.look()
    assert office.look() == [("person", "forgotten")]
    office.forgets(job.job_id, "person")
    assert office.look() == []

    found = office.syncs.get(job.job_id)
    assert (found.job.state, found.walks) == ("done", {})
    assert found.job.walked["organization"].progress.read == 7
    assert office.syncs.under_way() == []
    assert [one.version for one in office.told()] == list(range(1, found.job.version + 1))


def test_what_is_said_goes_to_the_company_s_owner(office: Office) -> None:
    job = office.create(Asked("acme-eu", "ids", entities=("person",), ids=("7",)))

    asyncio.run(office.driver.look())

    ((key, headers, page),) = office.broker.sent
    assert (key, headers[h.KIND], headers[h.FLOW]) == (b"acme", b"sync", b"acme-eu")
    assert isinstance(page, SyncPage) and (page.job_id, page.entity, page.ids) == (job.job_id, "person", ("7",))


def test_what_may_have_got_lost_is_said_again_but_not_at_every_look(office: Office) -> None:
    office.create()
    assert (office.look(), office.look()) == ([("organization", "page")], [])

    office.clock.advance(SAY_AGAIN_S)

    assert office.look() == [("organization", "page")]


def test_another_replica_goes_on_once_it_knows_all(office: Office) -> None:
    job = office.create()
    office.look()
    office.tell(job.job_id, "done")
    office.level.leads = False
    assert office.look() == [] and office.syncs.get(job.job_id).job.walked == {}

    office.level.leads, before = True, office.level.asked
    office.driver = office.another_driver()

    assert office.look() == []
    assert office.level.asked == before + 1
    assert list(office.syncs.get(job.job_id).job.walked) == ["organization"]


def test_pause_resume_and_cancel_reach_the_owner(office: Office) -> None:
    job = office.create()
    office.look()
    office.tell(job.job_id, "running")

    office.act(job, "pause")
    assert office.look() == [("organization", "paused")]
    office.tell(job.job_id, "paused")
    assert office.look() == []
    office.act(job, "resume")
    assert office.look() == [("organization", "running")]
    office.tell(job.job_id, "running")
    office.act(job, "cancel")
    assert office.look() == [("organization", "cancelled")]
    office.tell(job.job_id, "cancelled")
    office.look()

    assert office.look() == [("organization", "forgotten")]
    assert office.syncs.get(job.job_id).job.state == "cancelled"
    with office.database.read() as connection:
        acts = connection.scalars(select(act.c.act).order_by(act.c.act))
        assert list(acts) == ["sync.cancel", "sync.create", "sync.pause", "sync.resume"]


def test_walk_that_stopped_by_itself_waits_for_somebody_and_says_why(office: Office) -> None:
    job = office.create()
    office.look()
    office.tell(job.job_id, "failed", reason="Pipedrive answers 403")
    assert office.look() == []

    found = office.syncs.get(job.job_id).job
    assert (found.state, found.why) == ("failed", "Pipedrive answers 403")
    assert office.look() == []
    office.act(job, "resume")
    assert office.look() == [("organization", "running")]  # and it does not fail by the same word again
    assert office.look() == []
    assert office.syncs.get(job.job_id).job.state == "running"


def test_flow_has_one_sync_at_a_time(office: Office) -> None:
    first = office.create()

    with pytest.raises(Conflict, match=f"sync {first.job_id} of flow acme-eu is running"):
        office.create()
    with pytest.raises(Conflict, match=first.job_id):
        office.syncs.plan(FULL)
    office.tell(first.job_id, "failed", reason="403")
    office.look()
    second = office.create()
    with pytest.raises(Conflict, match=second.job_id):
        office.act(first, "resume")


@pytest.mark.parametrize(
    ("before", "what"),
    [
        ("cancel", "resume"),
        ("cancel", "cancel"),
        ("pause", "pause"),
        (None, "resume"),
    ],
)
def test_act_that_is_not_possible_now_names_the_state(office: Office, before: str | None, what: str) -> None:
    job = office.create()
    if before is not None:
        job = office.act(job, before)

    with pytest.raises(Conflict, match=f"is {job.state}: {what.removeprefix('sync.')} is not possible now"):
        office.act(job, what)


def test_note_of_somebody_who_saw_an_older_version_is_dropped(office: Office) -> None:
    job = office.create()
    office.act(job, "pause")

    asyncio.run(office.syncs.note(job, {"state": "done"}))

    assert office.syncs.get(job.job_id).job.state == "paused"


def test_unknown_flow_or_sync_is_not_found(office: Office) -> None:
    with pytest.raises(NotFound, match="there is no flow nobody"):
        office.syncs.plan(Asked("nobody", "full"))
    with pytest.raises(NotFound, match="there is no sync 000000000000"):
        office.syncs.get("000000000000")


def test_of_many_who_start_one_at_once_one_does(office: Office) -> None:
    async def all_at_once() -> list[object]:
        return await asyncio.gather(*(office.syncs.create(FULL, ANNA) for _ in range(8)), return_exceptions=True)

    made = asyncio.run(all_at_once())

    assert sorted(type(one).__name__ for one in made) == ["Conflict"] * 7 + ["SyncJob"]


def test_database_made_anew_knows_the_same_syncs(empty: Database, tmp_path: Path) -> None:
    """The newest entry counts, in whatever order they come; a walk's state is gone when the topic says so."""
    before = Office(new_database(tmp_path))
    job = before.create()
    before.act(job, "pause")
    entries = before.told()
    anew = Office(empty)

    anew.fold(*((topics.JOBS, f"sync/{one.job_id}".encode(), one.encode(), {}) for one in reversed(entries)))
    anew.tell(job.job_id, "paused")

    found = anew.syncs.get(job.job_id)
    assert (found.job, list(found.walks)) == (entries[-1], ["organization"])
    anew.forgets(job.job_id)
    anew.fold((topics.JOBS, f"sync/{job.job_id}".encode(), None, {}))
    with anew.database.read() as connection:
        assert connection.execute(select(sync)).all() == connection.execute(select(sync_walk)).all() == []


def record(
    entity: Any, number: int, *, flow: str = "acme-eu", version: int = 1, outcome: str = "written"
) -> dict[str, Any]:
    return {
        "record_key": m.record_key(entity, str(number)), "flow": flow, "account": m.ACCOUNT.lower(),
        "source_version": version, "revision": 0, "cause": f"w:{entity}{number}", "outcome": outcome,
        "action": "upsert", "internal_id": "1", "at_ms": 1,
    }  # fmt: skip


def test_plan_counts_the_records_that_are_known(office: Office) -> None:
    since_ms = office.clock.now_ms() - 3_600_000
    with office.database.write() as connection:
        rows = [record("organization", number) for number in range(1, 8)]
        rows.append(record("organization", 70, version=since_ms + 1))
        rows.append(record("organization", 71, version=since_ms + 1, outcome="dead_lettered"))
        rows.append(record("person", 1))
        rows.append(record("deal", 1, flow="another"))
        connection.execute(insert(observed), rows)

    full = office.syncs.plan(FULL)
    since = office.syncs.plan(Asked("acme-eu", "since", since="1h"))
    ids = office.syncs.plan(Asked("acme-eu", "ids", entities=("organization",), ids=("7", "71", "99")))

    def counts(plan: Any) -> list[tuple[int, int]]:
        return [(one.objects, one.unchanged) for one in plan.entities]

    assert counts(full) == [(9, 8), (1, 1)]
    assert counts(since) == [(2, 1), (0, 0)]
    assert counts(ids) == [(3, 1)]


def test_plan_counts_what_the_last_full_sync_read(office: Office) -> None:
    for entities, read in (((), 9), (("organization",), 7)):
        job = office.create(Asked("acme-eu", "full", entities=entities))  # type: ignore[arg-type]  # a test's own
        for entity in job.entities:
            office.tell(job.job_id, "done", entity, progress=Progress(read=read))
            office.look()
        office.look()
        office.clock.advance(1)

    plan = office.syncs.plan(FULL)

    assert [(one.entity, one.objects) for one in plan.entities] == [("organization", 7), ("person", 9)]


def test_plan_measures_how_long_writes_take(office: Office) -> None:
    """A try of a record that was written, out of the audit."""
    for number in range(1, 6):
        tries = [Try(at_ms=1, took_ms=took_ms, method="PUT", path="/") for took_ms in (9_000, 400)]
        office.fold(
            m.outcome(
                f"w:organization{number}", "written", "organization", str(number), generation=Generation(1), tries=tries
            )
        )
    with office.database.write() as connection:
        connection.execute(insert(observed), [record("organization", number) for number in range(1, 6)])

    plan = office.syncs.plan(FULL)

    assert "400 ms a organization (median of 5 writes)" in plan.rests_on[2]


def test_plan_warns_of_what_is_stopped(office: Office) -> None:
    office.fold(m.suspended("acme", "the grant was revoked"))
    office.fold(m.active_flow(revision=2, paused=True))
    stop = Standing(state="suspended", reason="401", at_ms=1)
    office.fold((topics.OBSERVED, keys.account_key(m.ACCOUNT.lower()).encode(), stop.encode(), {}))

    warnings = office.syncs.plan(FULL).warnings

    assert len(warnings) == 3 and "mlc flows resume acme-eu" in warnings[0]
    assert "account 1234567_sb1 is suspended (401)" in warnings[1]
    assert "company acme is suspended (the grant was revoked)" in warnings[2]


def test_outcomes_are_those_of_its_own_objects(office: Office) -> None:
    for number in range(1, 5):
        office.fold(m.received(f"syn:aaa:organization:{number}", "organization", str(number)))
    office.fold(m.received("syn:aab:organization:1", "organization", "1"))
    office.fold(m.outcome("syn:aaa:organization:1", "written", "organization", "1", generation=Generation(1)))
    office.fold(m.outcome("syn:aaa:organization:2", "superseded", "organization", "2", generation=Generation(1)))
    office.fold(m.outcome("syn:aab:organization:1", "written", "organization", "1", generation=Generation(2)))

    with office.database.read() as connection:
        found = outcomes_of(connection, "aaa")

    assert found == ({"superseded": 1, "written": 1}, 2, 0)


def test_what_waits_for_a_dead_letter_does_not_move(office: Office) -> None:
    parent = m.record_key("organization", "1")
    for number, mother in ((1, parent), (2, m.record_key("organization", "2"))):
        cause = f"syn:aaa:person:{number}"
        office.fold(m.received(cause, "person", str(number)))
        waits = Parent(mother, "organization", "1")
        office.fold(m.desired(cause, "person", str(number), generation=Generation(1), parent=waits))
    office.fold(m.letter("w:1", parent, generation=Generation(1)))

    with office.database.read() as connection:
        assert outcomes_of(connection, "aaa") == ({}, 1, 1)
