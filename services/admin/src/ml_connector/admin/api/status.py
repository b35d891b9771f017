"""/status, /accounting, /acts: whether the sum is right, and who did what."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query
from sqlalchemy import and_, or_, select

from ml_connector.admin.acts import record_act
from ml_connector.admin.api import models as m
from ml_connector.admin.api.dead_letters import behind
from ml_connector.admin.api.problems import answers
from ml_connector.admin.api.services import Given, Operator, Services, Viewer
from ml_connector.admin.books import Closing
from ml_connector.admin.flows.stops import Stop
from ml_connector.admin.identity.roles import Actor
from ml_connector.admin.look.letters import make_cursor, read_cursor
from ml_connector.admin.tables import act, act_target
from ml_connector.common.wire import Act

router = APIRouter(tags=["accounting"])

SHOWN_TARGETS = 100


@router.get("/status", responses=answers())
def status(given: Given, _: Viewer) -> m.Status:
    """How far this service is behind the topics, and what is stopped."""
    return m.Status(**behind(given).model_dump(), stopped=[stop_of(one) for one in given.flow_looks.stops()])


@router.get("/accounting", responses=answers())
def accounting(given: Given, _: Viewer) -> m.Accounting:
    """The last sum that was made, on the timer or on demand; nothing before the first."""
    return _told(given.books.last)


@router.post("/accounting", responses=answers())
async def check(given: Given, actor: Operator) -> m.Accounting:
    """Make the sum now, from the topics as they are."""
    closing = await given.books.check()
    await asyncio.to_thread(_note_check, given, actor)
    await given.outbox.publish()
    return _told(closing)


@router.get("/acts", responses=answers())
def list_acts(given: Given, _: Viewer, query: Annotated[m.ActQuery, Query()]) -> m.Acts:
    """What operators did, newest first; `target`: a letter, a record key or a replay."""
    wanted = select(act.c.value).order_by(act.c.at_ms.desc(), act.c.act_id.desc()).limit(query.limit + 1)
    if query.target is not None:
        wanted = wanted.join(act_target, act_target.c.act_id == act.c.act_id).where(act_target.c.target == query.target)
    if query.cursor is not None:
        at_ms, after = read_cursor(query.cursor)
        wanted = wanted.where(or_(act.c.at_ms < at_ms, and_(act.c.at_ms == at_ms, act.c.act_id < after)))
    with given.database.read() as connection:
        entries = [Act.decode(value) for value in connection.scalars(wanted)]
    last = entries[query.limit - 1] if len(entries) > query.limit else None
    return m.Acts(
        acts=[_act(entry) for entry in entries[: query.limit]],
        next=make_cursor(last.at_ms, last.act_id) if last is not None else None,
        behind=behind(given),
    )


def stop_of(stop: Stop) -> m.Stop:
    return m.Stop(subject=stop.subject, state=stop.state, reason=stop.reason, since=m.at(stop.at_ms))


def _note_check(given: Services, actor: Actor) -> None:
    with given.database.write() as connection:
        record_act(connection, "accounting.check", by=actor, now_ms=given.clock.now_ms())


def _told(closing: Closing | None) -> m.Accounting:
    if closing is None:
        return m.Accounting(at=None, accounts=[])
    sums = [
        m.AccountSum(account=name, balanced=not one.differences, **asdict(one))
        for name, one in sorted(closing.accounts.items())
    ]
    return m.Accounting(at=m.at(closing.at_ms), accounts=sums)


def _act(entry: Act) -> m.Act:
    return m.Act(
        id=entry.act_id,
        at=m.at(entry.at_ms),
        actor=entry.actor,
        role=entry.role,
        act=entry.act,
        reason=entry.reason,
        targets=list(entry.targets[:SHOWN_TARGETS]),
        detail=msgspec.to_builtins(entry.detail),
    )
