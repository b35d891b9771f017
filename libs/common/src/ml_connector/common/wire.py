"""What travels between the services. One struct per message; golden files in tests/data/wire keep them honest."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from ml_connector.common.codec import Wire
from ml_connector.common.generation import Generation
from ml_connector.common.keys import Entity, RecordType, record_key

Lane = Literal["live", "replay", "backfill"]

# What the writer shall make of a record. The last four only ever come of what was read.
Action = Literal[
    "upsert",  # NetSuite shall hold `fields`
    "inactivate",  # the object was deleted or merged away: the record stays, inactive (a lost opportunity)
    "ignore",  # the object was deleted, and the flow says to leave its record alone
    "gone",  # the object does not exist in Pipedrive
    "merged",  # the object now is part of `merged_to`
    "unmapped",  # the flow does not map this entity
    "rejected",  # the mapping does not fit the object (`reason`)
]

OutcomeKind = Literal["written", "superseded", "ignored", "dead_lettered"]

# The bytes of a JSON value that is not there (an empty default is left out on the wire).
NO_JSON = msgspec.Raw(b"")

# Where a record failed: the stage is part of a dead letter and of its group.
Stage = Literal["decode", "map", "orphan", "write", "vendor"]

# A reference is written as {"id": <internal id>}; the writer finds the id.
ReferenceKind = Literal["id", "currency", "subsidiary", "status", "employee"]


class Reference(msgspec.Struct, frozen=True):
    """A field that points to another NetSuite record. Kind `id`: `value` is the internal id already."""

    kind: ReferenceKind
    value: str


class Parent(msgspec.Struct, frozen=True):
    """The customer that must exist before this record is written, and whose organization it is."""

    record_key: str
    entity: Entity
    source_id: str


class Origin(msgspec.Struct, frozen=True, omit_defaults=True):
    """The message that a desired record was made from; `body` are its bytes, if they are at most 64 KiB.

    `headers` are the allowed ones (`headers.ORIGINAL`), as text.
    """

    topic: str
    partition: int
    offset: int
    received_at_ms: int
    headers: dict[str, str] = {}
    body: msgspec.Raw = NO_JSON


class Desired(Wire, frozen=True):
    """One state that one NetSuite record should have. Key: `keys.DesiredKey`; partitioned by account."""

    cause: str
    flow: str
    company: str
    account: str
    entity: Entity
    source_id: str
    record_type: RecordType
    external_id: str
    generation: Generation
    action: Action
    mapping_version: int
    origin: Origin
    lane: Lane = "live"
    fields: dict[str, Any] = {}  # body field -> JSON value; None clears it
    references: dict[str, Reference] = {}
    parent: Parent | None = None
    default_parent: str | None = None  # internal id of the flow's default customer
    merged_to: str | None = None  # Pipedrive id of the object that took this one over
    reason: str | None = None
    replay_of: str | None = None  # the cause that this one replays
    force: bool = False  # write it even if NetSuite is known to hold exactly this

    @property
    def record_key(self) -> str:
        return record_key(self.account, self.record_type, self.external_id)


class Settled(msgspec.Struct, frozen=True, array_like=True):
    """A cause that has its outcome; remembered for a quarter of an hour to recognise repetitions."""

    cause: str
    at_ms: int


class Observed(Wire, frozen=True):
    """What is known of one NetSuite record. Key: record key; partitioned by account."""

    record_key: str
    flow: str
    generation: Generation  # the newest settled one
    cause: str
    outcome: OutcomeKind
    action: Action
    at_ms: int
    internal_id: str | None = None  # set once NetSuite holds the record; survives later failures
    digest: str | None = None  # of the body that NetSuite last accepted
    merged_to: str | None = None
    settled: tuple[Settled, ...] = ()
    asserted: tuple[int, ...] = ()  # ms: when it was written because it had been changed in NetSuite; of the last day


class Doubt(msgspec.Struct, frozen=True, array_like=True):
    """A call whose answer never came: NetSuite may still execute it until the quiet time is over."""

    generation: Generation
    at_ms: int


class Attempt(Wire, frozen=True):
    """A call that is about to be made (`open`), or calls whose answers never came.

    Key: `keys.attempt_key`; a tombstone once nothing is open and nothing in doubt.
    """

    record_key: str
    flow: str
    entity: Entity
    source_id: str
    company: str
    generation: Generation
    at_ms: int
    owner: str  # one id per assignment: an attempt of somebody else means that a former owner is still alive
    open: bool = True
    doubts: tuple[Doubt, ...] = ()


class Member(msgspec.Struct, frozen=True, array_like=True):
    """One record of a batch: its message in `netsuite.desired`, and which Pipedrive object it is."""

    desired_key: str
    flow: str
    company: str
    entity: Entity
    source_id: str


class BatchJob(Wire, frozen=True):
    """An asynchronous batch that is about to be submitted, or was. Key: `keys.job_key`; a tombstone once it is settled.

    With its idempotency key NetSuite tells where the job is, should the answer to its submission be lost.
    """

    idempotency_key: str
    account: str
    record_type: RecordType
    members: tuple[Member, ...]  # in the order of the request
    at_ms: int
    owner: str  # as of an attempt
    job_id: str = ""  # NetSuite's, once it has answered


class Standing(Wire, frozen=True):
    """Why an account (or one record type of it) or a company is suspended, or a flow halted. A tombstone once it is
    not any more.

    Key: `keys.account_key` or `keys.flow_key`; of a company `keys.standing_key`, in `pipedrive.state`.
    """

    state: Literal["suspended", "halted"]
    reason: str
    at_ms: int


class Hydrate(Wire, frozen=True, tag_field="kind", tag="hydrate"):
    """Ask the company's owner to read one object and to emit its desired state. In `pipedrive.requests`."""

    request_id: str
    flow: str
    entity: Entity
    source_id: str
    lane: Lane
    reason: str
    at_ms: int
    force: bool = False  # as of a desired state


class StoredDefinitions(Wire, frozen=True):
    """Field definitions of one entity as last read from Pipedrive. In `pipedrive.state`."""

    company: str
    entity: str
    read_at_ms: int
    fields: list[dict[str, Any]]


class StoredStages(Wire, frozen=True):
    """Pipelines and stages as last read from Pipedrive. In `pipedrive.state`."""

    company: str
    read_at_ms: int
    pipelines: list[dict[str, Any]]
    stages: list[dict[str, Any]]


class StoredBudget(Wire, frozen=True):
    """API tokens of Pipedrive spent, by hours since the epoch. In `pipedrive.state`."""

    company: str
    spent: dict[int, int]


class Received(Wire, frozen=True):
    """Audit `<cause>/received`: the original event, when it came and how it was verified."""

    cause: str
    flow: str
    company: str
    account: str
    received_at_ms: int
    verified_by: str
    topic: str
    partition: int
    offset: int
    entity: str = ""
    action: str = ""
    source_id: str = ""
    name: str = ""  # of the organization, person or deal; what an operator looks it up by
    trace: str = ""
    replay_of: str = ""
    body: msgspec.Raw = NO_JSON  # empty for an ignored entity, or when it is not JSON


class Resolved(Wire, frozen=True):
    """Audit `<cause>/resolved`: what the mapping made of the event."""

    cause: str
    flow: str
    account: str
    record_key: str
    generation: Generation
    action: Action
    mapping_version: int
    at_ms: int
    fields: list[str] = []  # names only
    held_back: list[str] = []  # custom fields that the definitions do not know


class Try(msgspec.Struct, frozen=True, omit_defaults=True):
    """One request to NetSuite on behalf of a record. `detail` is the vendor's text, cut."""

    at_ms: int
    took_ms: int
    method: str
    path: str
    status: int = 0  # 0: no answer
    code: str = ""
    detail: str = ""


class Superseded(msgspec.Struct, frozen=True):
    """The newer state that won."""

    generation: Generation
    cause: str


class Outcome(Wire, frozen=True):
    """Audit `<cause>/<record key>/outcome`: what became of one cause for one record. Exactly one of each."""

    cause: str
    flow: str
    company: str
    account: str
    record_key: str
    outcome: OutcomeKind
    received_at_ms: int
    at_ms: int
    entity: str = ""
    source_id: str = ""
    external_id: str = ""
    generation: Generation | None = None
    mapping_version: int = 0
    lane: Lane = "live"
    reason: str = ""
    stage: Stage | None = None  # of a dead letter
    superseded_by: Superseded | None = None
    internal_id: str | None = None
    tries: list[Try] = []
    tries_left_out: int = 0  # only the first and the last ones are kept
    request: msgspec.Raw = NO_JSON
    response: msgspec.Raw = NO_JSON
    replay_of: str | None = None
    trace: str = ""


ActKind = Literal[
    "dead_letters.edit",
    "dead_letters.discard",
    "replay.create",
    "replay.start",
    "replay.pause",
    "replay.cancel",
    "sync.create",
    "sync.pause",
    "sync.resume",
    "sync.cancel",
    "reconcile.create",
    "reconcile.pause",
    "reconcile.resume",
    "reconcile.cancel",
    "poll.create",
    "poll.cancel",
    "accounting.check",
    "flow.apply",
    "flow.activate",
    "flow.pause",
    "flow.resume",
    "flow.check",
    "secret.set",
    "secret.delete",
    "vault.rotate",
    "pipedrive.connect",
    "webhooks.install",
    "webhooks.rotate",
]


class Act(Wire, frozen=True):
    """Audit `act/<id>`: what an operator did. `targets`: letters, records and jobs by their ids."""

    act_id: str
    at_ms: int
    actor: str  # the token's subject
    role: str
    act: ActKind
    reason: str = ""
    targets: tuple[str, ...] = ()
    detail: dict[str, Any] = {}


JobState = Literal["draft", "running", "paused", "cancelled", "done"]
Mapping = Literal["today", "original"]


class ReplayJob(Wire, frozen=True):
    """A replay. In `connector.jobs`, key: its id; of two entries the one with the higher `version` counts."""

    job_id: str
    version: int
    state: JobState
    created_at_ms: int
    changed_at_ms: int
    actor: str
    reason: str
    selection: dict[str, Any]  # as it was asked for
    total: int
    issued: int = 0  # items below this number have been written to their topic
    why: str = ""  # it was paused, if nobody asked for that
    dry_run: bool = False
    mapping: Mapping = "today"
    rate_per_s: float | None = None  # None: as fast as it goes
    stop_after: int | None = None  # pause after so many dead letters
    force: bool = False  # also what failed the same way again and again


class ReplayItem(msgspec.Struct, frozen=True, array_like=True):
    """One dead letter of a replay. `revision` is fixed, so that issuing it twice changes nothing."""

    letter_id: str
    record_key: str
    account: str
    partition: int
    offset: int
    revision: int
    skip: str = ""  # why it is not taken


class ReplayItems(Wire, frozen=True):
    """Some items of a replay, in order. In `connector.jobs`, key: `keys.items_key`.

    One that could not be issued when its turn came is told again alone, with `skip`; key: `keys.skipped_key`.
    """

    job_id: str
    first: int  # the number of the first one
    items: tuple[ReplayItem, ...]


class Edited(Wire, frozen=True):
    """The edited copy of a dead letter's event. In `connector.jobs`, key: `keys.edit_key`."""

    letter_id: str
    version: int
    body: bytes
    at_ms: int
    actor: str
    reason: str


class Step(msgspec.Struct, frozen=True, omit_defaults=True):
    """What stands behind a name in an expression. `id` and `name` are Pipedrive's; empty: it has none of that.

    A custom field (`id`: its code), an option that it holds, the stage of a deal, or `won` and `lost` before it.
    """

    kind: Literal["field", "option", "stage", "status"]
    id: str = ""
    name: str = ""
    type: str = ""


class Source(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a value is made from. An option follows the field that holds it."""

    expression: str  # or the value itself, as JSON, where the flow gives one
    steps: tuple[Step, ...] = ()


class Preview(Wire, frozen=True):
    """What the mapping would make of an event now. In `connector.replies`, key: the id of the request.

    The request is the event itself in `pipedrive.requests`, with `headers.KIND` and `headers.REQUEST_ID`.
    """

    request_id: str
    result: Literal["desired", "ignored", "dead_lettered", "unresolved"]
    record_key: str = ""
    generation: Generation | None = None
    action: Action | None = None
    mapping_version: int = 0
    fields: dict[str, Any] = {}
    references: dict[str, Reference] = {}
    parent: Parent | None = None
    sources: dict[str, Source] = {}  # of fields and references
    held_back: list[str] = []
    stage: Stage | None = None  # of a dead letter
    code: str = ""  # of a dead letter
    reason: str = ""
