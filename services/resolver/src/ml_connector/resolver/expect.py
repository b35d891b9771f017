"""Say what NetSuite should hold of listed objects, for a comparison: as the mapping of a sync would, but told to nobody
but the account's owner. Pure, but for letting others have their turn.

In: the objects of one page. Out: requests to the account's owner, which cover every one of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from ml_connector.common import headers as h
from ml_connector.common import topics
from ml_connector.common.codec import encode_json
from ml_connector.common.comparing import COMPARE, MOST_BYTES, MOST_RECORDS, Compare, Expected, Unmapped
from ml_connector.common.errors import Malformed, MappingFailed
from ml_connector.common.syncing import SyncPage
from ml_connector.resolver.decode import Event, timestamp_ms
from ml_connector.resolver.map import Mapped, external_id_of, map_event
from ml_connector.resolver.message import Defer, Output
from ml_connector.resolver.plan import FlowPlan
from ml_connector.resolver.resolve import Knowledge, lacking, readable


class Expectation(NamedTuple):
    """`held_back`: custom fields that left fields out of it."""

    expected: Expected
    held_back: list[str]


def expect(
    plan: FlowPlan, event: Event, known: Knowledge, *, arrived_at_ms: int, now_ms: int
) -> Expectation | Unmapped | Defer:
    """An object of an entity that the flow maps."""
    entity = plan.entities[event.entity]
    if event.action == "delete":
        mapped = Mapped("merged" if event.merged_to else "gone")
    else:
        found = readable(entity, event, known)
        needed = lacking(entity, event, known, found, arrived_at_ms=arrived_at_ms, now_ms=now_ms)
        if needed:
            return Defer(f"{' and '.join(needed)} must be read first", after_s=0.0, lacking=needed)
        try:
            mapped = map_event(plan, entity, event, known, found)
        except MappingFailed as error:
            return Unmapped(event.source_id, str(error))
    expected = Expected(
        source_id=event.source_id,
        record_type=entity.record_type,
        external_id=external_id_of(plan, entity, event.source_id),
        generation=event.generation,
        action=mapped.action,
        fields=mapped.fields,
        references=mapped.references,
        parent=mapped.parent,
        default_parent=mapped.default_parent,
        updated_ms=_updated_ms(event),
    )
    return Expectation(expected, mapped.held_back)


def _updated_ms(event: Event) -> int:
    try:
        return timestamp_ms(event.data.get("update_time"))
    except Malformed:
        return 0


class Expecting:
    """What the objects of one page should be in NetSuite."""

    def __init__(self) -> None:
        self._records: list[tuple[Expected, int]] = []  # with its bytes
        self._unmapped: list[Unmapped] = []
        self._held_back: set[str] = set()

    @property
    def records(self) -> int:
        return len(self._records)

    @property
    def unmapped(self) -> list[Unmapped]:
        return self._unmapped

    def add(self, found: Expectation | Unmapped) -> None:
        if isinstance(found, Unmapped):
            self._unmapped.append(found)
            return
        size = len(encode_json(found.expected))
        if size > MOST_BYTES:
            reason = f"the mapped fields have more than {MOST_BYTES} bytes: too many to be compared"
            self._unmapped.append(Unmapped(found.expected.source_id, reason))
            return
        self._records.append((found.expected, size))
        self._held_back.update(found.held_back)

    async def outputs(self, page: SyncPage, plan: FlowPlan, at_ms: int) -> list[Output]:
        """An empty page is told, too: that there was nothing to compare."""
        parts = list(self._parts()) or [()]
        requests = []
        for number, records in enumerate(parts, start=1):
            await asyncio.sleep(0)
            asked = msgspec.structs.replace(
                _asked(page, plan, at_ms),
                part=number,
                parts=len(parts),
                records=records,
                unmapped=tuple(self._unmapped) if number == 1 else (),
                held_back=tuple(sorted(self._held_back)),
            )
            requests.append(_request(asked))
        return requests

    def _parts(self) -> Iterator[tuple[Expected, ...]]:
        part: list[Expected] = []
        held = 0
        for expected, size in self._records:
            if part and (len(part) == MOST_RECORDS or held + size > MOST_BYTES):
                yield tuple(part)
                part, held = [], 0
            part.append(expected)
            held += size
        if part:
            yield tuple(part)


def nothing_known(page: SyncPage, plan: FlowPlan, at_ms: int, why: str) -> Output:
    """In place of a walk over ids that failed: of none of those left can be said what it should be."""
    unmapped = tuple(Unmapped(source_id, why) for source_id in page.ids)
    return _request(msgspec.structs.replace(_asked(page, plan, at_ms), unmapped=unmapped))


def _asked(page: SyncPage, plan: FlowPlan, at_ms: int) -> Compare:
    return Compare(
        job_id=page.job_id,
        flow=page.flow,
        account=plan.account,
        entity=page.entity,
        page=page.page,
        part=1,
        parts=1,
        at_ms=at_ms,
        first_page=page.progress.first_page,
        drift=page.purpose == "drift",
        urgent=page.urgent,
    )


def _request(asked: Compare) -> Output:
    account = asked.account.encode()
    headers = {h.KIND: COMPARE, h.FLOW: asked.flow.encode(), **({h.LANE: b"live"} if asked.urgent else {})}
    return Output(topics.NETSUITE_REQUESTS, account, account, asked.encode(), headers)
