"""Put what was decided into messages: audit entries, the desired record, a dead letter, a message put aside. Pure."""

from __future__ import annotations

from typing import Final

import msgspec

from ml_connector.common import headers as h
from ml_connector.common import keys, topics
from ml_connector.common.dead_letters import DeadLetter
from ml_connector.common.headers import Headers
from ml_connector.common.syncing import SyncPage, SyncState, page_headers, sync_key
from ml_connector.common.traceparent import trace_id
from ml_connector.common.vault import SecretEntry
from ml_connector.common.wire import NO_JSON, Desired, Origin, Outcome, Received, Resolved, Stage
from ml_connector.resolver.decode import Event
from ml_connector.resolver.map import Mapped, external_id_of
from ml_connector.resolver.message import ORIGIN, Defer, Message, Output
from ml_connector.resolver.plan import EntityPlan, FlowPlan

# A desired record carries the body for a later dead letter; larger ones are found by their offset.
MAX_ORIGIN_BODY_BYTES: Final = 64 * 1024
# An object that was read may be larger than any webhook; room for headers and envelope is left.
MAX_BODY_BYTES: Final = topics.MAX_MESSAGE_BYTES - 1024 * 1024
MAX_NAME_CHARS: Final = 200


def received(message: Message, where: Origin, event: Event, *, account: str, with_body: bool) -> Output:
    """`where`: the origin of the message."""
    headers = where.headers
    entry = Received(
        cause=event.cause,
        flow=headers.get(h.FLOW, ""),
        company=headers.get(h.COMPANY, ""),
        account=account,
        received_at_ms=where.received_at_ms,
        verified_by=headers.get(h.VERIFIED_BY, ""),
        topic=where.topic,
        partition=where.partition,
        offset=where.offset,
        entity=event.entity,
        action=event.action,
        source_id=event.source_id,
        name=event.name[:MAX_NAME_CHARS] if with_body else "",
        trace=trace_id(message.headers.get(h.TRACEPARENT)),
        replay_of=headers.get(h.REPLAY_OF, ""),
        body=_raw(message.value, MAX_BODY_BYTES) if with_body else NO_JSON,
    )
    return _audit(account, keys.received_key(event.cause), entry.encode())


def desired(
    message: Message,
    where: Origin,
    plan: FlowPlan,
    entity: EntityPlan,
    event: Event,
    mapped: Mapped,
    reason: str | None = None,
) -> Desired:
    """`where`: the origin of the message."""
    return Desired(
        cause=event.cause,
        flow=plan.flow.flow,
        company=plan.company,
        account=plan.account,
        entity=entity.entity,
        source_id=event.source_id,
        record_type=entity.record_type,
        external_id=external_id_of(plan, entity, event.source_id),
        generation=event.generation,
        action=mapped.action,
        mapping_version=plan.version,
        origin=where,
        lane=message.lane,
        fields=mapped.fields,
        references=mapped.references,
        parent=mapped.parent,
        default_parent=mapped.default_parent,
        merged_to=mapped.merged_to,
        reason=reason,
        replay_of=where.headers.get(h.REPLAY_OF) or None,
        force=h.FORCE in message.headers,
    )


def resolved(desired: Desired, record_key: str, mapped: Mapped, *, at_ms: int) -> Output:
    entry = Resolved(
        cause=desired.cause,
        flow=desired.flow,
        account=desired.account,
        record_key=record_key,
        generation=desired.generation,
        action=desired.action,
        mapping_version=desired.mapping_version,
        at_ms=at_ms,
        fields=[*mapped.fields, *mapped.references],
        held_back=mapped.held_back,
    )
    return _audit(desired.account, keys.resolved_key(desired.cause), entry.encode())


def desired_output(desired: Desired, record_key: str, message: Message) -> Output:
    trace = message.headers.get(h.TRACEPARENT)
    return Output(
        topics.DESIRED,
        desired.account.encode(),
        keys.desired_key(record_key, desired.generation, desired.cause).encode(),
        desired.encode(),
        {} if trace is None else {h.TRACEPARENT: trace},
    )


def origin(message: Message) -> Origin:
    headers = message.headers
    try:
        kept = {name: value.decode() for name, value in headers.items() if name in h.ORIGINAL}
    except UnicodeDecodeError:
        kept = {name: value.decode("utf-8", "replace") for name, value in headers.items() if name in h.ORIGINAL}
    return Origin(
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        received_at_ms=message.received_at_ms,
        headers=kept,
        body=_raw(message.value, MAX_ORIGIN_BODY_BYTES),
    )


def outcome(entry: Outcome) -> Output:
    return _audit(entry.account, keys.outcome_key(entry.cause, entry.record_key), entry.encode())


def dead_letter(message: Message, entry: Outcome, *, stage: Stage, code: str) -> list[Output]:
    """The letter and its outcome; whoever writes them waits for the first before the second."""
    letter = DeadLetter(
        cause=entry.cause,
        record_key=entry.record_key,
        account=entry.account,
        stage=stage,
        code=code,
        message=entry.reason,
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        failed_at_ms=entry.at_ms,
        body=message.value if len(message.value) <= MAX_BODY_BYTES else b"",
        original=message.headers,
        generation=str(entry.generation) if entry.generation is not None else "",
        mapping_version=entry.mapping_version,
        attempts=1,
        traceparent=h.text(message.headers, h.TRACEPARENT),
    )
    account = entry.account.encode()
    return [
        Output(topics.DEAD_LETTERS, account, entry.cause.encode(), letter.body, letter.to_headers()),
        outcome(msgspec.structs.replace(entry, outcome="dead_lettered", stage=stage)),
    ]


def deferred(message: Message, why: Defer, *, kind: str, due_at_ms: int) -> Output:
    """The message itself, with a due time; its first place travels along."""
    added: dict[str, str] = {
        h.KIND: kind,
        h.DUE_AT_MS: str(due_at_ms),
        h.DEFERRALS: str(h.number(message.headers, h.DEFERRALS, 0) + 1),
        h.REASON: why.reason,
        ORIGIN: f"{message.topic}/{message.partition}/{message.offset}",
    }
    headers: Headers = {**message.headers, **{name: value.encode() for name, value in added.items()}}
    return Output(topics.DEFERRED, message.key, message.key, message.value, headers)


def renewed(message: Message, *, kind: str = "event") -> Output:
    """What waits, at the end of the topic. `kind`: what it is, if it does not say so itself yet."""
    headers: Headers = {h.KIND: kind.encode(), **message.headers}
    return Output(topics.DEFERRED, message.key, message.key, message.value, headers)


def state(company: str, key: str, value: bytes | None) -> Output:
    return Output(topics.STATE, company.encode(), key.encode(), value, {})


def sync_page(company: str, page: SyncPage) -> Output:
    """Ask for it."""
    return Output(topics.PIPEDRIVE_REQUESTS, company.encode(), company.encode(), page.encode(), page_headers(page))


def sync_state(company: str, entry: SyncState) -> Output:
    return state(company, sync_key(company, entry.job_id, entry.entity), entry.encode())


def secret(entry: SecretEntry) -> Output:
    return Output(topics.SECRETS, entry.key.encode(), entry.key.encode(), entry.encode(), {})


def _audit(account: str, key: str, value: bytes) -> Output:
    return Output(topics.AUDIT, account.encode(), key.encode(), value, {})


def _raw(body: bytes, most: int) -> msgspec.Raw:
    return msgspec.Raw(body) if len(body) <= most else NO_JSON
