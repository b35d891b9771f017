"""/catch-ups: when events of a flow may have got lost, and what was done about it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from ml_connector.admin.api import models as m
from ml_connector.admin.api.problems import answers
from ml_connector.admin.api.services import Given, Viewer
from ml_connector.admin.catchup.keep import read_catch_ups
from ml_connector.admin.flows.look import refuse_unknown
from ml_connector.common.catch_up import CatchUp, Gap, Phase, Run

router = APIRouter(prefix="/catch-ups", tags=["catch-ups"])


class Missed(BaseModel):
    """A gap that is not caught up with yet."""

    since: datetime | None
    until: Annotated[datetime | None, Field(description="may be to come: Pipedrive bans for half an hour, unseen")]
    open: Annotated[bool, Field(description="events still may get lost")]
    why: str


class CaughtUp(BaseModel):
    """One run: the changes of the gap are read, then what is gone is searched for and asked for by its ids."""

    id: str
    since: datetime | None
    until: datetime | None
    why: str
    began_at: datetime | None
    ended_at: datetime | None
    phase: Phase
    problem: Annotated[str, Field(description="why it failed, or what it waits for")]
    changes: Annotated[str, Field(description="the sync that reads them: its id in /syncs")]
    gone: Annotated[str, Field(description="the sync that asks for what is missing; empty: nothing is")]
    known: Annotated[int, Field(description="records that were looked for in Pipedrive's lists")]
    missing: Annotated[int, Field(description="of these, in no list")]
    tokens: Annotated[int, Field(description="that the search has spent")]


class FlowCatchUp(BaseModel):
    """`runs`: the last ones, newest first."""

    flow: str
    gap: Missed | None
    runs: list[CaughtUp]


class CatchUps(BaseModel):
    catch_ups: list[FlowCatchUp]


class CatchUpQuery(m.In):
    flow: Annotated[str | None, Field(max_length=63)] = None


@router.get("", responses=answers(404))
def list_catch_ups(given: Given, _: Viewer, query: Annotated[CatchUpQuery, Query()]) -> CatchUps:
    """By flow; a flow that has missed nothing so far is not among them."""
    with given.database.read() as connection:
        refuse_unknown(connection, query.flow)
        entries = read_catch_ups(connection, query.flow).values()
    return CatchUps(catch_ups=[_entry(one) for one in entries])


def _entry(entry: CatchUp) -> FlowCatchUp:
    gap = None if entry.gap is None else _gap(entry.gap)
    return FlowCatchUp(flow=entry.flow, gap=gap, runs=[_run(one) for one in reversed(entry.runs)])


def _gap(gap: Gap) -> Missed:
    return Missed(since=m.at(gap.from_ms), until=m.at(gap.to_ms), open=gap.open, why=gap.why)


def _run(run: Run) -> CaughtUp:
    same = ("why", "phase", "problem", "changes", "gone", "known", "missing", "tokens")
    return CaughtUp(
        id=run.run_id,
        since=m.at(run.from_ms),
        until=m.at(run.to_ms),
        began_at=m.at(run.began_ms),
        ended_at=m.at(run.ended_ms),
        **{name: getattr(run, name) for name in same},
    )
