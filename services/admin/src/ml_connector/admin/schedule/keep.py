"""Keep in SQL what schedules have done, whoever brings it: the scheduler, or the topic after a rebuild."""

from __future__ import annotations

from sqlalchemy import Connection, select

from ml_connector.admin.database import upsert
from ml_connector.admin.tables import schedule
from ml_connector.common.schedule_job import ScheduleEntry, ScheduleKind


def put_schedule(connection: Connection, entry: ScheduleEntry) -> None:
    """Of two entries the one with the higher version counts."""
    row = {"flow": entry.flow, "kind": entry.kind, "version": entry.version, "value": entry.encode()}
    upsert(connection, schedule, [row], only_newer=["version"])


def read_schedules(connection: Connection, flow: str | None = None) -> dict[tuple[str, str], ScheduleEntry]:
    """By flow and kind."""
    wanted = select(schedule.c.value) if flow is None else select(schedule.c.value).where(schedule.c.flow == flow)
    entries = map(ScheduleEntry.decode, connection.scalars(wanted.order_by(schedule.c.flow, schedule.c.kind)))
    return {(one.flow, one.kind): one for one in entries}


def read_schedule(connection: Connection, flow: str, kind: ScheduleKind) -> ScheduleEntry | None:
    value = connection.scalar(select(schedule.c.value).where(schedule.c.flow == flow, schedule.c.kind == kind))
    return None if value is None else ScheduleEntry.decode(value)
