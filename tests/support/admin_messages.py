"""Messages for the admin service's topics, as the other services write them, and places to put them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import msgspec

from ml_connector.common import headers as h
from ml_connector.common import keys, topics
from ml_connector.common.comparing import Compared, Difference, compared_key
from ml_connector.common.covering import pack
from ml_connector.common.dead_letters import DeadLetter
from ml_connector.common.drift import Polled, PolledKey
from ml_connector.common.flows import ActiveFlow, FlowVersion
from ml_connector.common.generation import Generation
from ml_connector.common.headers import Headers
from ml_connector.common.kafka.record import Record
from ml_connector.common.keys import NO_RECORD, DesiredKey, Entity, RecordType
from ml_connector.common.topics import Topic
from ml_connector.common.vault import SecretEntry
from ml_connector.common.wire import (
    Act,
    ActKind,
    Desired,
    Hydrate,
    Observed,
    Origin,
    Outcome,
    OutcomeKind,
    Received,
    Resolved,
    Standing,
)

START_MS = 1_700_000_000_000
ACCOUNT = "1234567_SB1"
FLOW = "acme-eu"
COMPANY = "acme"

TYPES: dict[Entity, RecordType] = {"organization": "customer", "person": "contact", "deal": "opportunity"}

# A message without its place.
Given = tuple[Topic, bytes, bytes | None, Headers]


def external_id(entity: Entity, source_id: str) -> str:
    return keys.external_id("pd", entity, source_id)


def record_key(entity: Entity, source_id: str, account: str = ACCOUNT) -> str:
    return keys.record_key(account, TYPES[entity], external_id(entity, source_id))


def suspended(company: str = COMPANY, reason: str = "the grant was revoked", *, at_ms: int = START_MS) -> Given:
    entry = Standing(state="suspended", reason=reason, at_ms=at_ms)
    return topics.STATE, keys.standing_key(company).encode(), entry.encode(), {}


def flow_version(flow: str = FLOW, *, company: str = COMPANY, account: str = ACCOUNT, version: int = 1) -> Given:
    document = {
        "flow": flow,
        "environment": "sandbox",
        "pipedrive": {"company": company},
        "netsuite": {"account": account},
        "external_ids": "pd",
    }
    value = FlowVersion(flow=flow, version=version, document=document, applied_at_ms=START_MS, applied_by="somebody")
    return topics.FLOWS, f"{flow}/v{version}".encode(), value.encode(), {}


def active_flow(flow: str = FLOW, *, version: int = 1, revision: int = 1, paused: bool = False) -> Given:
    entry = ActiveFlow(flow=flow, version=version, revision=revision, paused=paused)
    return topics.FLOWS, flow.encode(), entry.encode(), {}


def compared(
    job_id: str = "r1", *, page: int = 1, part: int = 1, parts: int = 1, different: int = 0, **told: Any
) -> Given:
    """`different`: so many records, by the numbers after a hundred for each page and ten for each part."""
    entity, equal, start = told.get("entity", "organization"), told.get("equal", 1), page * 100 + part * 10
    numbers = map(str, range(start, start + different))
    planted = tuple(Difference(one, external_id(entity, one), "different") for one in numbers)
    differences = planted + told.get("differences", ())
    usual = {"flow": FLOW, "account": ACCOUNT, "entity": entity, "at_ms": START_MS, "equal": equal}
    usual |= {"records": equal + len(differences), "covered": pack(int(one.source_id) for one in differences)}
    more = {**usual, **told, "differences": differences}
    entry = Compared(job_id=job_id, page=page, part=part, parts=parts, **more)
    return topics.AUDIT, compared_key(entry).encode(), entry.encode(), {}


def polled(job_id: str, page: int) -> Given:
    entry = Polled(job_id, FLOW, ACCOUNT, "organization", page, START_MS)
    return topics.AUDIT, str(PolledKey(job_id, page)).encode(), entry.encode(), {}


def secret(
    owner: str = f"flow/{FLOW}", name: str = "webhook-hmac", *, version: int = 1, kek: str = "k1", sealed: str = "AAAA"
) -> Given:
    """As it stands in the topic; nothing here is opened."""
    entry = SecretEntry(
        owner=owner,
        name=name,
        environment="sandbox",
        version=version,
        kek=kek,
        wrapped_key=f"{kek}AA",
        ciphertext=sealed,
    )
    return topics.SECRETS, entry.key.encode(), entry.encode(), {}


def received(
    cause: str, entity: str = "deal", source_id: str = "8", *, name: str = "", at_ms: int = START_MS, **more: Any
) -> Given:
    entry = Received(
        cause=cause,
        entity=entity,
        source_id=source_id,
        name=name,
        received_at_ms=at_ms,
        **{"flow": FLOW, "company": COMPANY, "account": ACCOUNT, "verified_by": "hmac-sha256:k1", **_PLACE, **more},
    )
    return topics.AUDIT, keys.received_key(cause).encode(), entry.encode(), {}


_PLACE: dict[str, Any] = {"topic": "pipedrive.events", "partition": 0, "offset": 1}


def resolved(
    cause: str, entity: Entity = "deal", source_id: str = "8", *, at_ms: int = START_MS + 1, **more: Any
) -> Given:
    facts: dict[str, Any] = {"flow": FLOW, "account": ACCOUNT, "generation": Generation(at_ms), **more}
    entry = Resolved(
        cause=cause,
        record_key=record_key(entity, source_id, facts["account"]),
        action="upsert",
        mapping_version=1,
        at_ms=at_ms,
        fields=["title"],
        **facts,
    )
    return topics.AUDIT, keys.resolved_key(cause).encode(), entry.encode(), {}


def outcome(
    cause: str,
    kind: OutcomeKind = "written",
    entity: str = "deal",
    source_id: str = "8",
    *,
    generation: Generation | None = None,
    at_ms: int = START_MS + 2,
    received_at_ms: int = START_MS,
    **more: Any,
) -> Given:
    """Without a generation it concerns no record."""
    facts: dict[str, Any] = {"flow": FLOW, "company": COMPANY, "account": ACCOUNT, **more}
    if generation is None:
        facts.setdefault("record_key", NO_RECORD)
    else:
        known: Any = entity
        facts.setdefault("record_key", record_key(known, source_id, facts["account"]))
        facts.setdefault("external_id", external_id(known, source_id))
    entry = Outcome(
        cause=cause,
        outcome=kind,
        entity=entity,
        source_id=source_id,
        generation=generation,
        received_at_ms=received_at_ms,
        at_ms=at_ms,
        **facts,
    )
    return topics.AUDIT, keys.outcome_key(cause, entry.record_key).encode(), entry.encode(), {}


def letter(
    cause: str,
    record: str = NO_RECORD,
    *,
    generation: Generation | None = None,
    replay_of: str = "",
    at_ms: int = START_MS + 2,
    **more: Any,
) -> Given:
    original = {
        h.FLOW: FLOW.encode(),
        h.COMPANY: COMPANY.encode(),
        **({h.REPLAY_OF: replay_of.encode()} if replay_of else {}),
    }
    facts: dict[str, Any] = {
        "account": ACCOUNT,
        "stage": "write" if generation is not None else "decode",
        "code": "INVALID_CONTENT",
        "message": "Please enter value(s) for: Subsidiary.",
        "topic": "pipedrive.events",
        "partition": 0,
        "offset": 1,
        "body": b'{"meta":{}}',
        **more,
    }
    one = DeadLetter(
        cause=cause,
        record_key=record,
        failed_at_ms=at_ms,
        original=original,
        generation=str(generation) if generation is not None else "",
        **facts,
    )
    return topics.DEAD_LETTERS, cause.encode(), one.body, one.to_headers()


def act(act_id: str, kind: ActKind, *targets: str, at_ms: int = START_MS + 5, reason: str = "because") -> Given:
    entry = Act(act_id=act_id, at_ms=at_ms, actor="ann", role="operator", act=kind, reason=reason, targets=targets)
    return topics.AUDIT, keys.act_key(act_id).encode(), entry.encode(), {}


def observed(
    entity: Entity = "deal", source_id: str = "8", *, generation: Generation, internal_id: str | None, **more: Any
) -> Given:
    facts: dict[str, Any] = {
        "flow": FLOW,
        "cause": "1:a",
        "outcome": "written",
        "action": "upsert",
        "at_ms": START_MS,
        **more,
    }
    key = record_key(entity, source_id, facts.pop("account", ACCOUNT))
    entry = Observed(record_key=key, generation=generation, internal_id=internal_id, **facts)
    return topics.OBSERVED, entry.record_key.encode(), entry.encode(), {}


def desired(cause: str, entity: Entity = "deal", source_id: str = "8", *, generation: Generation, **more: Any) -> Given:
    facts: dict[str, Any] = {"flow": FLOW, "company": COMPANY, "account": ACCOUNT, **more}
    entry = Desired(
        cause=cause,
        entity=entity,
        source_id=source_id,
        record_type=TYPES[entity],
        external_id=external_id(entity, source_id),
        generation=generation,
        action="upsert",
        mapping_version=1,
        origin=Origin(topic="pipedrive.events", partition=0, offset=1, received_at_ms=START_MS),
        **facts,
    )
    return topics.DESIRED, str(DesiredKey(entry.record_key, generation, cause)).encode(), entry.encode(), {}


def event(webhook: str, number: str, *, account: str = ACCOUNT, flow: str = FLOW, company: str = COMPANY) -> Given:
    body = msgspec.json.encode({"meta": {"webhook_id": webhook, "id": number}})
    return topics.EVENTS, company.encode(), body, {h.FLOW: flow.encode(), h.ACCOUNT: account.encode()}


def hydrate(request_id: str, *, flow: str = FLOW, company: str = COMPANY) -> Given:
    entry = Hydrate(
        request_id=request_id, flow=flow, entity="deal", source_id="8", lane="live", reason="", at_ms=START_MS
    )
    return topics.PIPEDRIVE_REQUESTS, company.encode(), entry.encode(), {}


def deferred(given: Given) -> Given:
    _, key, value, headers = given
    return topics.DEFERRED, key, value, headers


def erased(given: Given) -> Given:
    """A tombstone for the same key."""
    return given[0], given[1], None, {}


@dataclass
class Places:
    """Gives messages offsets; `step` leaves gaps, as transactions and compaction do."""

    step: int = 1
    ends: dict[tuple[str, int], int] = field(default_factory=lambda: defaultdict(int))

    def put(self, given: Given, partition: int = 0) -> Record:
        topic, key, value, headers = given
        offset = self.ends[(topic.name, partition)]
        self.ends[(topic.name, partition)] += self.step
        return Record(topic.name, partition, offset, key, value, headers, START_MS + offset)
