"""What can be done with a sync or a reconcile: say what it costs, start it, pause, go on, cancel, note how far it is.

Each is one transaction: the job's next version, the act, and the messages that tell of both. A flow has one of
either at a time: two walks over the same objects would only spend tokens twice.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict
from typing import Final, Literal, NamedTuple, cast

import msgspec
from sqlalchemy import Connection, and_, or_, select

from ml_connector.admin.acts import record_act
from ml_connector.admin.changing import LEVEL_S, Level, Said, alone
from ml_connector.admin.database import Database
from ml_connector.admin.flows.look import find
from ml_connector.admin.flows.stops import read_stops_of
from ml_connector.admin.replay.control import Conflict, NotFound, tell
from ml_connector.admin.sync.ask import Asked, Scope, scope_of
from ml_connector.admin.sync.cost import Plan, Terms, plan_of
from ml_connector.admin.sync.decide import Walks, current_of, window_of
from ml_connector.admin.sync.keep import put_sync
from ml_connector.admin.sync.known import known_of
from ml_connector.admin.tables import sync, sync_walk
from ml_connector.common import topics
from ml_connector.common.clock import Clock, Deadline
from ml_connector.common.errors import BadInput
from ml_connector.common.flows import Flow, mapping_digest
from ml_connector.common.sync_job import NOUN, SyncJob, SyncJobState, sync_job_key
from ml_connector.common.syncing import Purpose, SyncState
from ml_connector.common.wire import ActKind

Verb = Literal["pause", "resume", "cancel"]

LIVE: Final[tuple[SyncJobState, ...]] = ("running", "paused")

# From which states each act is possible, and where it leads.
_ACTS: Final[dict[Verb, tuple[frozenset[SyncJobState], SyncJobState]]] = {
    "pause": (frozenset({"running"}), "paused"),
    "resume": (frozenset({"paused", "failed"}), "running"),
    "cancel": (frozenset({"running", "paused", "failed"}), "cancelled"),
}


class UnderWay(NamedTuple):
    """A job, and the states of its walks that the owner still keeps."""

    job: SyncJob
    walks: Walks


class _Checked(NamedTuple):
    scope: Scope
    flow: Flow
    plan: Plan | None  # of a poll nobody can say what it costs before NetSuite has said what changed


class Syncs:
    """The jobs as SQL has them. What is not `async` blocks: the event loop calls it in threads."""

    def __init__(self, database: Database, level: Level, clock: Clock) -> None:
        self._database = database
        self._level = level
        self._clock = clock

    def plan(self, asked: Asked) -> Plan:
        """Raises NotFound, BadInput; Conflict when the flow has one of its kind already."""
        with self._database.read() as connection:
            checked = _check(connection, asked, self._clock.now_ms())
            _refuse_second(connection, asked.flow, asked.purpose)
        if checked.plan is None:
            raise BadInput("nobody can say what a poll costs before it has begun")
        return checked.plan

    async def create(self, asked: Asked, said: Said) -> SyncJob:
        """It runs from now on. Raises as `plan`; TryLater while the topic is not read to its end."""
        await self._level.until_level(Deadline.after(self._clock, LEVEL_S), of=topics.JOBS)
        return await alone(self._database, lambda connection: self.begin(connection, asked, said))

    def begin(self, connection: Connection, asked: Asked, said: Said) -> SyncJob:
        """Within a transaction of `alone`. Raises as `plan`, before anything is written."""
        now_ms = self._clock.now_ms()
        checked = _check(connection, asked, now_ms)
        _refuse_second(connection, asked.flow, asked.purpose)
        since, until = window_of(checked.scope.since_ms, checked.scope.until_ms)
        entry = SyncJob(
            job_id=uuid.uuid4().hex[:12],
            version=1,
            flow=asked.flow,
            company=checked.flow.pipedrive.company,
            account=checked.flow.netsuite.account,
            state="running",
            created_at_ms=now_ms,
            changed_at_ms=now_ms,
            actor=said.by.subject,
            reason=said.reason,
            mode=asked.mode,
            entities=checked.scope.entities,
            since=since,
            until=until,
            ids=checked.scope.ids,
            each={str(entity): ids for entity, ids in checked.scope.each.items()},
            purpose=asked.purpose,
            of=asked.of,
            token_share=asked.token_share,
            force=asked.force,
            stop_after=asked.stop_after,
            covers=asked.covers,
            mapping=asked.mapping or (mapping_digest(checked.flow) if asked.mode == "full" else ""),
            plan={} if checked.plan is None else asdict(checked.plan),
        )
        _keep(connection, entry)
        detail = {"flow": entry.flow, "mode": entry.mode, "entities": list(entry.entities)}
        detail |= {"of": entry.of} if entry.of else {}
        _note_act(connection, "create", entry, said, now_ms, detail)
        return entry

    async def act(self, job_id: str, what: Verb, said: Said, purpose: Purpose = "sync") -> SyncJob:
        """Raises NotFound, Conflict, TryLater."""
        await self._level.until_level(Deadline.after(self._clock, LEVEL_S), of=topics.JOBS)
        return await alone(self._database, lambda connection: self._act(connection, job_id, what, said, purpose))

    def _act(self, connection: Connection, job_id: str, what: Verb, said: Said, purpose: Purpose) -> SyncJob:
        possible, state = _ACTS[what]
        before = read_sync(connection, job_id, purpose)
        if before.state not in possible:
            raise Conflict(f"{NOUN[purpose]} {job_id} is {before.state}: {what} is not possible now")
        if state == "running":
            _refuse_second(connection, before.flow, purpose, but=job_id)
        now_ms = self._clock.now_ms()
        answered_ms = _stopped_ms(connection, before) if state == "running" else before.answered_ms
        after = _next(connection, before, now_ms, {"state": state, "why": "", "answered_ms": answered_ms})
        _note_act(connection, what, after, said, now_ms, {"flow": after.flow})
        return after

    async def note(self, job: SyncJob, change: Mapping[str, object]) -> None:
        """What follows from how far the walks are; not if somebody has changed the job since it was read."""

        def write(connection: Connection) -> None:
            before = read_sync(connection, job.job_id)
            if before.version == job.version:
                _next(connection, before, self._clock.now_ms(), change)

        await alone(self._database, write)

    def get(self, job_id: str, purpose: Purpose = "sync") -> UnderWay:
        """Raises NotFound."""
        with self._database.read() as connection:
            return UnderWay(read_sync(connection, job_id, purpose), walks_of(connection, [job_id])[job_id])

    def under_way(self) -> list[UnderWay]:
        """Those that are not over, and those whose walks the owner still keeps. Oldest first."""
        kept = select(sync_walk.c.job_id)
        wanted = select(sync.c.value).where(or_(sync.c.state.in_(LIVE), sync.c.job_id.in_(kept)))
        with self._database.read() as connection:
            jobs = [SyncJob.decode(value) for value in connection.scalars(wanted.order_by(sync.c.created_at_ms))]
            walks = walks_of(connection, [one.job_id for one in jobs])
        return [UnderWay(one, walks[one.job_id]) for one in jobs]


def read_sync(connection: Connection, job_id: str, purpose: Purpose | None = None) -> SyncJob:
    """Raises NotFound, also for a job of another purpose than this."""
    value = connection.scalar(select(sync.c.value).where(sync.c.job_id == job_id))
    found = None if value is None else SyncJob.decode(value)
    if found is None or purpose not in {None, found.purpose}:
        raise NotFound(f"there is no {NOUN[purpose or 'sync']} {job_id}")
    return found


def walks_of(connection: Connection, job_ids: list[str]) -> Mapping[str, Walks]:
    """By job and entity."""
    found: dict[str, dict[str, SyncState]] = defaultdict(dict)
    for row in connection.execute(select(sync_walk).where(sync_walk.c.job_id.in_(job_ids))):
        found[row.job_id][row.entity] = SyncState.decode(row.value)
    return found


def _check(connection: Connection, asked: Asked, now_ms: int) -> _Checked:
    """Raises NotFound, BadInput; InvalidFlow when this release would not take the document any more."""
    known = find(connection, asked.flow)
    flow = known.version.read()
    scope = scope_of(asked, flow, now_ms)
    if asked.purpose == "drift":
        return _Checked(scope, flow, None)
    stops = [
        f"{one.subject.replace('/', ' ', 1)} is {one.state} ({one.reason})"
        for one in read_stops_of(connection, known.version)
    ]
    terms = Terms(asked.token_share, asked.purpose, force=asked.force, paused=known.active.paused, stops=stops)
    return _Checked(scope, flow, plan_of(scope, flow, known_of(connection, scope, flow), terms))


def _refuse_second(connection: Connection, flow: str, purpose: Purpose, *, but: str = "") -> None:
    of_flow = and_(sync.c.state.in_(LIVE), sync.c.flow == flow, sync.c.purpose == purpose)
    other = connection.execute(select(sync.c.job_id, sync.c.state).where(of_flow, sync.c.job_id != but)).first()
    if other is not None:
        noun = NOUN[purpose]
        raise Conflict(f"{noun} {other.job_id} of flow {flow} is {other.state}: wait for its end, or cancel it")


def _stopped_ms(connection: Connection, job: SyncJob) -> int:
    """Of the walk that stands still now: who resumes has seen that."""
    walk = walks_of(connection, [job.job_id])[job.job_id].get(current_of(job) or "")
    return job.answered_ms if walk is None else walk.changed_at_ms


def _next(connection: Connection, before: SyncJob, now_ms: int, change: Mapping[str, object]) -> SyncJob:
    after: SyncJob = msgspec.structs.replace(before, version=before.version + 1, changed_at_ms=now_ms, **change)
    _keep(connection, after)
    return after


def _keep(connection: Connection, entry: SyncJob) -> None:
    put_sync(connection, entry)
    tell(connection, sync_job_key(entry.job_id), entry.encode())


def _note_act(
    connection: Connection, what: str, job: SyncJob, said: Said, now_ms: int, detail: Mapping[str, object]
) -> None:
    kind = cast(ActKind, f"{NOUN[job.purpose]}.{what}")
    record_act(connection, kind, by=said.by, now_ms=now_ms, reason=said.reason, targets=[job.job_id], detail=detail)
