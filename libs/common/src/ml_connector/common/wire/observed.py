"""`netsuite.observed`: what is known of NetSuite's records, and of the calls that are made."""

from __future__ import annotations

from typing import Literal

import msgspec

from ml_connector.common.codec import Wire
from ml_connector.common.generation import Generation
from ml_connector.common.keys import Entity, RecordType
from ml_connector.common.wire.words import Action, OutcomeKind


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
