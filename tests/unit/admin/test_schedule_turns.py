"""A schedule at work on real tables: begun once, skipped while one runs, caught up once, the same after a rebuild."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import Connection, select

from ml_connector.admin.database import Database
from ml_connector.admin.fold import fold
from ml_connector.admin.fold.flows import put_active, put_versions
from ml_connector.admin.replay.control import Conflict, NotFound
from ml_connector.admin.schedule.keep import read_schedule
from ml_connector.admin.schedule.kinds import Due
from ml_connector.admin.schedule.look import look_at
from ml_connector.admin.schedule.run import Scheduler
from ml_connector.admin.schedule.syncs import ScheduledSyncs
from ml_connector.admin.sync.control import Syncs
from ml_connector.admin.sync.keep import put_sync
from ml_connector.admin.tables import act, outbox, sync
from ml_connector.common import topics
from ml_connector.common.clock import Deadline, ManualClock
from ml_connector.common.errors import BadInput
from ml_connector.common.flows import ActiveFlow, FlowVersion
from ml_connector.common.kafka.record import Record
from ml_connector.common.schedule_job import ScheduleKind, Turn
from ml_connector.common.sync_job import SyncJob, SyncJobState
from ml_connector.common.topics import Topic
from ml_connector.common.wire import Act
from support.letters import new_database

T0_MS = 1_785_207_600_000  # 2026-07-28T03:00:00Z
QUARTER_S = 900.0


class Replica:
    """One admin service of several on a database; `leads` may be changed."""

    def __init__(self, database: Database, clock: ManualClock, kinds: Mapping[ScheduleKind, Any] | None = None) -> None:
        self.database = database
        self.clock = clock
        self.leads = True
        syncs = Syncs(database, self, clock)
        self._scheduler = Scheduler(database, kinds or {"sync": ScheduledSyncs(syncs)}, self._publish, self, clock)

    async def _publish(self) -> bool:
        return True

    async def until_level(self, deadline: Deadline, *, of: Topic | None = None) -> None: ...

    async def look(self, after_s: float = 0.0) -> None:
        self.clock.advance(after_s)
        await self._scheduler.look()

    def turns(self, kind: ScheduleKind = "sync") -> tuple[Turn, ...]:
        with self.database.read() as connection:
            found = read_schedule(connection, "acme", kind)
        return () if found is None else found.turns

    def jobs(self) -> list[SyncJob]:
        with self.database.read() as connection:
            return [
                SyncJob.decode(one) for one in connection.scalars(select(sync.c.value).order_by(sync.c.created_at_ms))
            ]

    def end(self, state: SyncJobState = "done") -> None:
        """The last job."""
        job = self.jobs()[-1]
        with self.database.write() as connection:
            put_sync(connection, msgspec.structs.replace(job, state=state, version=job.version + 1))


def document(**schedule: Any) -> dict[str, Any]:
    return {
        "flow": "acme",
        "environment": "sandbox",
        "pipedrive": {"company": "acme"},
        "netsuite": {"account": "1234567_SB1"},
        "external_ids": "pd",
        "entities": {"organization": {"record": "customer", "fields": {"companyName": "data.name"}}},
        "schedule": {"jitter": 0, **schedule},
    }


def apply(database: Database, version: int = 1, *, paused: bool = False, **schedule: Any) -> None:
    with database.write() as connection:
        put_versions(connection, [FlowVersion("acme", version, document(**schedule), T0_MS - 1_000, "anna")])
        put_active(connection, [ActiveFlow("acme", version, revision=version, paused=paused)])


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return new_database(tmp_path)


@pytest.fixture
def replica(database: Database) -> Replica:
    apply(database, sync="*/15 * * * *")
    return Replica(database, ManualClock(T0_MS + 1_000))


async def test_first_sync_reads_all_and_the_next_what_changed_since_it_began(replica: Replica) -> None:
    await replica.look()
    assert not replica.jobs()

    await replica.look(QUARTER_S)
    replica.end()
    await replica.look(QUARTER_S)

    first, second = replica.jobs()
    assert (first.mode, first.actor, first.reason) == ("full", "schedule", "due at 2026-07-28T03:15:00Z")
    assert (second.mode, second.since) == ("since", "2026-07-28T03:14:01Z")  # a minute before 03:15:01
    assert [turn.fate for turn in replica.turns()] == ["started", "started"]
    with replica.database.read() as connection:
        acts = [Act.decode(value) for value in connection.scalars(select(act.c.value).order_by(act.c.at_ms))]
    assert [(one.act, one.actor, one.targets) for one in acts] == [
        ("sync.create", "schedule", (job.job_id,)) for job in (first, second)
    ]


async def test_sync_that_failed_covers_nothing(replica: Replica) -> None:
    await replica.look()
    await replica.look(QUARTER_S)
    replica.end("failed")
    await replica.look(QUARTER_S)

    assert [job.mode for job in replica.jobs()] == ["full", "full"]


async def test_each_due_time_begins_once_whoever_looks_and_takes_over(replica: Replica) -> None:
    other = Replica(replica.database, replica.clock)
    other.leads = False
    await replica.look()
    await replica.look(QUARTER_S)
    await other.look()
    other.leads, replica.leads = True, False
    await other.look()
    await replica.look(QUARTER_S)

    assert len(replica.jobs()) == 1


async def test_while_one_is_under_way_the_next_is_skipped_and_says_why(replica: Replica) -> None:
    await replica.look()
    await replica.look(QUARTER_S)
    for _ in range(3):
        await replica.look(QUARTER_S)

    started, skipped = replica.turns()
    assert (skipped.fate, skipped.times) == ("skipped", 3)
    assert skipped.why == f"sync {started.job_id} of flow acme is running: wait for its end, or cancel it"


async def test_what_was_missed_is_caught_up_once(replica: Replica) -> None:
    await replica.look()
    await replica.look(10 * QUARTER_S)
    await replica.look()

    (turn,) = replica.turns()
    assert turn.due_ms == T0_MS + 10 * 900_000
    assert turn.missed_since_ms == T0_MS + 900_000


async def test_paused_flow_begins_nothing_and_goes_on_with_the_next_due_time(replica: Replica) -> None:
    await replica.look()
    apply(replica.database, 2, paused=True, sync="*/15 * * * *")
    await replica.look(2 * QUARTER_S)
    apply(replica.database, 3, sync="*/15 * * * *")
    await replica.look()
    assert [(turn.fate, turn.why) for turn in replica.turns()] == [("skipped", "the flow is paused")]

    await replica.look(QUARTER_S)

    assert len(replica.jobs()) == 1


async def test_changed_schedule_counts_without_a_restart(replica: Replica) -> None:
    await replica.look()
    apply(replica.database, 2, sync="20 * * * *")
    await replica.look()
    await replica.look(QUARTER_S)
    assert not replica.jobs()

    await replica.look(301)

    assert [turn.due_ms for turn in replica.turns()] == [T0_MS + 20 * 60_000]


async def test_removed_schedule_begins_nothing_and_nothing_of_the_time_between_when_it_is_back(
    replica: Replica,
) -> None:
    await replica.look()
    apply(replica.database, 2)
    await replica.look()
    await replica.look(QUARTER_S)
    apply(replica.database, 3, sync="*/15 * * * *")
    await replica.look(QUARTER_S)

    assert not replica.jobs()


async def test_database_that_is_made_anew_from_the_topic_begins_nothing_again(replica: Replica, tmp_path: Path) -> None:
    await replica.look()
    await replica.look(QUARTER_S)
    with replica.database.read() as connection:
        told = connection.execute(select(outbox).where(outbox.c.topic == topics.JOBS.name).order_by(outbox.c.id)).all()
    (tmp_path / "anew").mkdir()
    anew = new_database(tmp_path / "anew")
    apply(anew, sync="*/15 * * * *")
    records = [
        Record(topics.JOBS.name, 0, number, row.key.encode(), row.value, {}, 0) for number, row in enumerate(told)
    ]
    with anew.write() as connection:
        fold(connection, topics.JOBS, records)

    after = Replica(anew, replica.clock)
    await after.look()

    assert [job.job_id for job in after.jobs()] == [job.job_id for job in replica.jobs()]
    assert after.turns() == replica.turns()


async def test_operator_sees_what_comes_next_what_ran_and_what_did_not(replica: Replica) -> None:
    await replica.look()
    await replica.look(QUARTER_S)
    await replica.look(QUARTER_S)
    syncs = ScheduledSyncs(Syncs(replica.database, replica, replica.clock))

    with replica.database.read() as connection:
        (found,) = look_at(connection, {"sync": syncs}, "acme", replica.clock.now_ms())
        with pytest.raises(NotFound):
            look_at(connection, {}, "another", 0)

    assert found.next_ms == T0_MS + 3 * 900_000
    assert found.last is not None and found.not_begun is not None
    assert found.states == {found.last.job_id: "running"} and not found.paused
    assert (found.not_begun.due_ms, found.not_begun.fate) == (T0_MS + 2 * 900_000, "skipped")


class _Kind:
    """Begins, or does what `raises` says."""

    def __init__(self, raises: Exception | None = None) -> None:
        self.raises = raises
        self.begun: list[Due] = []
        self.asked: list[tuple[str | None, list[str]]] = []

    def start(self, connection: Connection, due: Due) -> str:
        if self.raises is not None:
            raise self.raises
        self.begun.append(due)
        return f"job-{len(self.begun)}"

    def states(self, connection: Connection, flow: str | None, job_ids: Collection[str]) -> dict[str, str]:
        self.asked.append((flow, sorted(job_ids)))
        return dict.fromkeys(job_ids, "done")


@pytest.mark.parametrize(
    ("raises", "fate", "why"),
    [
        pytest.param(None, "started", "", id="started"),
        pytest.param(Conflict("one is running"), "skipped", "one is running", id="conflict"),
        pytest.param(BadInput("no credential"), "refused", "no credential", id="refused"),
    ],
)
async def test_other_kinds_of_jobs_take_part_by_what_they_raise(
    database: Database, raises: Exception | None, fate: str, why: str
) -> None:
    kind = _Kind(raises)
    apply(database, reconcile="0 4 * * *", netsuite_poll="0 5 * * *")
    replica = Replica(database, ManualClock(T0_MS), {"reconcile": kind})
    await replica.look()
    await replica.look(2 * 3_600)

    (turn,) = replica.turns("reconcile")
    assert (turn.fate, turn.why, turn.job_id) == (fate, why, "job-1" if fate == "started" else "")
    assert [due.due_ms for due in kind.begun] == [T0_MS + 3_600_000] * len(kind.begun)
    assert replica.turns("netsuite_poll")[0].why == "this release has no job of this kind"


async def test_failure_of_a_kind_leaves_its_due_time_for_the_next_look(database: Database) -> None:
    kind = _Kind(RuntimeError("the disk is full"))
    apply(database, reconcile="0 4 * * *")
    replica = Replica(database, ManualClock(T0_MS), {"reconcile": kind})
    await replica.look()
    await replica.look(3_600)
    kind.raises = None

    await replica.look(5)

    assert [due.due_ms for due in kind.begun] == [T0_MS + 3_600_000]
