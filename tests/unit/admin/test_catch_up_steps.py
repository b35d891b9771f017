"""A gap is caught up with step by step, each one transaction: changes, the search, what is gone; once, and told."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from sqlalchemy import select

from ml_connector.admin.catchup.gaps import Trouble
from ml_connector.admin.catchup.look import finding_of
from ml_connector.admin.catchup.search import Missing, NotSearched, Wait, missing_of
from ml_connector.admin.catchup.step import Searched, Steps, current
from ml_connector.admin.changing import Said
from ml_connector.admin.database import Database
from ml_connector.admin.replay.control import Conflict
from ml_connector.admin.schedule.kinds import BY_SCHEDULE, Due
from ml_connector.admin.schedule.searches import ScheduledSearches
from ml_connector.admin.sync.control import Syncs
from ml_connector.admin.sync.keep import put_sync
from ml_connector.admin.tables import sync
from ml_connector.common.asking import ListedIds, ListIds
from ml_connector.common.catch_up import CatchUp, Run
from ml_connector.common.clock import ManualClock
from ml_connector.common.flows import parse_flow
from ml_connector.common.sync_job import SyncJob, SyncJobState
from support.letters import new_database
from unit.admin.test_schedule_turns import T0_MS, Replica, apply, document

MINUTE_MS = 60_000
GAP = Trouble(T0_MS, T0_MS + 30 * MINUTE_MS, "no ingest ran")
AFTER_MS = T0_MS + 31 * MINUTE_MS


class Desk:
    """Takes steps on real tables."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = ManualClock(AFTER_MS)
        self.steps = Steps(Syncs(database, Replica(database, self.clock), self.clock))

    def look(self, *troubles: Trouble, at_ms: int = AFTER_MS) -> CatchUp:
        with self.database.write() as connection:
            return self.steps.look(connection, "acme", troubles, at_ms)

    def found(self, run: Run, **missing: tuple[str, ...]) -> CatchUp:
        searched = Searched({entity: Missing(ids, 10) for entity, ids in missing.items()}, 40)  # type: ignore[misc]  # entities
        with self.database.write() as connection:
            return self.steps.searched(connection, "acme", run.run_id, searched, AFTER_MS)

    def jobs(self) -> list[SyncJob]:
        with self.database.read() as connection:
            return [SyncJob.decode(one) for one in connection.scalars(select(sync.c.value))]

    def end(self, job_id: str, state: SyncJobState = "done") -> None:
        job = next(one for one in self.jobs() if one.job_id == job_id)
        with self.database.write() as connection:
            put_sync(connection, msgspec.structs.replace(job, state=state, version=job.version + 1))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    database = new_database(tmp_path)
    apply(database)
    return Desk(database)


def running(entry: CatchUp) -> Run:
    run = current(entry)
    assert run is not None
    return run


def test_gap_is_read_searched_and_asked_for_and_then_done(desk: Desk) -> None:
    assert running(desk.look(GAP)).phase == "changes"
    (changes,) = desk.jobs()
    assert (changes.mode, changes.since, changes.until) == ("since", "2026-07-28T02:59:00Z", "2026-07-28T03:30:00Z")
    assert (changes.actor, changes.reason) == (
        "catch-up", "no ingest ran, from 2026-07-28T03:00:00Z to 2026-07-28T03:30:00Z",
    )  # fmt: skip

    desk.end(changes.job_id)
    run = running(desk.look(GAP))
    assert run.phase == "search" and finding_of(desk.look(GAP)).result == "warning"
    run = running(desk.found(run, organization=("7", "9")))
    gone = next(one for one in desk.jobs() if one.job_id == run.gone)
    assert (run.phase, run.missing, run.known, run.tokens) == ("gone", 2, 40, 10)
    assert (gone.mode, gone.each) == ("ids", {"organization": ("7", "9")})

    desk.end(gone.job_id)
    entry = desk.look(GAP)
    assert entry.runs[-1].phase == "done" and finding_of(entry).result == "ok"
    assert desk.look(GAP, at_ms=AFTER_MS + MINUTE_MS) == entry and len(desk.jobs()) == 2


def test_where_nothing_is_missing_nothing_is_asked_for(desk: Desk) -> None:
    desk.end(running(desk.look(GAP)).changes)

    entry = desk.found(running(desk.look()), organization=())

    assert entry.runs[-1].phase == "done" and len(desk.jobs()) == 1


def test_search_that_was_made_twice_counts_once(desk: Desk) -> None:
    desk.end(running(desk.look(GAP)).changes)
    run = running(desk.look())

    desk.found(run, organization=("7",))
    desk.found(run, organization=("7",))

    assert [job.mode for job in desk.jobs()].count("ids") == 1


def test_while_another_sync_is_under_way_it_waits_and_says_for_what(desk: Desk) -> None:
    first = running(desk.look(GAP))
    desk.end(first.changes, "paused")
    assert running(desk.look()).problem == f"sync {first.changes} is paused"
    desk.end(first.changes)
    run = running(desk.look())
    with desk.database.write() as connection:
        other = msgspec.structs.replace(desk.jobs()[0], job_id="0" * 12, state="running")
        put_sync(connection, other)

    entry = desk.found(run, organization=("7",))

    assert running(entry).phase == "search" and "wait for its end" in running(entry).problem


def test_sync_that_somebody_cancels_is_told_by_doctor(desk: Desk) -> None:
    desk.end(running(desk.look(GAP)).changes, "cancelled")

    found = finding_of(desk.look())

    assert found.result == "failed" and "was cancelled" in found.says and "mlc sync acme --since" in found.fix


def test_trouble_that_is_over_later_is_one_gap(desk: Desk) -> None:
    entry = desk.look(GAP, at_ms=T0_MS + MINUTE_MS)
    assert entry.gap is not None and not entry.runs and finding_of(entry).result == "warning"
    longer = GAP._replace(to_ms=GAP.to_ms + 20 * MINUTE_MS)

    assert not desk.look(longer).runs
    run = running(desk.look(longer, at_ms=longer.to_ms))

    assert (run.from_ms, run.to_ms) == (GAP.from_ms, longer.to_ms)


def test_search_on_a_schedule_is_one_at_a_time(desk: Desk) -> None:
    kind = ScheduledSearches(desk.steps)
    due = Due(parse_flow(document()), 1, AFTER_MS, AFTER_MS, Said(BY_SCHEDULE, "due at 03:31"))
    with desk.database.write() as connection:
        run_id = kind.start(connection, due)
        assert kind.states(connection, "acme", {run_id, "nobody"}) == {run_id: "search"}
        assert kind.states(connection, None, {run_id}) == {run_id: "search"}
        with pytest.raises(Conflict, match="is under way"):
            kind.start(connection, due)

    run = running(desk.found(running(desk.look()), organization=("3",)))

    assert (run.run_id, run.phase) == (run_id, "gone")
    assert desk.jobs()[0].each == {"organization": ("3",)}


# -- the search --------------------------------------------------------------------------------------------------------


class Pages:
    """Answers by shelf and cursor."""

    def __init__(self, **pages: ListedIds) -> None:
        self.pages = pages
        self.asked: list[ListIds] = []

    async def __call__(self, asked: ListIds) -> ListedIds:
        self.asked.append(asked)
        return self.pages[f"{asked.shelf}{asked.cursor}"]


async def test_missing_is_what_is_on_no_page() -> None:
    pages = Pages(
        current=ListedIds(("1", "2"), "b", 10), currentb=ListedIds(("4",), "", 10), archived=ListedIds(("5",), "", 20)
    )

    found = await missing_of(pages, "acme", "deal", {1, 2, 3, 4, 5}, 0.8)

    assert found == Missing(("3",), 40) and [one.token_share for one in pages.asked] == [0.8] * 3
    assert await missing_of(pages, "acme", "deal", set(), 0.8) == Missing((), 0) and len(pages.asked) == 3


async def test_many_that_are_missing_at_once_are_for_a_person() -> None:
    """Else a user who sees less than before would have all customers made inactive."""
    pages = Pages(current=ListedIds(("1",), "", 10))

    with pytest.raises(NotSearched, match="99 of 100 known organizations are in no list"):
        await missing_of(pages, "acme", "organization", set(range(1, 101)), 0.8)


@pytest.mark.parametrize(("wait_s", "error"), [(60.0, Wait), (0.0, NotSearched)])
async def test_refusal_is_waited_for_or_told(wait_s: float, error: type[Exception]) -> None:
    pages = Pages(current=ListedIds(refused="no", wait_s=wait_s))

    with pytest.raises(error, match="no"):
        await missing_of(pages, "acme", "person", {1}, 0.8)
