"""What a flow's schedule has begun so far, and what it has not, and why."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from ml_connector.common.codec import Wire

ScheduleKind = Literal["sync", "reconcile", "netsuite_poll", "deletions"]
ACTOR: Final = "schedule"  # who has begun these jobs, in the audit

# `skipped`: it could not begin now, and need not: the next one does its work. `refused`: somebody must do something.
Fate = Literal["started", "skipped", "refused"]


class Turn(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of a due time. Several that came to nothing in a row for the same reason are one: `times`."""

    due_ms: int
    at_ms: int
    fate: Fate
    job_id: str = ""
    why: str = ""
    missed_since_ms: int = 0  # earlier due times went by unseen, the first of them then: this one stands for all
    times: int = 1


class ScheduleEntry(Wire, frozen=True):
    """Of one flow and kind. In `connector.jobs`, key: `schedule_key`; of two the one with the higher `version` counts.

    `cron`, `time_zone`, `jitter_s`: what it was last judged by; `cron` is empty while the flow has none.
    """

    flow: str
    kind: ScheduleKind
    version: int
    cron: str
    time_zone: str
    jitter_s: int
    seen_ms: int  # due times up to this one are dealt with
    turns: tuple[Turn, ...] = ()  # the last ones, oldest first


def schedule_key(flow: str, kind: ScheduleKind) -> str:
    return f"schedule/{flow}/{kind}"
