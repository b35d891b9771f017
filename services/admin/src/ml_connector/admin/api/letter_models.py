"""What goes into /dead-letters and comes out of it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field

from ml_connector.admin.api.models import Behind, Cursor, In, Limit, Reason
from ml_connector.admin.look.letters import LetterFilter, LetterState, Selection
from ml_connector.common.wire import Stage


class LetterQuery(LetterFilter):
    cursor: Cursor = None
    limit: Limit = 50


class GroupQuery(LetterFilter):
    limit: Limit = 50


class Letter(BaseModel):
    """A dead letter as lists show it."""

    id: Annotated[str, Field(examples=["5f0c1e9a77d2"])]
    state: LetterState
    account: str
    flow: str
    entity: str
    source_id: str
    record_key: Annotated[str, Field(examples=["1234567_sb1/customer/pd-org-5"])]
    stage: Stage
    code: Annotated[str, Field(examples=["USER_ERROR"])]
    field: str
    message: str
    group: Annotated[str, Field(examples=["7be1b0a4c3"])]
    suggested_fix: str
    cause: str
    replay_of: str
    trace: str
    attempts: int
    first_failed_at: datetime | None
    failed_at: datetime | None
    expires_at: Annotated[datetime | None, Field(description="when the topic forgets its bytes")]
    waiting_behind: Annotated[int, Field(description="records that wait until this one is written")]
    resolution: Annotated[str, Field(description="of a resolved one: what became of the newer state")]
    resolved_by: Annotated[str, Field(description="the cause of that newer state")]
    resolved_at: datetime | None


class Letters(BaseModel):
    letters: list[Letter]
    next: str | None
    behind: Behind


class ItemOfLetter(BaseModel):
    replay: str
    state: str
    why: str


class LetterDetail(Letter):
    """Event, mapped record and NetSuite's answer side by side."""

    event: Annotated[Any, Field(description="as it was received; text where it is not JSON, null where it is gone")]
    event_at: Annotated[str, Field(description="topic/partition/offset of the original")]
    edited: Annotated[Any, Field(description="the edited copy that a replay takes instead")]
    request: Annotated[Any, Field(description="the record as it was sent to NetSuite")]
    response: Annotated[Any, Field(description="NetSuite's answer")]
    mapping_version: int
    discarded_because: str
    replays: list[ItemOfLetter]
    behind: Behind


class Group(BaseModel):
    """Failures that one and the same act would mend."""

    group: str
    stage: Stage
    code: str
    field: str
    flow: str
    message: Annotated[str, Field(description="of one of them")]
    suggested_fix: str
    letters: int
    records: int
    open: int
    resolved: int
    discarded: int
    waiting_behind: int
    first_failed_at: datetime | None
    last_failed_at: datetime | None
    expires_at: datetime | None


class Groups(BaseModel):
    groups: list[Group]
    behind: Behind


class Discard(In):
    selection: Annotated[Selection, Field(examples=[{"ids": ["5f0c1e9a77d2"]}])]
    reason: Reason


class Discarded(BaseModel):
    discarded: Annotated[int, Field(examples=[1])]


class Edit(In):
    event: Annotated[
        dict[str, Any],
        Field(
            description="the whole event, corrected; its `meta` stays as it is",
            examples=[{"meta": {"action": "change", "entity": "organization", "entity_id": "5"}, "data": {"id": 5}}],
        ),
    ]
    reason: Reason
