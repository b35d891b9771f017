"""From the objects of one page to the messages that follow from them. Pure, but for letting others have their turn.

Each object is a cause of its own, `syn:<job>:<entity>:<id>`. One that does not fit the mapping is a dead letter, as an
event would be, and is counted; it does not stop the others. Of a comparison none is a cause: what they should be goes
to the account's owner, together with what cannot be told.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from ml_connector.common import cause as causes
from ml_connector.common import headers as h
from ml_connector.common import topics
from ml_connector.common.comparing import Unmapped
from ml_connector.common.errors import Malformed
from ml_connector.common.generation import Generation
from ml_connector.common.headers import Headers
from ml_connector.common.syncing import SyncPage
from ml_connector.resolver.core import Core
from ml_connector.resolver.decode import Event, decode_listed
from ml_connector.resolver.expect import Expecting
from ml_connector.resolver.message import Defer, Message, Output
from ml_connector.resolver.plan import FlowPlan

TURN: Final = 25  # objects that are mapped in a row: a millisecond, while which events wait


class Listed(NamedTuple):
    """One object. `body` is empty for one that was asked for by `source_id` and does not exist."""

    body: bytes
    generation: Generation
    source_id: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a page held. `definitions_of_ms`: older definitions are read again before a field is held back."""

    objects: Sequence[Listed]
    at_ms: int
    definitions_of_ms: int


@dataclass(slots=True)
class Outputs:
    """`first` is written before `audit`: a cause is accepted by what the audit says, and must not get lost then."""

    first: list[Output] = field(default_factory=list)
    audit: list[Output] = field(default_factory=list)
    desired: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    lacking: set[str] = field(default_factory=set)

    def add(self, found: list[Output]) -> None:
        for output in found:
            (self.audit if output.topic is topics.AUDIT else self.first).append(output)
            if output.topic is topics.DESIRED:
                self.desired += 1
            elif output.topic is topics.DEAD_LETTERS:
                self.faults[h.text(output.headers, "dlq.error-message")] += 1


async def resolve(core: Core, plan: FlowPlan, page: SyncPage, message: Message, reading: Reading) -> Outputs:
    """`message`: the request for the page, whose entity the flow maps."""
    if page.purpose != "sync":
        return await _compare(core, plan, page, reading)
    outputs = Outputs()
    headers = _headers(page, plan, message, reading.at_ms)
    for number, one in enumerate(reading.objects):
        if number % TURN == 0:
            await asyncio.sleep(0)
        try:
            event = _event(page, one)
        except Malformed as error:
            outputs.faults[str(error)] += 1
            continue
        given = {**headers, h.OBJECT: b"%b/%b" % (page.entity.encode(), event.source_id.encode())}
        given[h.GENERATION] = str(event.generation).encode()
        as_read = message._replace(value=one.body or b"null", headers=given)
        found = core.listed(as_read, plan, event, arrived_at_ms=reading.definitions_of_ms)
        if isinstance(found, Defer):
            outputs.lacking.update(found.lacking)
        else:
            outputs.add(found)
    return outputs


async def _compare(core: Core, plan: FlowPlan, page: SyncPage, reading: Reading) -> Outputs:
    outputs, expecting = Outputs(), Expecting()
    for number, one in enumerate(reading.objects):
        if number % TURN == 0:
            await asyncio.sleep(0)
        try:
            found = core.expected(plan, _event(page, one), arrived_at_ms=reading.definitions_of_ms)
        except Malformed as error:
            found = Unmapped(one.source_id, str(error))
        if isinstance(found, Defer):
            outputs.lacking.update(found.lacking)
        else:
            expecting.add(found)
    outputs.first = await expecting.outputs(page, plan, reading.at_ms)
    outputs.desired = expecting.records
    outputs.faults.update(one.reason for one in expecting.unmapped)
    return outputs


def _event(page: SyncPage, listed: Listed) -> Event:
    """Raises Malformed."""
    if listed.body:
        return decode_listed(page.entity, listed.body, job_id=page.job_id, generation=listed.generation)
    return Event(
        cause=causes.of_sync(page.job_id, page.entity, listed.source_id),
        entity=page.entity,
        action="delete",
        source_id=listed.source_id,
        generation=listed.generation,
    )


def _headers(page: SyncPage, plan: FlowPlan, message: Message, received_at_ms: int) -> Headers:
    """Each object is the original of a later dead letter, and can be replayed."""
    trace = message.headers.get(h.TRACEPARENT)
    return {
        h.FLOW: page.flow.encode(),
        h.COMPANY: plan.company.encode(),
        h.ACCOUNT: plan.account.encode(),
        h.RECEIVED_AT_MS: b"%d" % received_at_ms,
        h.VERIFIED_BY: b"sync",
        h.LANE: b"backfill",
        **({h.FORCE: b"1"} if page.force else {}),
        **({h.TRACEPARENT: trace} if trace is not None else {}),
    }
