"""A reconcile as a job, on either database: how it ends, what it found and why, what a fix re-issues."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import msgspec
import pytest
from sqlalchemy import select

from ml_connector.admin.database import Database
from ml_connector.admin.reconcile.finish import Finishing
from ml_connector.admin.reconcile.fix import Fixes
from ml_connector.admin.reconcile.report import Place, Wanted, lines_of
from ml_connector.admin.reconcile.retire import DAY_MS, JOBS_KEPT, Retiring
from ml_connector.admin.reconcile.told import told_of
from ml_connector.admin.replay.control import Conflict, NotFound
from ml_connector.admin.sync.ask import Asked
from ml_connector.admin.sync.drive import Driver
from ml_connector.admin.sync.keep import put_sync
from ml_connector.admin.tables import drift, outbox, polled, sync
from ml_connector.common import headers as h
from ml_connector.common import topics
from ml_connector.common.comparing import CENSUS, Cause, Census, Difference, Found, Unmapped
from ml_connector.common.covering import unpack
from ml_connector.common.flows import parse_flow
from ml_connector.common.generation import Generation
from ml_connector.common.kafka.producer import Producer
from ml_connector.common.keys import Entity
from ml_connector.common.settings import Settings
from ml_connector.common.sync_job import SyncJob, SyncJobState
from ml_connector.common.syncing import Progress, Purpose
from support import admin_messages as m
from support.sync_office import ANNA, FULL, Office

EVERYTHING = Asked("acme-eu", "full", purpose="compare")
POLL = Asked("acme-eu", "since", since="1h", purpose="drift")
PAGES = Progress(pages=2, read=4, desired=4, first_page=1, last_page=2)


class Reconciling(Office):
    """With what the account's owner is asked."""

    def __init__(self, database: Database) -> None:
        self.counted: list[Census] = []
        super().__init__(database)
        self.fixes = Fixes(database, self.syncs, self.level, self.clock)

    def another_driver(self) -> Driver:
        settings = Settings(kafka_bootstrap_servers="nowhere:1")
        producer = cast(Producer, self)
        finishing = Finishing(settings, self.database, producer, self.clock)
        broker = cast(Producer, self.broker)
        return Driver(settings, self.syncs, broker, self.publish, self.level, self.clock, finishing)

    async def send(self, topic: str, *, key: bytes, value: bytes, headers: dict[str, bytes], partition: int) -> None:
        assert (topic, key, headers[h.KIND]) == ("netsuite.requests", m.ACCOUNT.encode(), CENSUS)
        self.counted.append(Census.decode(value))

    def walk(self, job: SyncJob) -> None:
        """Both walks, to their ends."""
        for entity in ("organization", "person"):
            assert self.look() == [(entity, "page")]
            self.tell(job.job_id, "done", entity, progress=PAGES if entity == "organization" else Progress(last_page=1))
            self.look()
            self.forgets(job.job_id, entity)

    def compared(self, job: SyncJob, page: int, *differences: Difference, **more: Any) -> None:
        entity = more.pop("entity", "organization")
        self.fold(m.compared(job.job_id, page=page, differences=differences, entity=entity, **more))

    def state(self, job: SyncJob) -> str:
        return self.syncs.get(job.job_id, "compare").job.state

    def lines(self, job: SyncJob, wanted: Wanted | None = None, after: Place | None = None) -> list[tuple[Any, ...]]:
        with self.database.read() as connection:
            found = lines_of(connection, FLOW, job.job_id, job.entities, wanted or Wanted(), after)
            return [
                (one.entity, one.difference.source_id, one.found, *(why.kind for why in one.whys[:1])) for one in found
            ]


@pytest.fixture
def office(empty: Database) -> Reconciling:
    return Reconciling(empty)


DOCUMENT: dict[str, Any] = {
    "flow": "acme-eu", "environment": "sandbox", "pipedrive": {"company": "acme"}, "netsuite": {"account": m.ACCOUNT},
    "external_ids": "pd",
    "entities": {
        "organization": {"record": "customer", "fields": {"companyName": "data.name"}},
        "person": {"record": "contact", "fields": {"lastName": "data.name"}},
    },
}  # fmt: skip
FLOW = parse_flow(DOCUMENT)


def differs(source_id: str, found: Found, *causes: Cause, entity: Entity = "organization", **more: Any) -> Difference:
    return Difference(source_id, m.external_id(entity, source_id), found, causes=causes, **more)


def test_it_ends_when_all_is_told_and_netsuite_was_searched(office: Reconciling) -> None:
    job = office.create(EVERYTHING)
    office.walk(job)
    office.look()
    assert (office.state(job), office.counted) == ("running", [])

    office.compared(job, 1, covered=b"")
    office.compared(job, 2, part=1, parts=2, different=2)
    office.look()
    assert office.counted == []

    office.compared(job, 2, part=2, parts=2, different=2)
    office.compared(job, 1, entity="person")
    office.look()
    office.look()
    assert [(one.entity, one.page, list(unpack(one.covered))) for one in office.counted] == [
        ("organization", 0, [210, 211, 220, 221]),
        ("person", 0, []),
    ]
    assert office.counted[0].began_ms == job.created_at_ms
    office.compared(job, 0, differs("9", "extra", "never_written"), records=5)
    office.look()
    assert office.state(job) == "running"
    office.compared(job, 0, entity="person")

    office.look()

    assert office.state(job) == "done"
    with office.database.read() as connection:
        told = told_of(connection, job.job_id, "organization")
    assert (told.records, told.equal, told.held, told.found) == (7, 3, 5, {"different": 4, "extra": 1})


def test_compared_by_ids_it_counts_nothing(office: Reconciling) -> None:
    asked = Asked("acme-eu", "ids", ids=("7",), entities=("organization",), purpose="compare")
    job = office.create(asked)
    office.look()
    office.tell(job.job_id, "done", progress=Progress(last_page=1))
    office.look()
    office.compared(job, 1)

    office.look()

    assert (office.state(job), office.counted) == ("done", [])


def test_paused_one_is_not_ended_and_a_database_made_anew_asks_no_second_time(office: Reconciling) -> None:
    job = office.create(EVERYTHING)
    office.walk(job)
    asyncio.run(office.syncs.act(job.job_id, "pause", ANNA, "compare"))
    for entity in ("organization", "person"):
        for page in (1, 2):
            office.compared(job, page, entity=entity)
    office.look()
    assert (office.state(job), office.counted) == ("paused", [])

    asyncio.run(office.syncs.act(job.job_id, "resume", ANNA, "compare"))
    office.look()
    office.driver = office.another_driver()
    office.look()
    office.look()

    assert [one.entity for one in office.counted] == ["organization", "person"]


def test_sync_and_reconcile_of_a_flow_go_on_beside_each_other_and_are_not_mistaken(office: Reconciling) -> None:
    job, sync = office.create(EVERYTHING), office.create(FULL)

    assert sorted(office.look()) == [("organization", "page"), ("organization", "page")]
    with pytest.raises(Conflict, match=f"reconcile {job.job_id} of flow acme-eu is running"):
        office.create(EVERYTHING)
    with pytest.raises(NotFound, match=f"there is no reconcile {sync.job_id}"):
        office.syncs.get(sync.job_id, "compare")
    with pytest.raises(NotFound, match=f"there is no sync {job.job_id}"):
        asyncio.run(office.syncs.act(job.job_id, "pause", ANNA))


def _ended(office: Reconciling, *differences: Difference, **more: Any) -> SyncJob:
    job = office.create(Asked("acme-eu", "ids", ids=("7",), entities=("organization",), purpose="compare"))
    office.look()
    office.tell(job.job_id, "done", progress=Progress(last_page=1))
    office.look()
    office.forgets(job.job_id)
    office.compared(job, 1, *differences, **more)
    office.look()
    assert office.state(job) == "done"
    return job


def test_causes_are_joined_from_what_is_known_here(office: Reconciling) -> None:
    """A dead letter, an event on its way, one that nobody ever heard of, one that changed since."""
    failed = m.outcome("1:a", "dead_lettered", "organization", "1", generation=Generation(9))
    office.fold(failed, m.letter("1:a", m.record_key("organization", "1"), generation=Generation(9)))
    office.fold(m.received("1:b", "organization", "2"))
    office.fold(m.outcome("1:d", "written", "organization", "4", generation=Generation(9_000)))
    job = _ended(
        office,
        differs("1", "different", "not_sent"),
        differs("2", "different", "not_sent"),
        differs("3", "missing", "never_written"),
        differs("4", "different", "not_sent", updated_ms=9_001),
        differs("5", "different", "edited"),
        unmapped=(Unmapped("6", "no stage"),),
    )

    assert office.lines(job) == [
        ("organization", "1", "different", "dead_letter"),
        ("organization", "2", "different", "waiting"),
        ("organization", "3", "missing", "missed_event"),
        ("organization", "4", "different", "missed_event"),
        ("organization", "5", "different", "edited_in_netsuite"),
        ("organization", "6", "unmapped", "unmapped"),
    ]
    assert [line[1] for line in office.lines(job, Wanted(found="missing"))] == ["3"]
    assert [line[1] for line in office.lines(job, Wanted(cause="missed_event"))] == ["3", "4"]
    assert [line[1] for line in office.lines(job, after=Place(0, 1, 1, 2))] == ["4", "5", "6"]


def test_mapping_that_changed_since_is_told_from_one_that_did_not(office: Reconciling) -> None:
    """The version that the newest state was mapped with decides."""
    version = Generation(9_000)
    for source_id in ("1", "2"):
        office.fold(
            m.resolved(f"1:{source_id}", "organization", source_id, generation=version),
            m.outcome(f"1:{source_id}", "written", "organization", source_id, generation=version),
        )
    changed = {**DOCUMENT, "entities": {"organization": {"record": "customer", "fields": {"companyName": "data.x"}}}}
    job = _ended(office, differs("1", "different", "not_sent", updated_ms=8_000))
    with office.database.read() as connection:
        [same] = lines_of(connection, FLOW, job.job_id, job.entities, Wanted())
        [other] = lines_of(connection, parse_flow(changed), job.job_id, job.entities, Wanted())

    assert [(one.kind, one.certain) for one in same.whys] == [("reference_changed", True)]
    assert [(one.kind, one.certain) for one in other.whys] == [("mapping_changed", True)]


def test_state_that_was_read_is_newer_than_its_generation_says(office: Reconciling) -> None:
    """By five seconds: a change in them is in it, so nobody calls it missed."""
    for source_id, cause in (("1", "syn:j:organization:1"), ("2", "1:b")):
        office.fold(m.outcome(cause, "written", "organization", source_id, generation=Generation(9_000)))
    job = _ended(office, *(differs(one, "different", "not_sent", updated_ms=14_000) for one in ("1", "2")))

    assert [line[3] for line in office.lines(job)] == ["reference_changed", "missed_event"]


def test_fix_re_issues_exactly_what_a_sync_can_mend(office: Reconciling) -> None:
    failed = m.outcome("1:a", "dead_lettered", "organization", "1", generation=Generation(9))
    office.fold(failed, m.letter("1:a", m.record_key("organization", "1"), generation=Generation(9)))
    job = _ended(
        office,
        differs("1", "different", "not_sent"),
        differs("3", "missing", "deleted"),
        differs("5", "different", "edited"),
        differs("8", "extra", "never_written"),
        unmapped=(Unmapped("6", "no stage"),),
    )

    planned = office.fixes.plan(job.job_id)
    made = asyncio.run(office.fixes.create(job.job_id, ANNA))

    assert planned.mending.ids == {"organization": ("3", "5")}
    assert planned.mending.left == {"dead_letter": 1, "extra": 1, "unmapped": 1}
    assert planned.plan is not None
    assert (made.of, made.force, made.purpose, made.each) == (job.job_id, True, "sync", {"organization": ("3", "5")})
    office.look()
    with pytest.raises(Conflict, match=f"sync {made.job_id} mends reconcile {job.job_id}"):
        asyncio.run(office.fixes.create(job.job_id, ANNA))


def test_page_of_a_fix_has_its_ids_and_is_by_force(office: Reconciling) -> None:
    job = _ended(office, differs("5", "different", "edited"))
    asyncio.run(office.fixes.create(job.job_id, ANNA))

    asyncio.run(office.driver.look())

    [(_, _, page)] = office.broker.sent
    assert (page.entity, getattr(page, "ids", ()), getattr(page, "force", False)) == ("organization", ("5",), True)


def test_cancelled_fix_may_be_asked_for_again(office: Reconciling) -> None:
    job = _ended(office, differs("5", "different", "edited"))
    first = asyncio.run(office.fixes.create(job.job_id, ANNA))
    office.act(first, "cancel")

    second = asyncio.run(office.fixes.create(job.job_id, ANNA))

    assert second.of == job.job_id


def test_nothing_is_mended_of_what_is_under_way_or_clean(office: Reconciling) -> None:
    clean = _ended(office)
    assert office.fixes.plan(clean.job_id).plan is None
    with pytest.raises(Conflict, match="nothing that a sync can mend"):
        asyncio.run(office.fixes.create(clean.job_id, ANNA))
    running = office.create(EVERYTHING)

    with pytest.raises(Conflict, match="is running: only what a whole one has found"):
        office.fixes.plan(running.job_id)


def test_old_reports_are_forgotten_and_deleted_from_the_audit(office: Reconciling) -> None:
    job = _ended(office, differs("5", "different", "edited"), at_ms=m.START_MS)
    young = _ended(office, differs("6", "different", "edited"), at_ms=m.START_MS + 1)
    retiring = Retiring(office.database, office.level, office.clock, days=1)
    office.clock.advance((DAY_MS - 1_000_000 + 1) / 1000)

    assert asyncio.run(retiring.look())

    assert office.lines(job) == []
    assert [line[1] for line in office.lines(young)] == ["6"]
    with office.database.read() as connection:
        told = connection.execute(select(outbox).where(outbox.c.topic == "audit", outbox.c.value.is_(None))).all()
    assert [row.key for row in told] == [f"{job.job_id}/compared/organization/1/1"]


def test_pages_of_old_polls_are_forgotten_too(office: Reconciling) -> None:
    old = office.create(POLL)
    office.fold(m.polled(old.job_id, 1), m.polled(old.job_id, 2))
    office.act(old, "cancel", "drift")
    office.clock.advance(1)
    young = office.create(POLL)
    office.fold(m.polled(young.job_id, 1))
    retiring = Retiring(office.database, office.level, office.clock, days=1)
    office.clock.advance(DAY_MS / 1000)

    assert asyncio.run(retiring.look())

    with office.database.read() as connection:
        assert list(connection.scalars(select(polled.c.job_id))) == [young.job_id]
        told = connection.execute(select(outbox).where(outbox.c.topic == "audit", outbox.c.value.is_(None))).all()
    assert [(row.key, row.partition_key) for row in told] == [
        (f"{old.job_id}/polled/{page}", m.ACCOUNT) for page in (1, 2)
    ]


def test_what_a_poll_found_goes_with_the_part_that_told_it(office: Reconciling) -> None:
    given = m.compared("p1.1", differences=(differs("5", "different", "edited"),), drift=True)
    office.fold(given)
    retiring = Retiring(office.database, office.level, office.clock, days=1)
    office.clock.advance(DAY_MS / 1000)
    asyncio.run(retiring.look())
    with office.database.read() as connection:
        [key] = connection.scalars(select(outbox.c.key).where(outbox.c.topic == "audit"))

    office.fold((topics.AUDIT, key.encode(), None, {}))

    with office.database.read() as connection:
        assert connection.execute(select(drift)).all() == []


def test_jobs_that_ended_long_ago_are_forgotten_but_for_the_last(office: Reconciling) -> None:
    """What failed may still go on; another kind of job has its own last ones. Whatever else is forgotten with them."""

    def keep(name: str, state: SyncJobState, purpose: Purpose = "sync", number: int = 0) -> None:
        entry = msgspec.structs.replace(template, job_id=name, state=state, purpose=purpose, created_at_ms=number)
        with office.database.write() as connection:
            put_sync(connection, entry)

    template = office.act(office.create(), "cancel")
    for number in range(JOBS_KEPT + 2):
        keep(f"done{number:03}", "done", number=10 + number)
    for name, state, purpose in (("gone", "cancelled", "sync"), ("stuck", "failed", "sync"), ("poll", "done", "drift")):
        keep(name, cast(SyncJobState, state), cast(Purpose, purpose))

    office.fold(m.compared("r0", at_ms=1))

    assert asyncio.run(Retiring(office.database, office.level, office.clock, days=1).look())

    with office.database.read() as connection:
        left = set(connection.scalars(select(sync.c.job_id)))
        keys = connection.scalars(
            select(outbox.c.key).where(outbox.c.topic == topics.JOBS.name, outbox.c.value.is_(None))
        )
    assert sorted(keys) == ["sync/done000", "sync/done001", "sync/gone"]
    assert left == {f"done{number:03}" for number in range(2, JOBS_KEPT + 2)} | {"stuck", "poll", template.job_id}
