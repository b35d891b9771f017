"""How far a sync is, entity by entity, and how long it may still take. Pure.

The time left rests on the rate so far and on the records that were known when it began; where there are more objects
than that, nobody can say how many, and it says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from ml_connector.admin.sync.ask import rfc3339
from ml_connector.admin.sync.decide import Walks, current_of
from ml_connector.common.keys import Entity
from ml_connector.common.sync_job import SyncJob
from ml_connector.common.syncing import Progress

LEAST_READ: Final = 1  # objects, before a rate is told

Step = Literal["to_come", "running", "paused", "failed", "cancelled", "done"]


@dataclass(frozen=True, slots=True)
class Stretch:
    """The walk over one entity. `waits`: what for, `until_ms`: it looks again then. Times 0: not yet."""

    entity: Entity
    state: Step
    progress: Progress
    started_at_ms: int = 0
    ended_at_ms: int = 0
    rate_per_s: float | None = None
    waits: str = ""
    until_ms: int = 0


@dataclass(frozen=True, slots=True)
class Left:
    """`seconds` None: it cannot be said; `rests_on` says why."""

    seconds: float | None
    rests_on: str


def stretches_of(job: SyncJob, walks: Walks) -> list[Stretch]:
    """In order."""
    return [_stretch(job, entity, walks) for entity in job.entities]


def left_of(job: SyncJob, stretches: list[Stretch]) -> Left:
    if job.state != "running":
        return Left(None, f"it is {job.state}")
    now = next((one for one in stretches if one.entity == current_of(job)), None)
    if now is not None and now.waits:
        until = f" until {rfc3339(now.until_ms)}" if now.until_ms else ""
        return Left(None, f"it waits{until}: {now.waits}")
    rates = [one.rate_per_s for one in stretches if one.rate_per_s]
    if not rates:
        return Left(None, "nothing was read yet")
    known = _known(job)
    if now is not None and now.progress.read > known.get(now.entity, 0):
        return Left(None, f"there are more {now.entity}s than the {known.get(now.entity, 0)} known ones")
    to_read = sum(max(0, known.get(one.entity, 0) - one.progress.read) for one in stretches if not one.ended_at_ms)
    return Left(to_read / rates[-1], f"{to_read} objects are left of those known, {rates[-1]:.0f} a second so far")


def _stretch(job: SyncJob, entity: Entity, walks: Walks) -> Stretch:
    over, walk = job.walked.get(entity), walks.get(entity)
    if over is not None:
        rate = _rate(over.progress, over.ended_at_ms - over.started_at_ms)
        return Stretch(entity, over.state, over.progress, over.started_at_ms, over.ended_at_ms, rate)
    if walk is None:
        return Stretch(entity, "to_come", Progress())
    rate = _rate(walk.progress, walk.changed_at_ms - walk.started_at_ms)
    waits = walk.reason if walk.state == "running" else ""
    return Stretch(entity, walk.state, walk.progress, walk.started_at_ms, 0, rate, waits, walk.until_ms if waits else 0)


def _rate(progress: Progress, took_ms: int) -> float | None:
    return progress.read * 1000 / took_ms if progress.read >= LEAST_READ and took_ms > 0 else None


def _known(job: SyncJob) -> dict[str, int]:
    """Objects of each entity, as the plan had them."""
    return {str(one["entity"]): int(one["objects"]) for one in job.plan.get("entities", [])}
