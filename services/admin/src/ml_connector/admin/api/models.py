"""What goes into the API and comes out of it. Times are ISO 8601 in UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ml_connector.admin.look.letters import LetterFilter, LetterId, LetterState, Selection
from ml_connector.common.keys import Entity
from ml_connector.common.wire import ActKind, JobState, Mapping, Stage

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


class Status(Behind):
    stopped: Annotated[list[Stop], Field(description="flows, companies and accounts; empty when all work")]


# -- records -------------------------------------------------------------------------------------------------------


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


# -- dead letters --------------------------------------------------------------------------------------------------


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


class Step(BaseModel):
    """What stands behind a name in an expression. `id` and `name` are Pipedrive's; empty: it has none of that."""

    kind: Annotated[
        Literal["field", "option", "stage", "status"],
        Field(description="a custom field (`id`: its code), an option it holds, a deal's stage, its won or lost"),
    ]
    id: str
    name: str
    type: Annotated[str, Field(description="of a custom field")]


class Source(BaseModel):
    """What a value is made from."""

    expression: Annotated[str, Field(description="or the value itself, as JSON, where the flow gives one")]
    steps: list[Step]


class Previewed(BaseModel):
    """What the mapping makes of an event now."""

    result: Literal["desired", "ignored", "dead_lettered", "unresolved"]
    record_key: str
    action: str | None
    mapping_version: int
    fields: dict[str, Any]
    references: dict[str, dict[str, str]]
    sources: Annotated[dict[str, Source], Field(description="of each field and reference")]
    parent: str | None
    held_back: list[str]
    reason: str


# -- replays -------------------------------------------------------------------------------------------------------


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


# -- accounting, acts ----------------------------------------------------------------------------------------------


class AccountSum(BaseModel):
    account: str
    balanced: bool
    accepted: int
    written: int
    superseded: int
    ignored: int
    dead_lettered: int
    waiting: int
    duplicates: int
    lost: Annotated[list[str], Field(description="causes: accepted, without outcome, not waiting")]
    unexplained: Annotated[list[str], Field(description="causes: an outcome that nobody accepted")]
    contradicting: Annotated[list[str], Field(description="causes: several outcomes")]


class Accounting(BaseModel):
    at: datetime | None
    accounts: list[AccountSum]


class Act(BaseModel):
    id: str
    at: datetime | None
    actor: str
    role: str
    act: ActKind
    reason: str
    targets: Annotated[list[str], Field(description="letters, records and replays; the first hundred")]
    detail: dict[str, Any]


class Acts(BaseModel):
    acts: list[Act]
    next: str | None
    behind: Behind


class ActQuery(In):
    target: Annotated[str | None, Field(max_length=300)] = None
    cursor: Cursor = None
    limit: Limit = 50
