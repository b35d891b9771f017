"""What goes into /records and /timeline and comes out of them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import BaseModel, Field, model_validator

from ml_connector.admin.api.models import Behind, In, Limit
from ml_connector.admin.look.letters import LetterId
from ml_connector.common.keys import Entity


class RecordQuery(In):
    """`q` as a person types it, or one of the others, which say exactly what is meant."""

    q: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=300,
            description="a name, `org 5`, a Pipedrive or NetSuite id, an external id, a cause, a trace, a dead letter",
            examples=["Acme GmbH", "deal 8", "pd-org-5"],
        ),
    ] = None
    entity: Annotated[Entity | None, Field(description="goes with `source_id`")] = None
    source_id: Annotated[str | None, Field(pattern=r"^[0-9]{1,19}$")] = None
    netsuite_id: Annotated[str | None, Field(pattern=r"^[0-9]{1,19}$")] = None
    external_id: Annotated[str | None, Field(max_length=100)] = None
    cause: Annotated[str | None, Field(max_length=250)] = None
    trace: Annotated[str | None, Field(pattern=r"^[0-9a-f]{32}$")] = None
    letter: LetterId | None = None

    @model_validator(mode="after")
    def _asks_for_something(self) -> Self:
        if not any((self.q, self.source_id, self.netsuite_id, self.external_id, self.cause, self.trace, self.letter)):
            raise ValueError("give q, source_id, netsuite_id, external_id, cause, trace or letter")
        return self


class TimelineQuery(RecordQuery):
    before: Annotated[str | None, Field(max_length=600, description="`older` of another page")] = None
    after: Annotated[str | None, Field(max_length=600, description="`newer` of another page")] = None
    limit: Limit = 100


class Record(BaseModel):
    """The NetSuite record that one flow keeps for an object."""

    flow: str
    account: str
    record_key: str
    external_id: str
    netsuite_id: Annotated[str, Field(description="empty: NetSuite is not known to hold it")]
    outcome: Annotated[str, Field(description="of the newest state that is settled")]
    settled_at: datetime | None
    settled_by: str
    waiting: Annotated[int, Field(description="newer states that are not settled")]
    open_letters: int
    stopped: Annotated[list[str], Field(description="why its account or flow makes no calls now")]


class Subject(BaseModel):
    """An object of Pipedrive; or a single cause that concerns none."""

    company: str
    entity: str
    source_id: str
    name: str
    earlier_names: list[str]
    flows: list[str]
    records: list[Record]
    cause: str


class Records(BaseModel):
    records: list[Subject]
    behind: Behind


class Entry(BaseModel):
    at: datetime | None
    kind: Annotated[str, Field(examples=["received", "resolved", "outcome", "dead_letter", "replay", "act"])]
    cause: str
    record_key: str
    id: Annotated[str, Field(description="of a dead letter, a replay or an act")]
    state: str
    entry: Annotated[dict[str, Any], Field(description="the audit's entry, with request and response; or the facts")]


class Timeline(BaseModel):
    subject: Subject
    entries: list[Entry]
    older: Annotated[str | None, Field(description="`before` of the page before this one")]
    newer: Annotated[str | None, Field(description="`after` of the page after this one")]
    behind: Behind
