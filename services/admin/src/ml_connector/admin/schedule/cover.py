"""Up to when a flow's syncs have read everything, and what the next one must read so that no gap stays. Pure.

In: the flow's syncs that ended well, newest first. Out: for each entity a moment: whatever changed before it was read.
A full sync covers up to its own beginning; one of a window goes on from what was covered before it, or covers nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from ml_connector.admin.sync.ask import Asked, rfc3339
from ml_connector.admin.sync.decide import OVERLAP_MS
from ml_connector.common.flows import Flow, mapping_digest
from ml_connector.common.keys import Entity
from ml_connector.common.sync_job import SyncJob

UNTIL_ROUNDED_MS: Final = 1_000  # a window's end was rounded up by so much at most


@dataclass(frozen=True, slots=True)
class Covered:
    """`mapping`: the one that all of the entity's objects were read with; empty: not known."""

    until_ms: int
    mapping: str = ""


def covered_of(jobs: Iterable[SyncJob], entities: Sequence[Entity]) -> dict[Entity, Covered]:
    """Those entities of which anything is covered. Takes no more jobs than it needs."""
    found = {}
    steps: list[SyncJob] = []
    left = set(entities)
    for job in jobs:
        steps.append(job)
        left -= set(job.entities) if _is_base(job) else set()
        if not left:
            break
    for entity in entities:
        covered = Covered(0)
        for job in reversed(steps):
            if entity in job.entities:
                covered = _after(covered, job)
        if covered.until_ms:
            found[entity] = covered
    return found


def next_sync(flow: Flow, covered: dict[Entity, Covered], entities: Sequence[Entity], first_ms: int) -> Asked:
    """`first_ms`: when the flow was first applied, from where on a flow reads that wants no more than changes."""
    settings = flow.schedule
    unread = [entity for entity in entities if entity not in covered]
    if unread and settings.first == "full":
        return _full(flow, unread)
    mapping = mapping_digest(flow)
    stale = [one for one in entities if one in covered and covered[one].mapping != mapping]
    if stale and settings.after_mapping_change == "full":
        return _full(flow, stale)
    since_ms = min(covered[one].until_ms if one in covered else first_ms for one in entities)
    same = {covered[one].mapping if one in covered else mapping for one in entities}
    return Asked(
        flow.flow,
        "since",
        since=rfc3339(since_ms),
        entities=tuple(entities),
        token_share=settings.token_share,
        covers=True,
        mapping=same.pop() if len(same) == 1 else "",
    )


def _full(flow: Flow, entities: Sequence[Entity]) -> Asked:
    return Asked(
        flow.flow, "full", entities=tuple(entities), token_share=flow.schedule.token_share, mapping=mapping_digest(flow)
    )


def _is_base(job: SyncJob) -> bool:
    return job.mode == "full" or job.covers


def _after(covered: Covered, job: SyncJob) -> Covered:
    """What is covered once this job has ended, too."""
    if job.mode == "full":
        return Covered(max(covered.until_ms, job.created_at_ms), job.mapping)
    if job.mode != "since":
        return covered
    if not job.covers and _ms(job.since) + OVERLAP_MS > covered.until_ms:
        return covered
    until_ms = min(job.created_at_ms, _ms(job.until) - UNTIL_ROUNDED_MS if job.until else job.created_at_ms)
    mapping = job.mapping if job.covers else covered.mapping
    return Covered(max(covered.until_ms, until_ms), mapping)


def _ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)
