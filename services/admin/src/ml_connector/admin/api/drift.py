"""/polls and /drift: ask NetSuite what was changed there; see what was, and what became of it."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from ml_connector.admin.api import models as m
from ml_connector.admin.api.dead_letters import behind
from ml_connector.admin.api.flows import Why
from ml_connector.admin.api.problems import answers
from ml_connector.admin.api.services import Given, Operator, Services, Viewer
from ml_connector.admin.api.sync_models import SyncQuery
from ml_connector.admin.api.syncs import page_of
from ml_connector.admin.changing import Said
from ml_connector.admin.drift.look import Incident, State, Wanted, incidents
from ml_connector.admin.drift.polls import told_of
from ml_connector.admin.flows.look import refuse_unknown
from ml_connector.admin.sync.ask import Asked
from ml_connector.common.comparing import Cause, Found
from ml_connector.common.keys import Entity
from ml_connector.common.sync_job import SyncJob, SyncJobState

router = APIRouter(tags=["drift"])

FlowName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$", examples=["acme-eu"])]
Id = Annotated[str, Path(pattern=r"^[0-9a-f]{12}$", examples=["41c7d09ab2f5"])]


class NewPoll(m.In):
    """What is read: all that NetSuite shows as changed since then."""

    flow: FlowName
    since: Annotated[
        str,
        Field(
            max_length=40,
            description="RFC 3339, or 30m, 2h ago: all since then is compared again. Empty: since the last poll began",
        ),
    ] = ""
    entities: Annotated[tuple[Entity, ...], Field(max_length=3, description="empty: all that the flow maps")] = ()
    token_share: Annotated[float, Field(gt=0, le=1, description="as of a sync")] = 0.5
    reason: Why = ""


class PollReason(m.In):
    reason: Why = ""


class PolledEntity(BaseModel):
    entity: Entity
    pages: int
    rows: Annotated[int, Field(description="records that NetSuite shows as changed")]
    known: Annotated[int, Field(description="of those, compared already since they changed")]
    asked: Annotated[int, Field(description="of those, handed on to be compared")]


class Poll(BaseModel):
    id: str
    flow: str
    state: SyncJobState
    why: str
    since: str
    again: bool
    actor: str
    reason: str
    created_at: datetime | None
    changed_at: datetime | None
    entities: list[PolledEntity]
    asked: int
    compared: int
    found: Annotated[dict[str, int], Field(description="what differs, by how")]
    did: Annotated[dict[str, int], Field(description="of that: reported, asserted, given_up")]


class Polls(BaseModel):
    polls: list[Poll]
    next: str | None
    behind: m.Behind


class DriftField(BaseModel):
    field: str
    should: Any
    holds: str | None
    cut: Annotated[bool, Field(description="there was no room for the values")]


class Drift(BaseModel):
    """One record that was not as it should be, at one time."""

    flow: str
    entity: Entity
    source_id: str
    record_key: str
    netsuite_id: str
    found: Found
    fields: list[DriftField]
    causes: list[Cause]
    state: State
    at: datetime | None
    ended_at: Annotated[datetime | None, Field(description="found as it should be, or otherwise, later")]
    modified: Annotated[str, Field(description="in NetSuite, as its own clock shows it")]
    found_by: Annotated[str, Field(description="the poll's id with its page, or a push")]
    asserted_by: Annotated[str, Field(description="the cause of the write that asserted it; empty: none did")]


class Drifts(BaseModel):
    drift: list[Drift]
    next: str | None
    behind: m.Behind


class DriftQuery(m.In):
    flow: FlowName | None = None
    entity: Entity | None = None
    state: Annotated[
        Literal["open", "asserted", "given_up", "ended"] | None,
        Field(description="left out: whatever has become of it"),
    ] = None
    cursor: m.Cursor = None
    limit: Annotated[int, Field(ge=1, le=500)] = 100


@router.post("/polls", status_code=201, responses=answers(404, 409))
async def create(given: Given, actor: Operator, body: NewPoll) -> Poll:
    """Begin a poll. A flow has one at a time: 409 names the other."""
    asked = Asked(
        body.flow,
        "since",
        since=body.since,
        entities=body.entities,
        token_share=body.token_share,
        force=bool(body.since),
        purpose="drift",
    )
    made = await given.polls.create(asked, Said(actor, body.reason))
    await given.outbox.publish()
    return await asyncio.to_thread(_poll, given, made)


@router.get("/polls", responses=answers(404))
def list_polls(given: Given, _: Viewer, query: Annotated[SyncQuery, Query()]) -> Polls:
    """Newest first."""
    shown, after = page_of(given, query, "drift")
    return Polls(polls=[_poll(given, one.job) for one in shown], next=after, behind=behind(given))


@router.get("/polls/{job_id}", responses=answers(404))
def show_poll(given: Given, _: Viewer, job_id: Id) -> Poll:
    """How far it is, and what it has found so far."""
    return _poll(given, given.syncs.get(job_id, "drift").job)


@router.post("/polls/{job_id}/cancel", responses=answers(404, 409))
async def cancel(given: Given, actor: Operator, job_id: Id, body: PollReason) -> Poll:
    """Read no further page. What was handed on is still compared."""
    job = await given.polls.cancel(job_id, Said(actor, body.reason))
    await given.outbox.publish()
    return await asyncio.to_thread(_poll, given, job)


@router.get("/drift", responses=answers(404))
def list_drift(given: Given, _: Viewer, query: Annotated[DriftQuery, Query()]) -> Drifts:
    """What was found changed in NetSuite by polls and pushes, newest first."""
    wanted = Wanted(query.flow or "", query.entity or "", query.state)
    with given.database.read() as connection:
        refuse_unknown(connection, query.flow)
        found, following = incidents(connection, wanted, limit=query.limit, cursor=query.cursor)
    return Drifts(drift=[_drift(one) for one in found], next=following, behind=behind(given))


def _poll(given: Services, job: SyncJob) -> Poll:
    with given.database.read() as connection:
        told = told_of(connection, job.job_id)
    same = ("flow", "state", "why", "since", "actor", "reason")
    return Poll(
        id=job.job_id,
        again=job.force,
        created_at=m.at(job.created_at_ms),
        changed_at=m.at(job.changed_at_ms),
        entities=[
            PolledEntity(entity=entity, pages=one.pages, rows=one.rows, known=one.known, asked=one.asked)
            for entity, one in told.by_entity.items()
        ],
        asked=told.asked,
        compared=told.compared,
        found=dict(told.found),
        did=dict(told.did),
        **{name: getattr(job, name) for name in same},
    )


def _drift(one: Incident) -> Drift:
    difference = one.difference
    return Drift(
        flow=one.flow,
        entity=one.entity,
        source_id=difference.source_id,
        record_key=one.record_key,
        netsuite_id=difference.internal_id,
        found=difference.found,
        fields=[DriftField(**msgspec.to_builtins(msgspec.structs.asdict(field))) for field in difference.fields],
        causes=list(difference.causes),
        state=one.state,
        at=m.at(one.at_ms),
        ended_at=m.at(one.ended_at_ms) if one.ended_at_ms else None,
        modified=difference.modified,
        found_by=one.job_id,
        asserted_by=one.asserted_by,
    )
