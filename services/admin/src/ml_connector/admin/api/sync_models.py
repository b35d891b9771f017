"""What goes into /syncs and comes out of it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from ml_connector.admin.api import models as m
from ml_connector.admin.api.flows import Why
from ml_connector.admin.sync.progress import Step
from ml_connector.common.keys import Entity
from ml_connector.common.sync_job import SyncJobState, SyncMode
from ml_connector.common.syncing import MAX_IDS


class NewSync(m.In):
    """What is read: all (`full`), what changed (`since`), or some objects of one entity (`ids`)."""

    flow: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$", examples=["acme-eu"])]
    mode: SyncMode
    since: Annotated[
        str, Field(max_length=40, description="a time in RFC 3339, or so long ago: 30m, 2h, 7d", examples=["2h"])
    ] = ""
    until: Annotated[str, Field(max_length=40, description="before this; as `since`")] = ""
    entities: Annotated[tuple[Entity, ...], Field(max_length=3, description="empty: all that the flow maps")] = ()
    ids: Annotated[
        tuple[Annotated[str, Field(max_length=19)], ...], Field(description=f"Pipedrive's; at most {MAX_IDS}")
    ] = ()
    token_share: Annotated[
        float,
        Field(gt=0, le=1, description="a page is read only while all that was spent in 24 hours is within this share"),
    ] = 0.5
    force: Annotated[bool, Field(description="write also what NetSuite is known to hold already")] = False
    stop_after: Annotated[int, Field(ge=0, le=2**31 - 1, description="pause after so many rejected; 0: never")] = 0
    reason: Why = ""
    dry_run: Annotated[bool, Field(description="only say what it will cost")] = False

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"flow": "acme-eu", "mode": "full", "dry_run": True}]}
    )


class EntityCost(BaseModel):
    """What one entity costs."""

    entity: Entity
    objects: int
    bound: Annotated[
        Literal["at_least", "at_most"], Field(description="what the numbers of objects, calls and tokens are")
    ]
    calls: int
    tokens: int
    netsuite_requests: Annotated[int, Field(description="at most, for these objects")]
    unchanged: Annotated[int, Field(description="objects whose last state was written: no request unless it changed")]
    netsuite_s: float
    netsuite_s_at_most: float


class SyncPlan(BaseModel):
    """Before it starts. `seconds`: what was written and did not change costs no request; `seconds_at_most`: all did."""

    entities: list[EntityCost]
    tokens: int
    tokens_a_day: Annotated[int, Field(description="up to which a day's tokens may be spent")]
    seconds: float
    seconds_at_most: float
    rests_on: Annotated[list[str], Field(description="what is measured, and what is assumed")]
    warnings: list[str]


class Walk(BaseModel):
    """How far one entity is. `read` = `desired` + `rejected`."""

    entity: Entity
    state: Step
    pages: int
    read: int
    desired: int
    rejected: int
    tokens: int
    restarts: Annotated[int, Field(description="from the first page: Pipedrive refused the cursor")]
    faults: Annotated[dict[str, int], Field(description="why objects were rejected: the most frequent reasons")]
    started_at: datetime | None
    ended_at: datetime | None
    rate_per_s: Annotated[float | None, Field(description="objects, since its walk began")]
    waits: Annotated[str, Field(description="what for; empty: for nothing")]
    waits_until: datetime | None


class Sync(BaseModel):
    """`done`: all is read and on its way to NetSuite; `settled`: nothing of that moves any more."""

    id: str
    flow: str
    state: SyncJobState
    why: Annotated[str, Field(description="it failed or is paused, if nobody asked for that")]
    reason: str
    actor: str
    created_at: datetime | None
    changed_at: datetime | None
    mode: SyncMode
    since: Annotated[str, Field(description="from when on it reads: a minute before what was asked for")]
    until: str
    ids: Annotated[list[str], Field(description="the first hundred")]
    each: Annotated[dict[str, int], Field(description="instead of `ids`: how many of each entity")]
    of: Annotated[str, Field(description="the reconcile whose differences it mends", examples=["9f2c7d09ab41"])]
    token_share: float
    force: bool
    stop_after: int
    plan: SyncPlan
    walks: Annotated[list[Walk], Field(description="in order: parents first")]
    seconds_left: Annotated[float | None, Field(description="null: it cannot be said")]
    rests_on: Annotated[str, Field(description="what `seconds_left` rests on, or why it is null")]
    outcomes: Annotated[
        dict[str, int],
        Field(
            description="of its objects; not in lists. `behind_letters`: they wait for a parent that is a dead letter",
            examples=[{"written": 40, "waiting": 2, "behind_letters": 0}],
        ),
    ]
    settled: bool


class Syncs(BaseModel):
    syncs: list[Sync]
    next: str | None
    behind: m.Behind


class Begun(BaseModel):
    """What it will cost, and (unless that was all that was asked) the sync."""

    plan: SyncPlan
    sync: Sync | None


class SyncReason(m.In):
    """Kept with the act."""

    reason: Why = ""


class SyncQuery(m.In):
    state: SyncJobState | None = None
    flow: Annotated[str | None, Field(max_length=63)] = None
    cursor: m.Cursor = None
    limit: m.Limit = 50
