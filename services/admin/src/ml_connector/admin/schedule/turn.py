"""One due time of a flow, in one transaction: the job, its act, and that the time is dealt with. So it begins once,
whatever dies and whoever looks; the entry in `connector.jobs` says so after this database is lost, too.
"""

from __future__ import annotations

from typing import Final

import msgspec
from sqlalchemy import Connection

from ml_connector.admin.changing import Said
from ml_connector.admin.flows.look import find
from ml_connector.admin.replay.control import Conflict, NotFound, tell
from ml_connector.admin.schedule.due import Begin, Timing, judge, timing_of
from ml_connector.admin.schedule.keep import put_schedule, read_schedule
from ml_connector.admin.schedule.kinds import BY_SCHEDULE, Due, Kinds
from ml_connector.admin.sync.ask import rfc3339
from ml_connector.common.errors import ConnectorError, TryLater
from ml_connector.common.schedule_job import ScheduleEntry, ScheduleKind, Turn, schedule_key

TURNS: Final = 20  # of a flow and kind: as many as are kept
PAUSED: Final = "the flow is paused"


def take_turn(connection: Connection, kinds: Kinds, name: str, kind: ScheduleKind, now_ms: int) -> Turn | None:
    """What became of what was due; None: nothing was. Raises InvalidFlow, TryLater."""
    try:
        known = find(connection, name)
    except NotFound:
        return None
    flow = known.version.read()
    timing, kept = timing_of(flow, kind), read_schedule(connection, name, kind)
    judged = judge(timing, kept, now_ms)
    if judged is None:
        return None
    if isinstance(judged, Begin) or timing is None or kept is None:
        _keep(connection, _entry(kept, name, kind, timing, now_ms))
        return None
    due = Due(flow, known.version.version, judged.due_ms, now_ms, _said(judged.due_ms))
    turn = _paused(due) if known.active.paused else _started(connection, kinds, kind, due)
    turn = msgspec.structs.replace(turn, missed_since_ms=judged.missed_since_ms)
    entry = _entry(kept, name, kind, timing, judged.due_ms)
    _keep(connection, msgspec.structs.replace(entry, turns=_joined(kept.turns, turn)))
    return turn


def _said(due_ms: int) -> Said:
    return Said(BY_SCHEDULE, f"due at {rfc3339(due_ms)}")


def _paused(due: Due) -> Turn:
    return Turn(due.due_ms, due.now_ms, "skipped", why=PAUSED)


def _started(connection: Connection, kinds: Kinds, kind: ScheduleKind, due: Due) -> Turn:
    if kind not in kinds:
        return Turn(due.due_ms, due.now_ms, "refused", why="this release has no job of this kind")
    try:
        return Turn(due.due_ms, due.now_ms, "started", kinds[kind].start(connection, due))
    except Conflict as error:
        return Turn(due.due_ms, due.now_ms, "skipped", why=str(error))
    except TryLater:
        raise
    except ConnectorError as error:
        return Turn(due.due_ms, due.now_ms, "refused", why=str(error))


def _joined(turns: tuple[Turn, ...], turn: Turn) -> tuple[Turn, ...]:
    last = turns[-1] if turns else None
    if last is not None and not turn.job_id and (last.fate, last.why) == (turn.fate, turn.why):
        turn = msgspec.structs.replace(turn, times=last.times + 1)
        turns = turns[:-1]
    return (*turns, turn)[-TURNS:]


def _entry(
    kept: ScheduleEntry | None, flow: str, kind: ScheduleKind, timing: Timing | None, seen_ms: int
) -> ScheduleEntry:
    timing = timing or Timing("")
    return ScheduleEntry(
        flow=flow,
        kind=kind,
        version=1 if kept is None else kept.version + 1,
        cron=timing.cron,
        time_zone=timing.time_zone,
        jitter_s=timing.jitter_s,
        seen_ms=seen_ms,
        turns=() if kept is None else kept.turns,
    )


def _keep(connection: Connection, entry: ScheduleEntry) -> None:
    put_schedule(connection, entry)
    tell(connection, schedule_key(entry.flow, entry.kind), entry.encode())
