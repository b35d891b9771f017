"""Decide what of a schedule is due. Pure.

In: the flow's timing of one kind of job, what is kept of it, the time. Out: nothing, a new beginning, or a due time.

A due time stands for all that went by unseen before it (the service was down): they are caught up once. A timing that
is new or has changed counts from the moment it is seen. Daylight saving, as Debian's cron does it: what is due at an
hour that is left out begins right after it, what is due in an hour that comes twice begins once; what is due every so
many minutes or hours (a `*` in the first or second field) keeps to the time that really passes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim

from ml_connector.common.flows import Flow
from ml_connector.common.schedule_job import ScheduleEntry, ScheduleKind

# Due times that are kept; were it fewer than flows times kinds, every look would read every cron expression again.
KEPT: Final = 262_144

# The newest due time is looked for in the last of these first; each holds few times if the one before it holds none.
_BACK_MS: Final = tuple(days * 86_400_000 for days in (1 / 720, 1 / 12, 2, 64, 800, 3_700, 20_000))


@dataclass(frozen=True, slots=True)
class Timing:
    """When a job of a flow is due. `offset_ms`: this flow's part of the jitter."""

    cron: str
    time_zone: str = "UTC"
    jitter_s: int = 0
    offset_ms: int = 0


@dataclass(frozen=True, slots=True)
class Begin:
    """Nothing is due; what comes after now will be."""


@dataclass(frozen=True, slots=True)
class Moment:
    """It is due now. `missed_since_ms`: the first due time that went by unseen before it; 0: none did."""

    due_ms: int
    missed_since_ms: int = 0


def timing_of(flow: Flow, kind: ScheduleKind) -> Timing | None:
    cron = flow.schedule.cron_of(kind)
    if cron is None:
        return None
    return Timing(cron, flow.schedule.time_zone, flow.schedule.jitter, offset_ms(flow.flow, flow.schedule.jitter))


def offset_ms(flow: str, jitter_s: int) -> int:
    """The same after every restart, and spread evenly over flows."""
    return int.from_bytes(hashlib.sha256(flow.encode()).digest()[:8]) % (jitter_s * 1000 + 1)


def judge(timing: Timing | None, kept: ScheduleEntry | None, now_ms: int) -> Begin | Moment | None:
    if timing is None:
        return Begin() if kept is not None and kept.cron else None
    if kept is None or (kept.cron, kept.time_zone, kept.jitter_s) != (timing.cron, timing.time_zone, timing.jitter_s):
        return Begin()
    first = next_after(timing, kept.seen_ms)  # known from the look before
    if first is None or first > now_ms:
        return None
    newest = newest_until(timing, kept.seen_ms, now_ms) or first
    return Moment(newest, first if first < newest else 0)


@lru_cache(maxsize=KEPT)
def next_after(timing: Timing, ms: int) -> int | None:
    """The first due time after this one; None: there is none in the next fifty years."""
    start_ms = ms - timing.offset_ms
    times = CronSim(timing.cron, datetime.fromtimestamp(start_ms // 1000, _zone(timing)))
    for moment in times:  # around a change of the hour it gives some twice, or in the past
        found_ms = int(moment.astimezone(UTC).timestamp()) * 1000
        if found_ms > start_ms:
            return found_ms + timing.offset_ms
    return None


def newest_until(timing: Timing, after_ms: int, until_ms: int) -> int | None:
    """The last due time after `after_ms` that is not after `until_ms`."""
    for back_ms in _BACK_MS:
        start_ms = max(after_ms, until_ms - int(back_ms))
        newest, found = None, next_after(timing, start_ms)
        while found is not None and found <= until_ms:
            newest, found = found, next_after(timing, found)
        if newest is not None or start_ms == after_ms:
            return newest
    return None


def _zone(timing: Timing) -> tzinfo:
    return UTC if timing.time_zone == "UTC" else ZoneInfo(timing.time_zone)
