"""`audit`: every step of every event, and every act of an operator."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from ml_connector.common.codec import Wire
from ml_connector.common.generation import Generation
from ml_connector.common.wire.words import NO_JSON, Action, Lane, OutcomeKind, Stage


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
