"""/syncs: bring NetSuite up to what Pipedrive holds; say what that costs, watch it, pause, go on, cancel."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import and_, or_, select

from ml_connector.admin.api import models as m
from ml_connector.admin.api.dead_letters import behind
from ml_connector.admin.api.flows import Why
from ml_connector.admin.api.problems import answers
from ml_connector.admin.api.services import Given, Operator, Services, Viewer
from ml_connector.admin.changing import Said
from ml_connector.admin.look.letters import make_cursor, read_cursor
from ml_connector.admin.sync.ask import MAX_IDS, Asked
from ml_connector.admin.sync.control import UnderWay, walks_of
from ml_connector.admin.sync.cost import Plan
from ml_connector.admin.sync.known import Outcomes, outcomes_of
from ml_connector.admin.sync.progress import Step, Stretch, left_of, stretches_of
from ml_connector.admin.tables import sync
from ml_connector.common.keys import Entity
from ml_connector.common.sync_job import SyncJob, SyncJobState, SyncMode
from ml_connector.common.wire import ActKind

router = APIRouter(prefix="/syncs", tags=["syncs"])

Id = Annotated[str, Path(pattern=r"^[0-9a-f]{12}$", examples=["41c7d09ab2f5"])]
_ACTS: dict[str, ActKind] = {"pause": "sync.pause", "resume": "sync.resume", "cancel": "sync.cancel"}


class NewSync(m.In):
    """What is read: all (`full`), what changed (`since`), or some objects of one entity (`ids`)."""

    flow: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$", examples=["acme-eu"])]
    mode: SyncMode
    since: Annotated[
        str, Field(max_length=40, description="a time in RFC 3339, or so long ago: 30m, 2h, 7d", examples=["2h"])
    ] = ""
    until: Annotated[str, Field(max_length=40, description="before this; as `since`")] = ""
    entities: Annotated[tuple[Entity, ...], Field(max_length=3, description="empty: all that the flow maps")] = ()
    ids: Annotated[
        tuple[Annotated[str, Field(max_length=19)], ...], Field(description=f"Pipedrive's; at most {MAX_IDS}")
    ] = ()
    token_share: Annotated[
        float,
        Field(gt=0, le=1, description="a page is read only while all that was spent in 24 hours is within this share"),
    ] = 0.5
    force: Annotated[bool, Field(description="write also what NetSuite is known to hold already")] = False
    stop_after: Annotated[int, Field(ge=0, le=2**31 - 1, description="pause after so many rejected; 0: never")] = 0
    reason: Why = ""
    dry_run: Annotated[bool, Field(description="only say what it will cost")] = False

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"flow": "acme-eu", "mode": "full", "dry_run": True}]}
    )


class EntityCost(BaseModel):
    """What one entity costs."""

    entity: Entity
    objects: int
    bound: Annotated[
        Literal["at_least", "at_most"], Field(description="what the numbers of objects, calls and tokens are")
    ]
    calls: int
    tokens: int
    netsuite_requests: Annotated[int, Field(description="at most, for these objects")]
    unchanged: Annotated[int, Field(description="objects whose last state was written: no request unless it changed")]
    netsuite_s: float
    netsuite_s_at_most: float


class SyncPlan(BaseModel):
    """Before it starts. `seconds`: what was written and did not change costs no request; `seconds_at_most`: all did."""

    entities: list[EntityCost]
    tokens: int
    tokens_a_day: Annotated[int, Field(description="up to which a day's tokens may be spent")]
    seconds: float
    seconds_at_most: float
    rests_on: Annotated[list[str], Field(description="what is measured, and what is assumed")]
    warnings: list[str]


class Walk(BaseModel):
    """How far one entity is. `read` = `desired` + `rejected`."""

    entity: Entity
    state: Step
    pages: int
    read: int
    desired: int
    rejected: int
    tokens: int
    restarts: Annotated[int, Field(description="from the first page: Pipedrive refused the cursor")]
    faults: Annotated[dict[str, int], Field(description="why objects were rejected: the most frequent reasons")]
    started_at: datetime | None
    ended_at: datetime | None
    rate_per_s: Annotated[float | None, Field(description="objects, since its walk began")]
    waits: Annotated[str, Field(description="what for; empty: for nothing")]
    waits_until: datetime | None


class Sync(BaseModel):
    """`done`: all is read and on its way to NetSuite; `settled`: nothing of that moves any more."""

    id: str
    flow: str
    state: SyncJobState
    why: Annotated[str, Field(description="it failed or is paused, if nobody asked for that")]
    reason: str
    actor: str
    created_at: datetime | None
    changed_at: datetime | None
    mode: SyncMode
    since: Annotated[str, Field(description="from when on it reads: a minute before what was asked for")]
    until: str
    ids: Annotated[list[str], Field(description="the first hundred")]
    token_share: float
    force: bool
    stop_after: int
    plan: SyncPlan
    walks: Annotated[list[Walk], Field(description="in order: parents first")]
    seconds_left: Annotated[float | None, Field(description="null: it cannot be said")]
    rests_on: Annotated[str, Field(description="what `seconds_left` rests on, or why it is null")]
    outcomes: Annotated[
        dict[str, int],
        Field(
            description="of its objects; not in lists. `behind_letters`: they wait for a parent that is a dead letter",
            examples=[{"written": 40, "waiting": 2, "behind_letters": 0}],
        ),
    ]
    settled: bool


class Syncs(BaseModel):
    syncs: list[Sync]
    next: str | None
    behind: m.Behind


class Begun(BaseModel):
    """What it will cost, and (unless that was all that was asked) the sync."""

    plan: SyncPlan
    sync: Sync | None


class SyncReason(m.In):
    """Kept with the act."""

    reason: Why = ""


class SyncQuery(m.In):
    state: SyncJobState | None = None
    flow: Annotated[str | None, Field(max_length=63)] = None
    cursor: m.Cursor = None
    limit: m.Limit = 50


@router.post(
    "",
    status_code=201,
    responses={200: {"model": Begun, "description": "a dry run: nothing was started"}, **answers(404, 409)},
)
async def create(given: Given, actor: Operator, body: NewSync, response: Response) -> Begun:
    """Start it; with `dry_run` only say what it will cost. A flow has one sync at a time: 409 names the other."""
    asked = Asked(**body.model_dump(exclude={"reason", "dry_run"}))
    if body.dry_run:
        response.status_code = 200
        return Begun(plan=_plan(await asyncio.to_thread(given.syncs.plan, asked)), sync=None)
    made = await given.syncs.create(asked, Said(actor, body.reason))
    await given.outbox.publish()
    found = await asyncio.to_thread(_told, given, UnderWay(made, {}))
    return Begun(plan=found.plan, sync=found)


@router.get("", responses=answers())
def list_syncs(given: Given, _: Viewer, query: Annotated[SyncQuery, Query()]) -> Syncs:
    """Newest first."""
    conditions = [] if query.state is None else [sync.c.state == query.state]
    if query.flow is not None:
        conditions.append(sync.c.flow == query.flow)
    if query.cursor is not None:
        at_ms, after = read_cursor(query.cursor)
        conditions.append(or_(sync.c.created_at_ms < at_ms, and_(sync.c.created_at_ms == at_ms, sync.c.job_id < after)))
    wanted = select(sync.c.value).where(*conditions).order_by(sync.c.created_at_ms.desc(), sync.c.job_id.desc())
    with given.database.read() as connection:
        found = [SyncJob.decode(value) for value in connection.scalars(wanted.limit(query.limit + 1))]
        walks = walks_of(connection, [one.job_id for one in found])
    shown = found[: query.limit]
    return Syncs(
        syncs=[_sync(UnderWay(one, walks[one.job_id])) for one in shown],
        next=make_cursor(shown[-1].created_at_ms, shown[-1].job_id) if len(found) > query.limit else None,
        behind=behind(given),
    )


@router.get("/{job_id}", responses=answers(404))
def show(given: Given, _: Viewer, job_id: Id) -> Sync:
    """How far it is, how long it may still take, and what became of its objects."""
    return _told(given, given.syncs.get(job_id))


@router.post("/{job_id}/{act}", responses=answers(404, 409))
async def change(
    given: Given, actor: Operator, job_id: Id, act: Literal["pause", "resume", "cancel"], body: SyncReason
) -> Sync:
    """`pause` before the next page; `resume`, also what has failed; `cancel`. What was read is still written."""
    await given.syncs.act(job_id, _ACTS[act], Said(actor, body.reason))
    await given.outbox.publish()
    return await asyncio.to_thread(lambda: _told(given, given.syncs.get(job_id)))


def _told(given: Services, one: UnderWay) -> Sync:
    seen = given.materializer.behind().age_s
    with given.database.read() as connection:
        outcomes = outcomes_of(connection, one.job.job_id)
    seen_ms = None if seen is None else given.clock.now_ms() - seen * 1000
    return _sync(one, outcomes, settled=seen_ms is not None and _settled(one.job, outcomes, seen_ms))


def _settled(job: SyncJob, outcomes: Outcomes, seen_ms: float) -> bool:
    """All that it had told of its objects when it ended is known here."""
    return job.state in {"done", "cancelled"} and not outcomes.waiting and seen_ms > job.changed_at_ms


def _sync(one: UnderWay, outcomes: Outcomes | None = None, *, settled: bool = False) -> Sync:
    job = one.job
    stretches = stretches_of(job, one.walks)
    left = left_of(job, stretches)
    same = ("flow", "state", "why", "reason", "actor", "mode", "since", "until", "token_share", "force", "stop_after")
    counts = (
        {}
        if outcomes is None
        else {**outcomes.counts, "waiting": outcomes.waiting, "behind_letters": outcomes.behind_letters}
    )
    return Sync(
        id=job.job_id,
        created_at=m.at(job.created_at_ms),
        changed_at=m.at(job.changed_at_ms),
        ids=list(job.ids[:100]),
        plan=_kept_plan(job.plan),
        walks=[_walk(stretch) for stretch in stretches],
        seconds_left=left.seconds,
        rests_on=left.rests_on,
        outcomes=counts,
        settled=settled,
        **{name: getattr(job, name) for name in same},
    )


def _walk(stretch: Stretch) -> Walk:
    progress = stretch.progress
    same = ("pages", "read", "desired", "rejected", "tokens", "restarts", "faults")
    return Walk(
        entity=stretch.entity,
        state=stretch.state,
        started_at=m.at(stretch.started_at_ms),
        ended_at=m.at(stretch.ended_at_ms),
        rate_per_s=stretch.rate_per_s,
        waits=stretch.waits,
        waits_until=m.at(stretch.until_ms),
        **{name: getattr(progress, name) for name in same},
    )


def _plan(plan: Plan) -> SyncPlan:
    return _kept_plan(asdict(plan))


def _kept_plan(plan: dict[str, Any]) -> SyncPlan:
    return SyncPlan(**{**plan, "tokens": sum(one["tokens"] for one in plan["entities"])})
