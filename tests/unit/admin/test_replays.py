"""A replay as a job: what is chosen, which states follow on which, what is told of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select

from ml_connector.admin.database import Database
from ml_connector.admin.identity.roles import Actor, Role
from ml_connector.admin.look.letters import LetterFilter, Selection
from ml_connector.admin.replay.control import Conflict, NotFound, Options, Replays
from ml_connector.admin.replay.keep import put_items, put_job
from ml_connector.admin.tables import act, edited, job_item, outbox, outcome
from ml_connector.common.clock import ManualClock
from ml_connector.common.errors import BadInput
from ml_connector.common.wire import Act, ReplayItems, ReplayJob
from support.letters import T0_MS, letter_row, new_database, put, put_letters

ANNA = Actor("anna", Role.operator)
ALL = Selection(filter=LetterFilter(state="all"))


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return new_database(tmp_path)


def replays(database: Database) -> Replays:
    return Replays(database, ManualClock(T0_MS + 1_000_000), same_failures=3)


def make(database: Database, selection: Selection = ALL, **options: object) -> ReplayJob:
    return replays(database).create(selection, Options(**options), by=ANNA, reason="mended")  # type: ignore[arg-type]  # a test's options


def items(database: Database, job_id: str) -> list[tuple[str, str]]:
    """(state, why) by number."""
    with database.read() as connection:
        rows = connection.execute(select(job_item).where(job_item.c.job_id == job_id).order_by(job_item.c.number))
        return [(row.state, row.why) for row in rows]


def told(database: Database, topic: str) -> list[tuple[str, bytes]]:
    with database.read() as connection:
        rows = connection.execute(select(outbox).where(outbox.c.topic == topic).order_by(outbox.c.id))
        return [(row.key, row.value) for row in rows]


def test_what_is_closed_already_is_skipped_and_says_why(database: Database) -> None:
    put_letters(
        database,
        letter_row(0, record_key="a"),
        letter_row(1, record_key="b", state="discarded"),
        letter_row(2, record_key="c", state="resolved", resolution="written", resolved_by="w:77"),
    )

    job = make(database)

    assert items(database, job.job_id) == [
        ("waiting", ""),
        ("skipped", "discarded"),
        ("skipped", "resolved: a newer state of the record was written (w:77)"),
    ]


def test_record_that_failed_the_same_way_again_and_again_needs_force(database: Database) -> None:
    """Two closed ones and this: three times."""
    closed = {"state": "resolved", "resolution": "dead_lettered", "resolved_by": "x"}
    put_letters(database, letter_row(0, **closed), letter_row(1, **closed), letter_row(2))
    latest = Selection(filter=LetterFilter())

    unforced, forced = make(database, latest, draft=True), make(database, latest, force=True, draft=True)

    assert items(database, unforced.job_id) == [
        ("skipped", "failed the same way 3 times: correct the cause, then replay with force")
    ]
    assert items(database, forced.job_id) == [("waiting", "")]


def test_edited_copy_is_another_try(database: Database) -> None:
    closed = {"state": "resolved", "resolution": "dead_lettered", "resolved_by": "x"}
    ids = put_letters(database, letter_row(0, **closed), letter_row(1, **closed), letter_row(2))
    copy = {"letter_id": ids[2], "version": 1, "body": b"{}", "at_ms": 1, "actor": "anna", "reason": "mended"}
    put(database, edited, copy)

    job = make(database, Selection(filter=LetterFilter()))

    assert items(database, job.job_id) == [("waiting", "")]


def test_letter_that_another_replay_is_at_is_left_to_it(database: Database) -> None:
    put_letters(database, letter_row(0))
    make(database, dry_run=True)
    make(database)

    assert items(database, make(database).job_id) == [("skipped", "another replay is at it")]


def test_unknown_or_empty_selection_is_refused(database: Database) -> None:
    (known,) = put_letters(database, letter_row(0))

    with pytest.raises(BadInput, match="there is no dead letter 000000000000"):
        make(database, Selection(ids=[known, "000000000000"]))
    with pytest.raises(BadInput, match="no dead letter is like this"):
        make(database, Selection(filter=LetterFilter(flow="nobody")))


def test_revision_is_newer_than_the_letter_s_and_fixed(database: Database) -> None:
    """The clock may stand behind an earlier replay's revision."""
    put_letters(database, letter_row(0, record_key="a"), letter_row(1, record_key="b", revision=T0_MS * 2))

    job = make(database)

    with database.read() as connection:
        found = connection.scalars(select(job_item.c.revision).order_by(job_item.c.number)).all()
    assert found == [T0_MS + 1_000_000, T0_MS * 2 + 1]
    kept = [ReplayItems.decode(value) for key, value in told(database, "connector.jobs") if "/items/" in key]
    assert [item.revision for part in kept for item in part.items] == found
    assert job.total == 2


@pytest.mark.parametrize(
    ("acts", "state"),
    [
        (["replay.pause"], "paused"),
        (["replay.pause", "replay.start"], "running"),
        (["replay.cancel"], "cancelled"),
        (["replay.pause", "replay.cancel"], "cancelled"),
    ],
)
def test_states_follow_on_acts(database: Database, acts: list[str], state: str) -> None:
    put_letters(database, letter_row(0))
    job = make(database)

    for what in acts:
        job = replays(database).act(job.job_id, what, by=ANNA, reason="because")  # type: ignore[arg-type]  # names of acts

    assert (job.state, replays(database).get(job.job_id).state) == (state, state)


def test_act_that_is_not_possible_now_is_a_conflict_that_names_the_state(database: Database) -> None:
    put_letters(database, letter_row(0))
    job = make(database)
    replays(database).act(job.job_id, "replay.cancel", by=ANNA, reason="because")

    with pytest.raises(Conflict, match="is cancelled: start is not possible now"):
        replays(database).act(job.job_id, "replay.start", by=ANNA, reason="because")
    with pytest.raises(NotFound):
        replays(database).act("0" * 12, "replay.pause", by=ANNA, reason="because")


def test_cancelled_replay_takes_what_has_not_been_issued_off_the_list(database: Database) -> None:
    put_letters(database, letter_row(0, record_key="a"), letter_row(1, record_key="b"))
    job = make(database)
    replays(database).progress(job.job_id, lambda _, __: {"issued": 1})

    replays(database).act(job.job_id, "replay.cancel", by=ANNA, reason="because")

    assert [state for state, _ in items(database, job.job_id)] == ["issued", "cancelled"]


def test_every_act_is_told_with_actor_and_reason_in_the_same_transaction(database: Database) -> None:
    put_letters(database, letter_row(0))
    job = make(database)
    replays(database).act(job.job_id, "replay.pause", by=ANNA, reason="too fast")

    acts = [Act.decode(value) for _, value in told(database, "audit")]
    versions = [ReplayJob.decode(value).version for key, value in told(database, "connector.jobs") if key == job.job_id]
    with database.read() as connection:
        kept = connection.execute(select(act.c.act, act.c.actor, act.c.reason).order_by(act.c.act)).all()
    assert [(one.act, one.actor, one.role, one.reason) for one in acts] == [
        ("replay.create", "anna", "operator", "mended"),
        ("replay.pause", "anna", "operator", "too fast"),
    ]
    assert acts[0].targets == (job.job_id,)
    assert [tuple(row) for row in kept] == [("replay.create", "anna", "mended"), ("replay.pause", "anna", "too fast")]
    assert versions == [1, 2]


def test_refused_act_leaves_nothing(database: Database) -> None:
    put_letters(database, letter_row(0))
    job = make(database)
    before = told(database, "audit"), told(database, "connector.jobs")

    with pytest.raises(Conflict):
        replays(database).act(job.job_id, "replay.start", by=ANNA, reason="because")

    assert (told(database, "audit"), told(database, "connector.jobs")) == before


@pytest.mark.parametrize("items_first", [True, False])
def test_rebuild_takes_job_items_and_outcomes_in_any_order(
    database: Database, tmp_path: Path, items_first: bool
) -> None:
    put_letters(database, *(letter_row(n, record_key=f"r{n}") for n in range(3)))
    job = make(database)
    replays(database).progress(job.job_id, lambda _, __: {"issued": 2})
    jobs = [ReplayJob.decode(v) for k, v in told(database, "connector.jobs") if k == job.job_id]
    parts = [ReplayItems.decode(v) for k, v in told(database, "connector.jobs") if "/items/" in k]

    (tmp_path / "again").mkdir()
    rebuilt = new_database(tmp_path / "again")
    ended = {"cause": f"rpl:{job.job_id}:0", "record_key": "r0", "account": "1", "outcome": "written"}
    put(rebuilt, outcome, ended)
    with rebuilt.write() as connection:
        for put_one in (put_parts, put_jobs) if items_first else (put_jobs, put_parts):
            put_one(connection, jobs, parts)

    assert [state for state, _ in items(rebuilt, job.job_id)] == ["written", "issued", "waiting"]
    assert replays(rebuilt).get(job.job_id) == jobs[-1]


def test_rebuilt_dry_run_says_that_what_it_found_is_lost(database: Database, tmp_path: Path) -> None:
    put_letters(database, letter_row(0))
    job = make(database, dry_run=True)
    replays(database).progress(job.job_id, lambda _, __: {"issued": 1, "state": "done"})
    jobs = [ReplayJob.decode(v) for k, v in told(database, "connector.jobs") if k == job.job_id]
    parts = [ReplayItems.decode(v) for k, v in told(database, "connector.jobs") if "/items/" in k]

    (tmp_path / "again").mkdir()
    rebuilt = new_database(tmp_path / "again")
    with rebuilt.write() as connection:
        put_jobs(connection, jobs, parts)
        put_parts(connection, jobs, parts)

    assert items(rebuilt, job.job_id) == [("unresolved", "what the dry run found was lost with the database")]


def put_parts(connection, jobs: list[ReplayJob], parts: list[ReplayItems]) -> None:  # type: ignore[no-untyped-def]  # a connection
    for part in parts:
        put_items(connection, part)


def put_jobs(connection, jobs: list[ReplayJob], parts: list[ReplayItems]) -> None:  # type: ignore[no-untyped-def]  # a connection
    for job in reversed(jobs):  # an older entry that comes late changes nothing
        put_job(connection, job)
