"""/status, /accounting, /acts: whether the sum is right, and who did what."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from sqlalchemy import select

from ml_connector.admin.acts import record_act
from ml_connector.admin.api.dead_letters import behind
from ml_connector.admin.api.models import Behind, Cursor, In, Limit, at
from ml_connector.admin.api.models import Stop as Stopped
from ml_connector.admin.api.problems import answers
from ml_connector.admin.api.services import Given, Operator, Services, Viewer
from ml_connector.admin.books import Closing
from ml_connector.admin.flows.stops import Stop
from ml_connector.admin.identity.roles import Actor
from ml_connector.admin.look.pages import cut, newest_first
from ml_connector.admin.tables import act, act_target
from ml_connector.common import wire
from ml_connector.common.wire import ActKind

router = APIRouter(tags=["accounting"])

SHOWN_TARGETS = 100


class Status(Behind):
    stopped: Annotated[list[Stopped], Field(description="flows, companies and accounts; empty when all work")]


class AccountSum(BaseModel):
    account: str
    balanced: bool
    accepted: int
    written: int
    superseded: int
    ignored: int
    dead_lettered: int
    waiting: int
    duplicates: int
    lost: Annotated[list[str], Field(description="causes: accepted, without outcome, not waiting")]
    unexplained: Annotated[list[str], Field(description="causes: an outcome that nobody accepted")]
    contradicting: Annotated[list[str], Field(description="causes: several outcomes")]


class Accounting(BaseModel):
    at: datetime | None
    accounts: list[AccountSum]


class Act(BaseModel):
    id: str
    at: datetime | None
    actor: str
    role: str
    act: ActKind
    reason: str
    targets: Annotated[list[str], Field(description="letters, records and replays; the first hundred")]
    detail: dict[str, Any]


class Acts(BaseModel):
    acts: list[Act]
    next: str | None
    behind: Behind


class ActQuery(In):
    target: Annotated[str | None, Field(max_length=300)] = None
    cursor: Cursor = None
    limit: Limit = 50


@router.get("/status", responses=answers())
def status(given: Given, _: Viewer) -> Status:
    """How far this service is behind the topics, and what is stopped."""
    return Status(**behind(given).model_dump(), stopped=[stop_of(one) for one in given.flow_looks.stops()])


@router.get("/accounting", responses=answers())
def accounting(given: Given, _: Viewer) -> Accounting:
    """The last sum that was made, on the timer or on demand; nothing before the first."""
    return _told(given.books.last)


@router.post("/accounting", responses=answers())
async def check(given: Given, actor: Operator) -> Accounting:
    """Make the sum now, from the topics as they are."""
    closing = await given.books.check()
    await asyncio.to_thread(_note_check, given, actor)
    await given.outbox.publish()
    return _told(closing)


@router.get("/acts", responses=answers())
def list_acts(given: Given, _: Viewer, query: Annotated[ActQuery, Query()]) -> Acts:
    """What operators did, newest first; `target`: a letter, a record key or a replay."""
    wanted = select(act.c.value)
    if query.target is not None:
        wanted = wanted.join(act_target, act_target.c.act_id == act.c.act_id).where(act_target.c.target == query.target)
    wanted = newest_first(wanted, act.c.at_ms, act.c.act_id, cursor=query.cursor, limit=query.limit)
    with given.database.read() as connection:
        entries = [wire.Act.decode(value) for value in connection.scalars(wanted)]
    shown, after = cut(entries, query.limit, lambda entry: (entry.at_ms, entry.act_id))
    return Acts(acts=[_act(entry) for entry in shown], next=after, behind=behind(given))


def stop_of(stop: Stop) -> Stopped:
    return Stopped(subject=stop.subject, state=stop.state, reason=stop.reason, since=at(stop.at_ms))


def _note_check(given: Services, actor: Actor) -> None:
    with given.database.write() as connection:
        record_act(connection, "accounting.check", by=actor, now_ms=given.clock.now_ms())


def _told(closing: Closing | None) -> Accounting:
    if closing is None:
        return Accounting(at=None, accounts=[])
    sums = [
        AccountSum(account=name, balanced=not one.differences, **asdict(one))
        for name, one in sorted(closing.accounts.items())
    ]
    return Accounting(at=at(closing.at_ms), accounts=sums)


def _act(entry: wire.Act) -> Act:
    return Act(
        id=entry.act_id,
        at=at(entry.at_ms),
        actor=entry.actor,
        role=entry.role,
        act=entry.act,
        reason=entry.reason,
        targets=list(entry.targets[:SHOWN_TARGETS]),
        detail=msgspec.to_builtins(entry.detail),
    )
