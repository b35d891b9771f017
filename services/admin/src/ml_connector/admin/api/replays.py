"""/replays: make one, watch it, pause, go on, cancel."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from sqlalchemy import Connection, RowMapping, select

from ml_connector.admin.api import replay_models as m
from ml_connector.admin.api.dead_letters import behind
from ml_connector.admin.api.models import at
from ml_connector.admin.api.previews import previewed
from ml_connector.admin.api.problems import answers
from ml_connector.admin.api.services import Given, Operator, Viewer
from ml_connector.admin.look.pages import cut, newest_first
from ml_connector.admin.replay.control import Options
from ml_connector.admin.replay.run import counts_of
from ml_connector.admin.tables import dead_letter as letter
from ml_connector.admin.tables import job, job_item
from ml_connector.common.wire import ActKind, Preview, ReplayJob

router = APIRouter(prefix="/replays", tags=["replays"])

Id = Annotated[str, Path(pattern=r"^[0-9a-f]{12}$", examples=["9d2f77a01c3e"])]
_ACTS: dict[str, ActKind] = {"start": "replay.start", "pause": "replay.pause", "cancel": "replay.cancel"}


@router.post("", status_code=201, responses=answers())
async def create(given: Given, actor: Operator, body: m.NewReplay) -> m.Replay:
    """Freeze a selection of dead letters and issue each again, oldest first per record."""
    options = Options(**body.model_dump(exclude={"selection", "reason"}))
    made = await asyncio.to_thread(given.replays.create, body.selection, options, by=actor, reason=body.reason)
    await given.outbox.publish()
    return await asyncio.to_thread(_told, given, made)


@router.get("", responses=answers())
def list_replays(given: Given, _: Viewer, query: Annotated[m.ReplayQuery, Query()]) -> m.Replays:
    """Newest first."""
    wanted = select(job.c.value)
    if query.state is not None:
        wanted = wanted.where(job.c.state == query.state)
    wanted = newest_first(wanted, job.c.created_at_ms, job.c.job_id, cursor=query.cursor, limit=query.limit)
    with given.database.read() as connection:
        entries = [ReplayJob.decode(value) for value in connection.scalars(wanted)]
        shown, after = cut(entries, query.limit, lambda entry: (entry.created_at_ms, entry.job_id))
        replays = [replay_of(connection, entry) for entry in shown]
    return m.Replays(replays=replays, next=after, behind=behind(given))


@router.get("/{job_id}", responses=answers(404))
def show(given: Given, _: Viewer, job_id: Id) -> m.Replay:
    """How far it is."""
    return _told(given, given.replays.get(job_id))


@router.get("/{job_id}/items", responses=answers(404))
def list_items(given: Given, _: Viewer, job_id: Id, query: Annotated[m.ItemQuery, Query()]) -> m.Items:
    """What became of each record, in the order of the replay. The next page is `after` the last number."""
    given.replays.get(job_id)
    conditions = [job_item.c.job_id == job_id, job_item.c.number > query.after]
    if query.state is not None:
        conditions.append(job_item.c.state == query.state)
    with given.database.read() as connection:
        rows = (
            connection.execute(
                select(job_item, letter.c.letter_id.label("failed_as"), letter.c.message)
                .outerjoin(letter, letter.c.cause == job_item.c.cause)
                .where(*conditions)
                .order_by(job_item.c.number)
                .limit(query.limit + 1)
            )
            .mappings()
            .all()
        )
    shown = [_item(row) for row in rows[: query.limit]]
    return m.Items(items=shown, next=shown[-1].number if len(rows) > query.limit else None, behind=behind(given))


@router.post("/{job_id}/{act}", responses=answers(404, 409))
async def change(
    given: Given, actor: Operator, job_id: Id, act: Literal["start", "pause", "cancel"], body: m.Why
) -> m.Replay:
    """`start` a draft or go on after a pause; `pause`; `cancel` what has not been issued."""
    changed = await asyncio.to_thread(given.replays.act, job_id, _ACTS[act], by=actor, reason=body.reason)
    await given.outbox.publish()
    return await asyncio.to_thread(_told, given, changed)


def _told(given: Given, entry: ReplayJob) -> m.Replay:
    with given.database.read() as connection:
        return replay_of(connection, entry)


def replay_of(connection: Connection, entry: ReplayJob) -> m.Replay:
    return m.Replay(
        id=entry.job_id,
        created_at=at(entry.created_at_ms),
        changed_at=at(entry.changed_at_ms),
        items=counts_of(connection, entry.job_id),
        **{name: getattr(entry, name) for name in m.Replay.model_fields if hasattr(entry, name)},
    )


def _item(row: RowMapping) -> m.Item:
    return m.Item(
        number=row["number"],
        letter=row["letter_id"],
        record_key=row["record_key"],
        cause=row["cause"],
        state=row["state"],
        why=row["why"] or row["message"] or "",
        failed_as=row["failed_as"] or "",
        at=at(row["at_ms"]),
        found=previewed(Preview.decode(row["found"])) if row["found"] else None,
    )
