"""Decide what a sync needs next: which walk is asked for, steered or forgotten, and what becomes of the job. Pure.

In: the job, and the owner's states of its walks, as far as they are known here. What follows depends on nothing else,
so it does not matter who looks, how often, or who died before. A page or a word to the owner that it has had already
changes nothing there; what went astray is said again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from ml_connector.admin.sync.ask import rfc3339
from ml_connector.common.keys import Entity
from ml_connector.common.sync_job import SyncJob, Walked, ids_of
from ml_connector.common.syncing import SyncControl, SyncPage, SyncState

# A change that Pipedrive stamps late, or our clock being ahead: windows overlap (DESIGN section 3).
OVERLAP_MS: Final = 60_000

Walks = Mapping[str, SyncState]
Word = Literal["running", "paused", "cancelled", "forgotten"]


@dataclass(frozen=True, slots=True)
class Decision:
    """`says`: to the company's owner. `change`: members of the job that differ from now on."""

    says: tuple[SyncPage | SyncControl, ...] = ()
    change: Mapping[str, object] = field(default_factory=dict)


def decide(job: SyncJob, walks: Walks, now_ms: int) -> Decision:
    """A reconcile does not end with its walks: what NetSuite holds is still to be told (`reconcile.finish`)."""
    says = [_after_the_end(job, walk, now_ms) for walk in walks.values() if walk.entity in job.walked]
    current = current_of(job)
    if current is None:
        over = {} if job.state in {"done", "cancelled"} or job.purpose == "compare" else {"state": "done", "why": ""}
        return Decision(tuple(says), over)
    now = _of_the_current(job, current, walks.get(current), now_ms)
    return Decision((*says, *now.says), now.change)


def current_of(job: SyncJob) -> Entity | None:
    """The entity whose turn it is."""
    return next((entity for entity in job.entities if entity not in job.walked), None)


def is_walked(job: SyncJob) -> bool:
    """It runs, and all its walks are over."""
    return job.state == "running" and current_of(job) is None


def _after_the_end(job: SyncJob, walk: SyncState, now_ms: int) -> SyncControl:
    """Its result is kept. One that runs again was begun by a page that came very late."""
    return _word(job, walk.entity, "forgotten" if walk.state in {"done", "cancelled"} else "cancelled", now_ms)


def _of_the_current(job: SyncJob, entity: Entity, walk: SyncState | None, now_ms: int) -> Decision:
    if walk is not None and (walk.state == "done" or (walk.state == "cancelled" and job.state == "cancelled")):
        return Decision(change={"walked": {**job.walked, entity: _result(walk)}})
    match job.state:
        case "running":
            return _of_a_running(job, entity, walk, now_ms)
        case "paused" | "failed" if walk is not None and walk.state == "running":
            return Decision((_word(job, entity, "paused", now_ms),))
        case "cancelled" if walk is not None:
            return Decision((_word(job, entity, "cancelled", now_ms),))
    return Decision()


def _of_a_running(job: SyncJob, entity: Entity, walk: SyncState | None, now_ms: int) -> Decision:
    if walk is None:
        return Decision((first_page(job, entity, now_ms),))
    if walk.state == "running":
        return Decision()
    if walk.state == "cancelled":  # nobody wants that any more; it begins anew
        return Decision((_word(job, entity, "forgotten", now_ms),))
    if walk.changed_at_ms == job.answered_ms or (walk.state == "paused" and not walk.reason):
        return Decision((_word(job, entity, "running", now_ms),))
    return Decision(change={"state": walk.state, "why": walk.reason, "answered_ms": walk.changed_at_ms})


def _result(walk: SyncState) -> Walked:
    state: Literal["done", "cancelled"] = "done" if walk.state == "done" else "cancelled"
    return Walked(state, walk.started_at_ms, walk.changed_at_ms, walk.progress)


def first_page(job: SyncJob, entity: Entity, now_ms: int) -> SyncPage:
    return SyncPage(
        job_id=job.job_id,
        flow=job.flow,
        entity=entity,
        at_ms=now_ms,
        updated_since=job.since,
        updated_until=job.until,
        ids=ids_of(job, entity),
        token_share=job.token_share,
        stop_after=job.stop_after,
        force=job.force,
        purpose=job.purpose,
    )


def window_of(since_ms: int | None, until_ms: int | None) -> tuple[str, str]:
    """As the job keeps it: a bit more than was asked for."""
    since = "" if since_ms is None else rfc3339(max(0, since_ms - OVERLAP_MS))
    return since, "" if until_ms is None else rfc3339(until_ms + 999)


def _word(job: SyncJob, entity: Entity, to: Word, now_ms: int) -> SyncControl:
    return SyncControl(job_id=job.job_id, flow=job.flow, entity=entity, to=to, at_ms=now_ms)
