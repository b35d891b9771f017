"""Two processes on one PostgreSQL, each of which believes that it leads: what is due begins once, what is told is told
once. (A lease says who leads; for a moment two may think so.)
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import func, select

from ml_connector.admin.catchup.keep import read_catch_up
from ml_connector.admin.database import Database, upsert
from ml_connector.admin.tables import act, deliveries, outbox
from ml_connector.common.clock import ManualClock
from ml_connector.common.deliveries import Deliveries
from ml_connector.common.schedule_job import ACTOR
from support import postgres, racing
from unit.admin.test_schedule_turns import T0_MS, Replica, apply


@pytest.fixture(scope="module")
def processes() -> Iterator[ProcessPoolExecutor]:
    spawning = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, spawning, racing.begin, (spawning.Barrier(2),)) as pool:
        yield pool


@pytest.fixture
def shared(server: postgres.Postgres) -> Iterator[Database]:
    database = Database(server.database())
    database.migrate()
    yield database
    database.close()


def race(pool: ProcessPoolExecutor, body: Callable[..., None], shared: Database, *more: object) -> None:
    """Each waits for the other, so each process has one of them."""
    url = shared.engine.url.render_as_string(hide_password=False)
    for ended in [pool.submit(body, url, number, *more) for number in range(2)]:
        ended.result(2 * racing.WAIT_S)


def test_each_due_time_begins_one_job_though_two_processes_see_it(
    processes: ProcessPoolExecutor, shared: Database
) -> None:
    apply(shared, sync="*/15 * * * *")

    race(processes, racing.schedule, shared)

    replica = Replica(shared, ManualClock(T0_MS))
    jobs = replica.jobs()
    assert [job.reason for job in jobs] == [
        f"due at 2026-07-28T{3 + quarter // 4:02}:{quarter % 4 * 15:02}:00Z" for quarter in range(1, racing.ROUNDS + 1)
    ]
    assert [(turn.fate, turn.job_id) for turn in replica.turns()] == [("started", job.job_id) for job in jobs]
    with shared.read() as connection:
        acts = connection.scalar(select(func.count()).select_from(act).where(act.c.actor == ACTOR))
    assert acts == racing.ROUNDS


def test_gap_is_caught_up_with_by_one_sync_though_two_processes_see_it(
    processes: ProcessPoolExecutor, shared: Database
) -> None:
    apply(shared)
    failed_ms = T0_MS - 1_000
    told = Deliveries("acme", T0_MS, failed_ms - 1_000, failed_ms, failed_ms, failed_ms, "a delivery has failed")
    with shared.write() as connection:
        upsert(connection, deliveries, [{"flow": "acme", "company": "acme", "value": told.encode()}])

    race(processes, racing.catch_up, shared)

    (job,) = Replica(shared, ManualClock(T0_MS)).jobs()
    with shared.read() as connection:
        (run,) = read_catch_up(connection, "acme").runs
    assert (run.changes, run.phase, job.since) == (job.job_id, "changes", "2026-07-28T02:58:59Z")


def test_messages_of_two_processes_are_written_once_and_by_one(
    processes: ProcessPoolExecutor, shared: Database, tmp_path: Path
) -> None:
    path = tmp_path / "sent"

    race(processes, racing.publish, shared, path)

    sent = [line.split() for line in path.read_text().splitlines()]
    assert len(sent) == len({key for _, key in sent}) == racing.MESSAGES
    assert len({number for number, _ in sent}) == 1
    with shared.read() as connection:
        assert connection.execute(select(outbox)).all() == []
