"""/syncs: bring NetSuite up to what Pipedrive holds; say what that costs, watch it, pause, go on, cancel."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from sqlalchemy import select

from ml_connector.admin.api import models as m
from ml_connector.admin.api import sync_models as s
from ml_connector.admin.api.dead_letters import behind
from ml_connector.admin.api.problems import answers
from ml_connector.admin.api.services import Given, Operator, Services, Viewer
from ml_connector.admin.changing import Said
from ml_connector.admin.flows.look import refuse_unknown
from ml_connector.admin.look.pages import cut, newest_first
from ml_connector.admin.sync.ask import Asked
from ml_connector.admin.sync.control import UnderWay, Verb, walks_of
from ml_connector.admin.sync.known import Outcomes, outcomes_of
from ml_connector.admin.sync.progress import Stretch, left_of, stretches_of
from ml_connector.admin.tables import sync
from ml_connector.common.sync_job import SyncJob
from ml_connector.common.syncing import Purpose

router = APIRouter(prefix="/syncs", tags=["syncs"])

Id = Annotated[str, Path(pattern=r"^[0-9a-f]{12}$", examples=["41c7d09ab2f5"])]


@router.post(
    "",
    status_code=201,
    responses={200: {"model": s.Begun, "description": "a dry run: nothing was started"}, **answers(404, 409)},
)
async def create(given: Given, actor: Operator, body: s.NewSync, response: Response) -> s.Begun:
    """Start it; with `dry_run` only say what it will cost. A flow has one sync at a time: 409 names the other."""
    asked = Asked(**body.model_dump(exclude={"reason", "dry_run"}))
    if body.dry_run:
        response.status_code = 200
        return s.Begun(plan=plan_of(asdict(await asyncio.to_thread(given.syncs.plan, asked))), sync=None)
    made = await given.syncs.create(asked, Said(actor, body.reason))
    await given.outbox.publish()
    found = await asyncio.to_thread(_told, given, UnderWay(made, {}))
    return s.Begun(plan=found.plan, sync=found)


@router.get("", responses=answers(404))
def list_syncs(given: Given, _: Viewer, query: Annotated[s.SyncQuery, Query()]) -> s.Syncs:
    """Newest first."""
    shown, after = page_of(given, query, "sync")
    return s.Syncs(syncs=[_sync(one) for one in shown], next=after, behind=behind(given))


def page_of(given: Services, query: s.SyncQuery, purpose: Purpose) -> tuple[list[UnderWay], str | None]:
    """Jobs of this purpose, newest first, and the cursor of those that follow."""
    conditions = [sync.c.purpose == purpose]
    conditions += [] if query.state is None else [sync.c.state == query.state]
    conditions += [] if query.flow is None else [sync.c.flow == query.flow]
    wanted = select(sync.c.value).where(*conditions)
    wanted = newest_first(wanted, sync.c.created_at_ms, sync.c.job_id, cursor=query.cursor, limit=query.limit)
    with given.database.read() as connection:
        refuse_unknown(connection, query.flow)
        found = [SyncJob.decode(value) for value in connection.scalars(wanted)]
        shown, after = cut(found, query.limit, lambda one: (one.created_at_ms, one.job_id))
        walks = walks_of(connection, [one.job_id for one in shown])
    return [UnderWay(one, walks[one.job_id]) for one in shown], after


@router.get("/{job_id}", responses=answers(404))
def show(given: Given, _: Viewer, job_id: Id) -> s.Sync:
    """How far it is, how long it may still take, and what became of its objects."""
    return _told(given, given.syncs.get(job_id))


@router.post("/{job_id}/{act}", responses=answers(404, 409))
async def change(given: Given, actor: Operator, job_id: Id, act: Verb, body: s.SyncReason) -> s.Sync:
    """`pause` before the next page; `resume`, also what has failed; `cancel`. What was read is still written."""
    await given.syncs.act(job_id, act, Said(actor, body.reason))
    await given.outbox.publish()
    return await asyncio.to_thread(lambda: _told(given, given.syncs.get(job_id)))


def _told(given: Services, one: UnderWay) -> s.Sync:
    seen = given.materializer.behind().age_s
    with given.database.read() as connection:
        outcomes = outcomes_of(connection, one.job.job_id)
    seen_ms = None if seen is None else given.clock.now_ms() - seen * 1000
    return _sync(one, outcomes, settled=seen_ms is not None and _settled(one.job, outcomes, seen_ms))


def _settled(job: SyncJob, outcomes: Outcomes, seen_ms: float) -> bool:
    """All that it had told of its objects when it ended is known here."""
    return job.state in {"done", "cancelled"} and not outcomes.waiting and seen_ms > job.changed_at_ms


def _sync(one: UnderWay, outcomes: Outcomes | None = None, *, settled: bool = False) -> s.Sync:
    job = one.job
    stretches = stretches_of(job, one.walks)
    left = left_of(job, stretches)
    same = (
        "flow",
        "state",
        "why",
        "reason",
        "actor",
        "mode",
        "of",
        "since",
        "until",
        "token_share",
        "force",
        "stop_after",
    )
    counts = (
        {}
        if outcomes is None
        else {**outcomes.counts, "waiting": outcomes.waiting, "behind_letters": outcomes.behind_letters}
    )
    return s.Sync(
        id=job.job_id,
        created_at=m.at(job.created_at_ms),
        changed_at=m.at(job.changed_at_ms),
        ids=list(job.ids[:100]),
        each={entity: len(ids) for entity, ids in job.each.items()},
        plan=plan_of(job.plan),
        walks=[walk_of(stretch) for stretch in stretches],
        seconds_left=left.seconds,
        rests_on=left.rests_on,
        outcomes=counts,
        settled=settled,
        **{name: getattr(job, name) for name in same},
    )


def walk_of(stretch: Stretch) -> s.Walk:
    progress = stretch.progress
    same = ("pages", "read", "desired", "rejected", "tokens", "restarts", "faults")
    return s.Walk(
        entity=stretch.entity,
        state=stretch.state,
        started_at=m.at(stretch.started_at_ms),
        ended_at=m.at(stretch.ended_at_ms),
        rate_per_s=stretch.rate_per_s,
        waits=stretch.waits,
        waits_until=m.at(stretch.until_ms),
        **{name: getattr(progress, name) for name in same},
    )


def plan_of(plan: dict[str, Any]) -> s.SyncPlan:
    return s.SyncPlan(**{**plan, "tokens": sum(one["tokens"] for one in plan["entities"])})
