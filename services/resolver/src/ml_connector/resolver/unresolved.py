"""What follows from a message that becomes no desired record: a dead letter, or the note that it was ignored. Pure.

Each begins with the audit's `received` and ends with the outcome.
"""

from __future__ import annotations

import msgspec

from ml_connector.common import headers as h
from ml_connector.common.generation import Generation
from ml_connector.common.keys import NO_RECORD
from ml_connector.common.traceparent import trace_id
from ml_connector.common.wire import Outcome
from ml_connector.resolver import emit
from ml_connector.resolver.decode import MAPPED, Event, cause_of
from ml_connector.resolver.map import external_id_of, record_key_of
from ml_connector.resolver.message import Message, Output
from ml_connector.resolver.plan import EntityPlan, FlowPlan


def malformed(message: Message, reason: str, *, code: str, now_ms: int) -> list[Output]:
    account = h.text(message.headers, h.ACCOUNT)
    cause = h.text(message.headers, h.CAUSE) or cause_of(message.value)
    event = Event(cause=cause, entity="", action="", source_id="", generation=Generation(0))
    outcome = _outcome(message, account, event, reason, now_ms)
    return [
        _received(message, event, account, with_body=False),
        *emit.dead_letter(message, outcome, stage="decode", code=code),
    ]


def unmapped(
    message: Message, plan: FlowPlan, entity: EntityPlan, event: Event, reason: str, *, code: str, now_ms: int
) -> list[Output]:
    """The record is known, but not what it should hold."""
    outcome = msgspec.structs.replace(
        _outcome(message, plan.account, event, reason, now_ms),
        record_key=record_key_of(plan, entity, event.source_id),
        external_id=external_id_of(plan, entity, event.source_id),
        generation=event.generation,
        mapping_version=plan.version,
    )
    return [
        _received(message, event, plan.account, with_body=True),
        *emit.dead_letter(message, outcome, stage="map", code=code),
    ]


def without_version(message: Message, plan: FlowPlan, event: Event, *, now_ms: int) -> list[Output]:
    """The record is known all the same: no version of a flow changes what its records are called."""
    version = h.number(message.headers, h.MAPPING_VERSION, 0)
    reason = f"the flow has no version {version}" if version > 0 else "the header mapping-version is no version"
    code = "UNKNOWN_VERSION"
    entity = plan.entities.get(event.entity)
    if entity is not None:
        return unmapped(message, plan, entity, event, reason, code=code, now_ms=now_ms)
    outcome = _outcome(message, plan.account, event, reason, now_ms)
    return [
        _received(message, event, plan.account, with_body=event.entity in MAPPED),
        *emit.dead_letter(message, outcome, stage="map", code=code),
    ]


def ignored(message: Message, plan: FlowPlan, event: Event, *, now_ms: int) -> list[Output]:
    """Another entity, or one that the flow does not map; its body is not kept."""
    outcome = _outcome(message, plan.account, event, f"{event.entity} is not mapped", now_ms)
    return [_received(message, event, plan.account, with_body=False), emit.outcome(outcome)]


def _received(message: Message, event: Event, account: str, *, with_body: bool) -> Output:
    return emit.received(message, emit.origin(message), event, account=account, with_body=with_body)


def _outcome(message: Message, account: str, event: Event, reason: str, now_ms: int) -> Outcome:
    """Ignored, until `emit.dead_letter` says otherwise."""
    headers = message.headers
    return Outcome(
        cause=event.cause,
        flow=h.text(headers, h.FLOW),
        company=h.text(headers, h.COMPANY),
        account=account,
        record_key=NO_RECORD,
        outcome="ignored",
        received_at_ms=message.received_at_ms,
        at_ms=now_ms,
        entity=event.entity,
        source_id=event.source_id,
        lane=message.lane,
        reason=reason,
        replay_of=h.text(headers, h.REPLAY_OF) or None,
        trace=trace_id(headers.get(h.TRACEPARENT)),
    )
