"""What goes into /replays and comes out of it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from ml_connector.admin.api.models import Behind, Cursor, In, Limit, Reason
from ml_connector.admin.api.previews import Previewed
from ml_connector.admin.look.letters import Selection
from ml_connector.common.wire import JobState, Mapping


class NewReplay(In):
    selection: Selection
    reason: Reason
    dry_run: Annotated[bool, Field(description="write nothing; say of each what would be written")] = False
    mapping: Annotated[Mapping, Field(description="today's, or the version that it was mapped with")] = "today"
    rate_per_s: Annotated[
        float | None, Field(gt=0, le=10_000, description="null: as fast as it goes", examples=[50])
    ] = None
    stop_after: Annotated[int | None, Field(ge=1, description="pause after so many dead letters")] = None
    force: Annotated[bool, Field(description="also what failed the same way again and again")] = False
    draft: Annotated[bool, Field(description="do not start it yet")] = False

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"selection": {"group": "7be1b0a4c3"}, "reason": "the subsidiary is mapped now", "stop_after": 5}
            ]
        },
    )


class Why(In):
    reason: Reason


class Replay(BaseModel):
    id: str
    state: JobState
    why: Annotated[str, Field(description="it is paused, if nobody asked for that")]
    reason: str
    actor: str
    created_at: datetime | None
    changed_at: datetime | None
    selection: dict[str, Any]
    dry_run: bool
    mapping: Mapping
    rate_per_s: float | None
    stop_after: int | None
    force: bool
    total: int
    issued: Annotated[int, Field(description="items that had their turn")]
    items: Annotated[
        dict[str, int],
        Field(description="how many are in which state", examples=[{"written": 40, "skipped": 2, "issued": 8}]),
    ]


class Replays(BaseModel):
    replays: list[Replay]
    next: str | None
    behind: Behind


class Item(BaseModel):
    number: int
    letter: str
    record_key: str
    cause: str
    state: Annotated[str, Field(examples=["written", "superseded", "dead_lettered", "skipped", "would_be_written"])]
    why: Annotated[str, Field(description="it was skipped, or failed again")]
    failed_as: Annotated[str, Field(description="the new dead letter of one that failed again")]
    at: datetime | None
    found: Annotated[Previewed | None, Field(description="of a dry run")]


class Items(BaseModel):
    items: list[Item]
    next: int | None
    behind: Behind


class ItemQuery(In):
    state: Annotated[str | None, Field(max_length=40)] = None
    after: Annotated[int, Field(ge=-1, le=2**31 - 1)] = -1
    limit: Limit = 100


class ReplayQuery(In):
    state: JobState | None = None
    cursor: Cursor = None
    limit: Limit = 50
