"""/schedules: what begins by itself next, what began last and how it stands, what was left out and why."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from ml_connector.admin.api import models as m
from ml_connector.admin.api.flows import FlowName
from ml_connector.admin.api.problems import answers
from ml_connector.admin.api.services import Given, Services, Viewer
from ml_connector.admin.schedule.look import Looked, look_at
from ml_connector.common.schedule_job import Fate, ScheduleKind, Turn

router = APIRouter(prefix="/schedules", tags=["schedules"])


class DueTime(BaseModel):
    """One due time, or several in a row that came to nothing for the same reason."""

    due_at: Annotated[datetime | None, Field(description="the last of them")]
    looked_at: datetime | None
    fate: Annotated[
        Fate, Field(description="`skipped`: the next one does its work; `refused`: somebody must do something")
    ]
    why: str
    job: Annotated[str, Field(description="of a sync: its id in /syncs")]
    state: Annotated[str, Field(description="how that job stands; empty when it is not known")]
    missed_since: Annotated[
        datetime | None, Field(description="the first due time that went by unseen and is made up for by this one")
    ]
    times: int


class Schedule(BaseModel):
    """Of one flow and kind of job."""

    flow: str
    kind: ScheduleKind
    cron: str
    time_zone: str
    jitter_s: int
    paused: Annotated[bool, Field(description="the flow is: nothing begins")]
    next_at: Annotated[datetime | None, Field(description="with this flow's part of the jitter; null: never")]
    last: Annotated[DueTime | None, Field(description="the last that began")]
    not_begun: Annotated[DueTime | None, Field(description="what came to nothing since then")]


class OneSchedule(Schedule):
    turns: Annotated[list[DueTime], Field(description="the last ones, newest first")]


class Schedules(BaseModel):
    schedules: list[Schedule]


class FlowSchedules(BaseModel):
    schedules: list[OneSchedule]


class ScheduleQuery(m.In):
    kind: ScheduleKind | None = None


@router.get("", responses=answers())
def list_schedules(given: Given, _: Viewer, query: Annotated[ScheduleQuery, Query()]) -> Schedules:
    """By flow. A flow without a schedule is not among them."""
    found = _looked(given, None)
    return Schedules(schedules=[_schedule(one) for one in found if query.kind in {None, one.entry.kind}])


@router.get("/{flow}", responses=answers(404))
def show(given: Given, _: Viewer, flow: FlowName) -> FlowSchedules:
    """Each kind of job of one flow, with its last due times. Empty: it has no schedule."""
    return FlowSchedules(
        schedules=[
            OneSchedule(**_schedule(one).model_dump(), turns=[_turn(turn, one) for turn in reversed(one.entry.turns)])
            for one in _looked(given, flow)
        ]
    )


def _looked(given: Services, flow: str | None) -> list[Looked]:
    with given.database.read() as connection:
        return look_at(connection, given.kinds, flow, given.clock.now_ms())


def _schedule(one: Looked) -> Schedule:
    entry = one.entry
    return Schedule(
        flow=entry.flow,
        kind=entry.kind,
        cron=entry.cron,
        time_zone=entry.time_zone,
        jitter_s=entry.jitter_s,
        paused=one.paused,
        next_at=m.at(one.next_ms),
        last=None if one.last is None else _turn(one.last, one),
        not_begun=None if one.not_begun is None else _turn(one.not_begun, one),
    )


def _turn(turn: Turn, one: Looked) -> DueTime:
    return DueTime(
        due_at=m.at(turn.due_ms),
        looked_at=m.at(turn.at_ms),
        fate=turn.fate,
        why=turn.why,
        job=turn.job_id,
        state=one.states.get(turn.job_id, ""),
        missed_since=m.at(turn.missed_since_ms),
        times=turn.times,
    )
