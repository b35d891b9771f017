"""`netsuite.desired`: the states that NetSuite's records should have."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from ml_connector.common.codec import Wire
from ml_connector.common.generation import Generation
from ml_connector.common.keys import Entity, RecordType, record_key
from ml_connector.common.wire.words import NO_JSON, Action, Lane

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
