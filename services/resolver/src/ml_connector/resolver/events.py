"""The event in a message: a delivery, or what is replayed or was read, with headers that say so. Pure."""

from __future__ import annotations

from typing import Final

import msgspec

from ml_connector.common import headers as h
from ml_connector.common.codec import encode_json
from ml_connector.common.errors import Malformed
from ml_connector.common.generation import Generation, is_from_the_future
from ml_connector.common.wire import Hydrate
from ml_connector.resolver.decode import Event, decode_object, decode_webhook
from ml_connector.resolver.message import Message, Read
from ml_connector.resolver.plan import FlowPlan

MAX_REVISION: Final = 2**53  # revisions are times in ms; a larger one would not be a number everywhere


def event_of(message: Message, plan: FlowPlan, mapping: FlowPlan, now_ms: int) -> Event:
    """`plan`: the flow as it is now; `mapping`: the version that maps. Raises Malformed."""
    headers = message.headers
    if h.OBJECT in headers:
        return decode_object(
            message.value,
            what=h.text(headers, h.OBJECT),
            version=h.text(headers, h.GENERATION),
            cause=h.text(headers, h.CAUSE),
            revision=_revision(message),
            now_ms=now_ms,
        )
    event = decode_webhook(
        message.value,
        arrived_at_ms=message.received_at_ms,
        company_id=plan.flow.pipedrive.company_id,
        whole_meta=mapping.names_meta,
    )
    return _as_replayed(event, message) if h.CAUSE in headers else event


def arrived_at_ms(message: Message, event: Event, now_ms: int) -> int:
    """Of a replay: when somebody asked for it, which is its revision. Older definitions are read again first."""
    revision = event.generation.revision
    if not revision or is_from_the_future(revision, arrived_at_ms=now_ms):
        return message.received_at_ms  # else it would wait until then
    return max(message.received_at_ms, revision)


def as_read(message: Message, request: Hydrate, plan: FlowPlan, read: Read, generation: Generation) -> Message:
    """What was read, as if it had been received: this is the original of a later dead letter, and can be replayed."""
    headers = {
        **message.headers,
        h.FLOW: request.flow.encode(),
        h.COMPANY: plan.company.encode(),
        h.ACCOUNT: plan.account.encode(),
        h.RECEIVED_AT_MS: b"%d" % request.at_ms,
        h.VERIFIED_BY: b"hydrate",
        h.LANE: request.lane.encode(),
        h.OBJECT: f"{request.entity}/{request.source_id}".encode(),
        h.GENERATION: str(generation).encode(),
        **({h.FORCE: b"1"} if request.force else {}),
    }
    return message._replace(value=encode_json(read.data), headers=headers)


def _as_replayed(event: Event, message: Message) -> Event:
    """A replay comes with a cause and a revision of its own."""
    cause = h.text(message.headers, h.CAUSE)
    if not cause:
        return event
    generation = Generation(event.generation.source_version, _revision(message))
    return msgspec.structs.replace(event, cause=cause, generation=generation)


def _revision(message: Message) -> int:
    """Raises Malformed."""
    revision = h.number(message.headers, h.REVISION, 0)
    if not 0 <= revision < MAX_REVISION:
        raise Malformed("the header revision is no time")
    return revision
