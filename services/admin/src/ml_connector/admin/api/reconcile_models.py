"""What goes into /reconciles and comes out of it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ml_connector.admin.api import models as m
from ml_connector.admin.api import sync_models as s
from ml_connector.admin.api.flows import Why
from ml_connector.admin.reconcile.why import WhyKind
from ml_connector.common.keys import Entity
from ml_connector.common.sync_job import SyncJobState, SyncMode
from ml_connector.common.syncing import MAX_IDS

Found = Literal["missing", "different", "inactive", "active", "extra", "waiting", "unknown", "unmapped"]


class NewReconcile(m.In):
    """What is compared: all, or some objects of one entity (`ids`)."""

    flow: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$", examples=["acme-eu"])]
    entities: Annotated[tuple[Entity, ...], Field(max_length=3, description="empty: all that the flow maps")] = ()
    ids: Annotated[
        tuple[Annotated[str, Field(max_length=19)], ...], Field(description=f"Pipedrive's; at most {MAX_IDS}")
    ] = ()
    token_share: Annotated[
        float,
        Field(gt=0, le=1, description="a page is read only while all that was spent in 24 hours is within this share"),
    ] = 0.5
    reason: Why = ""
    dry_run: Annotated[bool, Field(description="only say what it will cost")] = False

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"flow": "acme-eu", "entities": ["deal"], "dry_run": True}]}
    )


class EntityResult(BaseModel):
    """Of one entity, as far as it was told. `records` = `equal` + `failed` + those of `found` but extra, unmapped."""

    entity: Entity
    records: Annotated[int, Field(description="objects whose records were compared")]
    equal: int
    found: Annotated[dict[str, int], Field(description="what is not as it should be", examples=[{"different": 3}])]
    held: Annotated[int | None, Field(description="records of our external ids in NetSuite; null: not counted (yet)")]
    failed: Annotated[dict[str, int], Field(description="why records could not be compared, and how many")]
    not_comparable: Annotated[dict[str, str], Field(description="fields that were not compared, and why")]


class CauseCount(BaseModel):
    """How many records have this as their likeliest cause."""

    entity: Entity
    found: Annotated[str, Field(examples=["different"])]
    cause: WhyKind | None
    certain: bool
    records: int


class Reconcile(BaseModel):
    """`done`: everything that was asked for is told."""

    id: str
    flow: str
    state: SyncJobState
    why: Annotated[str, Field(description="it failed or is paused, if nobody asked for that")]
    reason: str
    actor: str
    created_at: datetime | None
    changed_at: datetime | None
    mode: SyncMode
    ids: Annotated[list[str], Field(description="the first hundred")]
    token_share: float
    plan: s.SyncPlan
    walks: Annotated[list[s.Walk], Field(description="in order: parents first")]
    seconds_left: Annotated[float | None, Field(description="until all is read; null: it cannot be said")]
    rests_on: Annotated[str, Field(description="what `seconds_left` rests on, or why it is null")]
    waits: Annotated[str, Field(description="all is read; what NetSuite's side still has to tell")]
    results: Annotated[list[EntityResult], Field(description="not in lists")]
    causes: Annotated[list[CauseCount], Field(description="not in lists, and not while it runs")]
    causes_of: Annotated[int, Field(description="of how many records the causes are: the first ones")]
    clean: Annotated[bool | None, Field(description="done, and everything is as it should be; null: not done")]
    forgotten: Annotated[bool, Field(description="what it found is not kept any more, or not all of it")]
    mended_by: Annotated[str, Field(description="the sync that mends what was found")]


class Reconciles(BaseModel):
    reconciles: list[Reconcile]
    next: str | None
    behind: m.Behind


class ReconcileBegun(BaseModel):
    """What it will cost, and (unless that was all that was asked) the reconcile."""

    plan: s.SyncPlan
    reconcile: Reconcile | None


class Because(BaseModel):
    """`certain`: it follows from what NetSuite, Pipedrive and the audit say; else it is likely."""

    cause: WhyKind
    certain: bool
    text: str


class FieldResult(BaseModel):
    """Both values, as far as there was room (`cut`)."""

    field: str
    should: Any
    holds: str | None
    cut: bool


class Result(BaseModel):
    """One record that is not as it should be."""

    entity: Entity
    source_id: str
    external_id: str
    netsuite_id: str
    found: str
    causes: Annotated[list[Because], Field(description="the likeliest first")]
    fields: list[FieldResult]
    reason: Annotated[str, Field(description="in words, where there are any")]
    modified: Annotated[str, Field(description="last, as NetSuite's own clock shows it")]
    written_at: Annotated[datetime | None, Field(description="by the connector, last")]
    dead_letter: Annotated[str, Field(description="its id, if its newest state is one")]


class Results(BaseModel):
    results: list[Result]
    next: str | None


class ResultQuery(m.In):
    entity: Entity | None = None
    found: Found | None = None
    cause: WhyKind | None = None
    cursor: m.Cursor = None
    limit: m.Limit = 50


class NewFix(m.In):
    """Sync by force what the reconcile has found; with `dry_run` only say what that would be."""

    reason: Why = ""
    dry_run: bool = False


class Left(BaseModel):
    """Records that a sync cannot mend."""

    why: Literal["extra", "dead_letter", "unmapped", "unknown", "waiting"]
    records: int
    helps: str


class Fix(BaseModel):
    """`mends`: records of each entity. `plan` null: there is nothing that a sync could mend."""

    mends: dict[str, int]
    left: list[Left]
    plan: s.SyncPlan | None
    sync: Annotated[str, Field(description="its id; empty: none was started")]
