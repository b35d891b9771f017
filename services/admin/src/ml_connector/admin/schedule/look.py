"""What schedules will begin next, what they began last, what they did not begin and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, select

from ml_connector.admin.flows.look import find
from ml_connector.admin.schedule.due import Timing, next_after, offset_ms
from ml_connector.admin.schedule.keep import read_schedules
from ml_connector.admin.schedule.kinds import Kinds
from ml_connector.admin.tables import active_flow
from ml_connector.common.schedule_job import ScheduleEntry, ScheduleKind, Turn


class Looked(NamedTuple):
    """`next_ms` 0: never. `states`: how the jobs stand that it began, by id; of all flows only the last one."""

    entry: ScheduleEntry
    paused: bool
    next_ms: int
    states: Mapping[str, str]

    @property
    def last(self) -> Turn | None:
        """The last that began."""
        return _last(self.entry)

    @property
    def not_begun(self) -> Turn | None:
        """What came to nothing since then."""
        newest = self.entry.turns[-1] if self.entry.turns else None
        return newest if newest is not None and not newest.job_id else None


def look_at(connection: Connection, kinds: Kinds, flow: str | None, now_ms: int) -> list[Looked]:
    """By flow and kind; of one flow, or of all. Raises NotFound."""
    if flow is not None:
        find(connection, flow)
    paused = {row.flow: row.paused for row in connection.execute(select(active_flow))}
    entries = [one for one in read_schedules(connection, flow).values() if one.cron and one.flow in paused]
    states = _states(connection, kinds, flow, entries)
    return [Looked(one, paused[one.flow], _next_ms(one, now_ms), states[one.kind]) for one in entries]


def _next_ms(entry: ScheduleEntry, now_ms: int) -> int:
    timing = Timing(entry.cron, entry.time_zone, entry.jitter_s, offset_ms(entry.flow, entry.jitter_s))
    return next_after(timing, max(entry.seen_ms, now_ms)) or 0


def _states(
    connection: Connection, kinds: Kinds, flow: str | None, entries: Sequence[ScheduleEntry]
) -> Mapping[ScheduleKind, Mapping[str, str]]:
    """Each kind is asked once, however many flows there are."""
    job_ids: dict[ScheduleKind, set[str]] = {one.kind: set() for one in entries}
    for entry in entries:
        last = _last(entry)
        turns = entry.turns if flow is not None else () if last is None else (last,)
        job_ids[entry.kind].update(turn.job_id for turn in turns if turn.job_id)
    return {
        kind: kinds[kind].states(connection, flow, ids) if ids and kind in kinds else {}
        for kind, ids in job_ids.items()
    }


def _last(entry: ScheduleEntry) -> Turn | None:
    return next((turn for turn in reversed(entry.turns) if turn.job_id), None)
