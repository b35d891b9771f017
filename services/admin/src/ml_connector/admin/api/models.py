"""What several resources of the API have in common. Times are ISO 8601 in UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Reason = Annotated[str, Field(min_length=3, max_length=500, examples=["the currency is mapped now"])]
Limit = Annotated[int, Field(ge=1, le=500)]
Cursor = Annotated[str | None, Field(max_length=400, description="`next` of the page before")]


def at(ms: int | None) -> datetime | None:
    """0 and None: never."""
    return datetime.fromtimestamp(ms / 1000, UTC) if ms else None


class In(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Behind(BaseModel):
    """How far the answer is behind the topics."""

    messages: Annotated[int, Field(description="written to the topics, not yet taken into account here")]
    age_s: Annotated[
        float | None,
        Field(description="all that is older is taken into account; null while the topics are read for the first time"),
    ]


class Stop(BaseModel):
    """What does not go on by itself, or only once its vendor answers again."""

    subject: Annotated[
        str,
        Field(
            description="`flow/<flow>`, `company/<company>`, `account/<account>`, `account/<account>/<record type>`",
            examples=["company/acme"],
        ),
    ]
    state: Annotated[str, Field(description="`halted`: a person resumes it; `suspended`: it is tried again")]
    reason: str
    since: datetime | None
