"""/reconciles: compare NetSuite with what Pipedrive holds, see what differs and why, mend it."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import asdict
from typing import Annotated, Final

from fastapi import APIRouter, Path, Query, Response

from ml_connector.admin.api import models as m
from ml_connector.admin.api import reconcile_models as r
from ml_connector.admin.api import sync_models as s
from ml_connector.admin.api.dead_letters import behind
from ml_connector.admin.api.problems import answers
from ml_connector.admin.api.services import Given, Operator, Services, Viewer
from ml_connector.admin.api.syncs import page_of, plan_of, walk_of
from ml_connector.admin.changing import Said
from ml_connector.admin.flows.look import find
from ml_connector.admin.reconcile.finish import stage_of
from ml_connector.admin.reconcile.fix import mended_by
from ml_connector.admin.reconcile.mend import HELPS
from ml_connector.admin.reconcile.report import Line, Place, Wanted, causes_of, lines_of
from ml_connector.admin.reconcile.told import Told, told_of
from ml_connector.admin.reconcile.why import TEXTS
from ml_connector.admin.sync.ask import Asked
from ml_connector.admin.sync.control import UnderWay, Verb
from ml_connector.admin.sync.decide import current_of
from ml_connector.admin.sync.progress import left_of, stretches_of
from ml_connector.common.keys import Entity
from ml_connector.common.sync_job import SyncJob

router = APIRouter(prefix="/reconciles", tags=["reconciles"])

CAUSES_OF: Final = 5_000  # records whose causes are looked for, each time somebody looks at one that does not run

Id = Annotated[str, Path(pattern=r"^[0-9a-f]{12}$", examples=["9f2c7d09ab41"])]


@router.post(
    "",
    status_code=201,
    responses={200: {"model": r.ReconcileBegun, "description": "a dry run: nothing was started"}, **answers(404, 409)},
)
async def create(given: Given, actor: Operator, body: r.NewReconcile, response: Response) -> r.ReconcileBegun:
    """Start it; with `dry_run` only say what it will cost. A flow has one at a time: 409 names the other."""
    asked = Asked(
        mode="ids" if body.ids else "full", purpose="compare", **body.model_dump(exclude={"reason", "dry_run"})
    )
    if body.dry_run:
        response.status_code = 200
        plan = await asyncio.to_thread(given.syncs.plan, asked)
        return r.ReconcileBegun(plan=plan_of(asdict(plan)), reconcile=None)
    made = await given.syncs.create(asked, Said(actor, body.reason))
    await given.outbox.publish()
    found = await asyncio.to_thread(_told, given, UnderWay(made, {}))
    return r.ReconcileBegun(plan=found.plan, reconcile=found)


@router.get("", responses=answers(404))
def list_reconciles(given: Given, _: Viewer, query: Annotated[s.SyncQuery, Query()]) -> r.Reconciles:
    """Newest first."""
    shown, after = page_of(given, query, "compare")
    return r.Reconciles(reconciles=[_reconcile(one) for one in shown], next=after, behind=behind(given))


@router.get("/{job_id}", responses=answers(404))
def show(given: Given, _: Viewer, job_id: Id) -> r.Reconcile:
    """How far it is, and what was found so far."""
    return _told(given, given.syncs.get(job_id, "compare"))


@router.get("/{job_id}/results", responses=answers(404))
def results(given: Given, _: Viewer, job_id: Id, query: Annotated[r.ResultQuery, Query()]) -> r.Results:
    """Every record that is not as it should be, with both values of each field and the causes as they show now."""
    job = given.syncs.get(job_id, "compare").job
    after = None if query.cursor is None else Place.parse(query.cursor)
    wanted = Wanted(query.entity, query.found, query.cause)
    with given.database.read() as connection:
        flow = find(connection, job.flow).version.read()
        lines = lines_of(connection, flow, job_id, job.entities, wanted, after)
        found = list(itertools.islice(lines, query.limit + 1))
    shown = found[: query.limit]
    return r.Results(
        results=[_result(line) for line in shown],
        next=str(shown[-1].place) if len(found) > query.limit else None,
    )


@router.post(
    "/{job_id}/fix",
    status_code=201,
    responses={200: {"model": r.Fix, "description": "nothing was started"}, **answers(404, 409)},
)
async def fix(given: Given, actor: Operator, job_id: Id, body: r.NewFix, response: Response) -> r.Fix:
    """Sync by force exactly what differs and a sync can mend. Once for each reconcile: then 409 names the sync."""
    planned = await asyncio.to_thread(given.fixes.plan, job_id)
    made = None
    if planned.plan is None or body.dry_run:
        response.status_code = 200
    else:
        made = await given.fixes.create(job_id, Said(actor, body.reason))
        await given.outbox.publish()
    flow = (await asyncio.to_thread(given.syncs.get, job_id, "compare")).job.flow
    return r.Fix(
        mends={entity: len(ids) for entity, ids in planned.mending.ids.items()},
        left=[
            r.Left(why=reason, records=count, helps=HELPS[reason].replace("FLOW", flow))
            for reason, count in planned.mending.left.items()
        ],
        plan=None if planned.plan is None else plan_of(asdict(planned.plan)),
        sync="" if made is None else made.job_id,
    )


@router.post("/{job_id}/{act}", responses=answers(404, 409))
async def change(given: Given, actor: Operator, job_id: Id, act: Verb, body: s.SyncReason) -> r.Reconcile:
    """`pause` before the next page; `resume`, also what has failed; `cancel`."""
    await given.syncs.act(job_id, act, Said(actor, body.reason), "compare")
    await given.outbox.publish()
    return await asyncio.to_thread(lambda: _told(given, given.syncs.get(job_id, "compare")))


def _told(given: Services, one: UnderWay) -> r.Reconcile:
    job = one.job
    with given.database.read() as connection:
        told = {entity: told_of(connection, job.job_id, entity) for entity in job.entities}
        flow = find(connection, job.flow).version.read()
        lines = lines_of(connection, flow, job.job_id, job.entities, Wanted())
        causes = causes_of(itertools.islice(lines, 0 if job.state == "running" else CAUSES_OF))
        waits, over = stage_of(connection, job).waits_for if _is_read(job) else "", job.state != "running"
        found = _reconcile(one, waits="" if over else waits, mended_by=mended_by(connection, job.job_id))
    forgotten = job.state == "done" and bool(waits)
    update = {
        "results": [_entity(job, entity, one_told) for entity, one_told in told.items()],
        "causes": [
            r.CauseCount(
                entity=entity,
                found=what,
                cause=None if because is None else because.kind,
                certain=because is not None and because.certain,
                records=count,
            )
            for (entity, what, because), count in causes.most_common()
        ],
        "causes_of": causes.total(),
        "forgotten": forgotten,
        "clean": None
        if forgotten or job.state != "done"
        else not any(one.found or one.failed for one in told.values()),
    }
    return found.model_copy(update=update)


def _is_read(job: SyncJob) -> bool:
    return current_of(job) is None


def _entity(job: SyncJob, entity: Entity, told: Told) -> r.EntityResult:
    same = ("records", "equal", "found", "failed", "not_comparable")
    held = told.held if 0 in told.pages else None
    return r.EntityResult(entity=entity, held=held, **{name: getattr(told, name) for name in same})


def _reconcile(one: UnderWay, *, waits: str = "", mended_by: str = "") -> r.Reconcile:
    job = one.job
    stretches = stretches_of(job, one.walks)
    left = left_of(job, stretches)
    same = ("flow", "state", "why", "reason", "actor", "mode", "token_share")
    return r.Reconcile(
        id=job.job_id,
        created_at=m.at(job.created_at_ms),
        changed_at=m.at(job.changed_at_ms),
        ids=list(job.ids[:100]),
        plan=plan_of(job.plan),
        walks=[walk_of(stretch) for stretch in stretches],
        seconds_left=None if waits else left.seconds,
        rests_on=waits or left.rests_on,
        waits=waits,
        results=[],
        causes=[],
        causes_of=0,
        clean=None,
        forgotten=False,
        mended_by=mended_by,
        **{name: getattr(job, name) for name in same},
    )


def _result(line: Line) -> r.Result:
    one = line.difference
    return r.Result(
        entity=line.entity,
        source_id=one.source_id,
        external_id=one.external_id,
        netsuite_id=one.internal_id,
        found=line.found,
        causes=[r.Because(cause=why.kind, certain=why.certain, text=TEXTS[why.kind]) for why in line.whys],
        fields=[
            r.FieldResult(field=field.field, should=field.should, holds=field.holds, cut=field.cut)
            for field in one.fields
        ],
        reason=one.reason,
        modified=one.modified,
        written_at=m.at(one.written_at_ms),
        dead_letter=line.letter_id,
    )
