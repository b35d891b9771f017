"""Put into words what became of a desired state: the audit's outcome, the new observed state, the dead letter. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from ml_connector.common.dead_letters import MAX_TRACE_BYTES, DeadLetter
from ml_connector.common.generation import Generation
from ml_connector.common.traceparent import trace_id
from ml_connector.common.wire import (
    NO_JSON,
    Desired,
    Observed,
    Outcome,
    OutcomeKind,
    Stage,
    Superseded,
    Try,
)
from ml_connector.netsuite_writer import drift
from ml_connector.netsuite_writer.accept import remember

KEPT_TRIES = 10  # half from the beginning, half from the end


@dataclass(frozen=True, slots=True)
class Ending:
    """How it ended: the facts that differ from case to case."""

    outcome: OutcomeKind
    reason: str = ""
    stage: Stage | None = None
    code: str = ""
    internal_id: str | None = None
    digest: str | None = None
    superseded_by: Superseded | None = None
    transient: bool = False
    request: bytes = b""
    response: bytes = b""
    tries: list[Try] = field(default_factory=list)


def outcome_of(desired: Desired, ending: Ending, *, now_ms: int, traceparent: str) -> Outcome:
    """The audit entry."""
    return Outcome(
        cause=desired.cause,
        flow=desired.flow,
        company=desired.company,
        account=desired.account,
        record_key=desired.record_key,
        outcome=ending.outcome,
        received_at_ms=desired.origin.received_at_ms,
        at_ms=now_ms,
        entity=desired.entity,
        source_id=desired.source_id,
        external_id=desired.external_id,
        generation=desired.generation,
        mapping_version=desired.mapping_version,
        lane=desired.lane,
        reason=ending.reason,
        stage=ending.stage,
        superseded_by=ending.superseded_by,
        internal_id=ending.internal_id,
        tries=_some(ending.tries),
        tries_left_out=max(0, len(ending.tries) - KEPT_TRIES),
        request=_json(ending.request),
        response=_json(ending.response),
        replay_of=desired.replay_of,
        trace=trace_id(traceparent),
    )


def observed_after(desired: Desired, ending: Ending, before: Observed | None, *, now_ms: int) -> Observed:
    """What is known of the record now. The internal id survives failures; a newer generation is never forgotten."""
    known = before.internal_id if before is not None else None
    digest = before.digest if before is not None else None
    # What NetSuite was told last counts, not what it refused or was not asked for: an inactive record stays one.
    kept = before.action if before is not None and known is not None and ending.outcome != "written" else desired.action
    return Observed(
        record_key=desired.record_key,
        flow=desired.flow,
        generation=max(desired.generation, before.generation if before is not None else Generation(0)),
        cause=desired.cause,
        outcome=ending.outcome,
        action=kept,
        at_ms=now_ms,
        internal_id=ending.internal_id or known,
        digest=ending.digest or digest,
        merged_to=desired.merged_to,
        settled=remember(before, desired.cause, now_ms=now_ms),
        asserted=drift.remembered(before, desired.cause, now_ms=now_ms),
    )


def dead_letter_of(desired: Desired, ending: Ending, *, now_ms: int, traceparent: str) -> DeadLetter:
    """The dead letter: the original bytes, and what was asked and answered."""
    origin = desired.origin
    return DeadLetter(
        cause=desired.cause,
        record_key=desired.record_key,
        account=desired.account,
        stage=ending.stage or "write",
        code=ending.code,
        message=ending.reason,
        topic=origin.topic,
        partition=origin.partition,
        offset=origin.offset,
        failed_at_ms=now_ms,
        body=bytes(origin.body),
        original={name: value.encode() for name, value in origin.headers.items()},
        generation=str(desired.generation),
        mapping_version=desired.mapping_version,
        attempts=len(ending.tries),
        first_failed_at_ms=ending.tries[0].at_ms if ending.tries else now_ms,
        error_class="transient" if ending.transient else "permanent",
        request=ending.request,
        response=ending.response,
        traceparent=traceparent,
    )


def _some(tries: list[Try]) -> list[Try]:
    if len(tries) <= KEPT_TRIES:
        return list(tries)
    return tries[: KEPT_TRIES // 2] + tries[-KEPT_TRIES // 2 :]


def _json(body: bytes) -> msgspec.Raw:
    """Bytes of a request or answer as they are, if they are JSON and not too large."""
    if not body:
        return NO_JSON
    try:
        parsed: Any = msgspec.json.decode(body, type=msgspec.Raw)
    except (ValueError, RecursionError):  # malformed; no UTF-8; nested too deeply
        return msgspec.Raw(msgspec.json.encode(body[:1000].decode("utf-8", "replace")))
    return parsed if len(body) <= MAX_TRACE_BYTES else msgspec.Raw(b'"too large: see the dead letter"')
