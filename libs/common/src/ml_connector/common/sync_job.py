"""A sync as a job, a reconcile, or a poll of NetSuite: which entities, one after the other, how far it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from ml_connector.common.codec import Wire
from ml_connector.common.keys import Entity
from ml_connector.common.syncing import Progress, Purpose

SyncMode = Literal["full", "since", "ids"]
SyncJobState = Literal["running", "paused", "failed", "cancelled", "done"]

# What people call a job of this purpose.
NOUN: Final[Mapping[Purpose, str]] = {"sync": "sync", "compare": "reconcile", "drift": "poll"}


class Walked(msgspec.Struct, frozen=True, omit_defaults=True):
    """How the walk over one entity ended."""

    state: Literal["done", "cancelled"]
    started_at_ms: int
    ended_at_ms: int
    progress: Progress = Progress()


class SyncJob(Wire, frozen=True):
    """In `connector.jobs`, key: `sync_job_key`; of two entries the one with the higher `version` counts.

    An entity's walk has ended once it is in `walked`; before that the owner's `SyncState` says how far it is. With
    `purpose` compare nothing is written: what differs is told in the audit (`comparing.py`).
    """

    job_id: str
    version: int
    flow: str
    company: str
    account: str
    state: SyncJobState
    created_at_ms: int
    changed_at_ms: int
    actor: str
    reason: str
    mode: SyncMode
    entities: tuple[Entity, ...]  # in this order: parents first
    since: str = ""  # RFC 3339; this and later
    until: str = ""  # before this
    ids: tuple[str, ...] = ()
    each: dict[str, tuple[str, ...]] = {}  # instead of `ids`: by entity
    purpose: Purpose = "sync"
    of: str = ""  # the reconcile whose differences it mends
    counted: dict[str, int] = {}  # of a reconcile: entity -> in how many requests its records were asked for
    token_share: float = 1.0
    force: bool = False
    stop_after: int = 0
    covers: bool = False  # its window begins where everything before it was read: no gap is left once it is done
    mapping: str = ""  # `mapping_digest` that all objects, up to this sync's end, were read with; empty: not known
    why: str = ""  # it failed, or was paused, if nobody asked for that
    answered_ms: int = 0  # `changed_at_ms` of the walk's stop that somebody has seen and gone on from
    walked: dict[str, Walked] = {}
    plan: dict[str, Any] = {}  # what it was said to cost before it began


def ids_of(job: SyncJob, entity: Entity) -> tuple[str, ...]:
    """Which objects are walked; empty: not by ids."""
    return job.each.get(entity, job.ids)


def sync_job_key(job_id: str) -> str:
    return f"sync/{job_id}"
