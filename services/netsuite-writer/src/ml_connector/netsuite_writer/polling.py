"""Find which records of a flow were changed in NetSuite: by SuiteQL page by page, or as a script pushed them.

In: a `Poll`, or pushes. Out: the ids of Pipedrive that are worth a comparison. Pages go by internal id, which never
changes: a record that is changed while the poll goes on is read as it is then, or it was read before and the next poll
finds it, since that begins where this one began. No page is asked for by its number, so NetSuite's 100,000 rows are no
limit. In which time zone it takes and shows times no document says (facts/netsuite.md section 11): what is read begins
earlier by as much as zones can differ, and what was compared since it changed is left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from ml_connector.common.clock import Clock
from ml_connector.common.directory import LiveFlow
from ml_connector.common.drift import POLL_ROWS, Poll, Polled, walk_of
from ml_connector.common.keys import Entity, RecordType, external_id, record_key, source_of
from ml_connector.common.syncing import SyncPage
from ml_connector.netsuite_writer import drift, readback
from ml_connector.netsuite_writer.compare import MODIFIED, ZONES_MS
from ml_connector.netsuite_writer.match import literal
from ml_connector.netsuite_writer.store import Store
from ml_connector.netsuite_writer.suiteql import Queries, Refused, rows_of

CLOCKS_MS: Final = 600_000  # NetSuite's clock and ours may differ by this
IDS: Final = 500  # internal ids of one query


@dataclass(frozen=True, slots=True)
class Page:
    """What came of a page. `walk`: over what is to be compared; `next`: the page that is to be asked for."""

    polled: Polled
    walk: SyncPage | None = None
    next: Poll | None = None


@dataclass(frozen=True, slots=True)
class Pushed:
    """One record that was pushed: by its external id, else by NetSuite's."""

    record_type: RecordType
    external_id: str = ""
    internal_id: str = ""
    modified_ms: int = 0


@dataclass(frozen=True, slots=True)
class Handed:
    """`ids`: of Pipedrive, to be compared; `later`: what is being written now; `ours`, `strange`: left out."""

    ids: Mapping[Entity, Sequence[str]]
    later: Sequence[Pushed] = ()
    ours: int = 0
    strange: int = 0


@dataclass(slots=True)
class _Sorted:
    ids: list[str] = field(default_factory=list)
    known: int = 0
    strange: int = 0


class Polling:
    """Of one account."""

    def __init__(self, queries: Queries, store: Store, clock: Clock) -> None:
        self._queries = queries
        self._store = store
        self._clock = clock

    async def page(self, poll: Poll, live: LiveFlow) -> Page:
        """Raises TryLater."""
        entity, mapping = poll.entities[0], live.flow.mapping_of(poll.entities[0])
        if mapping is None:
            return self._told(poll, [], _Sorted(), following(poll, None))
        prefix = external_id(live.flow.external_ids, entity, "")
        try:
            rows = await rows_of(self._queries, query(mapping.record, prefix, poll.since_ms, poll.after_id))
            last = _last_id(rows, poll)
        except Refused as error:
            return Page(failed(poll, self._clock.now_ms(), str(error)))
        found = self._sorted(rows, poll, live, mapping.record)
        return self._told(poll, rows, found, following(poll, last if len(rows) >= POLL_ROWS else None))

    async def pushed(self, records: Iterable[Pushed], live: LiveFlow) -> Handed:
        """Raises Refused, TryLater."""
        records = list(records)
        named = await self._external_ids([one for one in records if not one.external_id])
        ids: dict[Entity, dict[str, None]] = defaultdict(dict)
        later: list[Pushed] = []
        ours = strange = 0
        for one in records:
            external = one.external_id or named.get((one.record_type, one.internal_id), "")
            source = source_of(live.flow.external_ids, external)
            mapping = None if source is None else live.flow.mapping_of(source[0])
            if source is None or mapping is None or mapping.record != one.record_type:
                strange += 1
                continue
            key = record_key(live.flow.netsuite.account, one.record_type, external)
            if self._store.waits(key):
                later.append(one)
            elif drift.is_ours(one.modified_ms, self._store.observed(key)):
                ours += 1
            else:
                ids[source[0]][source[1]] = None
        return Handed({entity: tuple(some) for entity, some in ids.items()}, later, ours, strange)

    def _sorted(
        self, rows: Sequence[Mapping[str, Any]], poll: Poll, live: LiveFlow, record_type: RecordType
    ) -> _Sorted:
        found = _Sorted()
        for row in rows:
            external = readback.shown_text(row.get("externalid"))
            source = source_of(live.flow.external_ids, external)
            if source is None or source[0] != poll.entities[0]:
                found.strange += 1
                continue
            modified = readback.shown_text(row.get("mlc_modified"))
            seen = self._store.seen(record_key(poll.account, record_type, external))
            if not poll.again and modified and seen == modified:
                found.known += 1
            else:
                found.ids.append(source[1])
        return found

    def _told(self, poll: Poll, rows: Sequence[Any], found: _Sorted, after: Poll | None) -> Page:
        polled = Polled(
            job_id=poll.job_id,
            flow=poll.flow,
            account=poll.account,
            entity=poll.entities[0],
            page=poll.page,
            at_ms=self._clock.now_ms(),
            rows=len(rows),
            known=found.known,
            strange=found.strange,
            asked=len(found.ids),
            last=after is None,
        )
        return Page(polled, walk_over(poll, tuple(found.ids), polled.at_ms) if found.ids else None, after)

    async def _external_ids(self, pushed: Sequence[Pushed]) -> dict[tuple[RecordType, str], str]:
        """Of those that NetSuite shows. Raises Refused, TryLater."""
        found: dict[tuple[RecordType, str], str] = {}
        for record_type in readback.FROM:
            ids = sorted({one.internal_id for one in pushed if one.record_type == record_type})
            for start in range(0, len(ids), IDS):
                listed = ", ".join(map(literal, ids[start : start + IDS]))
                wanted = f"SELECT id, externalid FROM {readback.FROM[record_type]} id IN ({listed}) ORDER BY id"  # noqa: S608  digits
                for row in await rows_of(self._queries, wanted):
                    found[record_type, readback.shown_text(row.get("id"))] = readback.shown_text(row.get("externalid"))
        return found


def query(record_type: RecordType, prefix: str, since_ms: int, after_id: str) -> str:
    """`prefix`: of external ids, of letters, digits and hyphens."""
    since = datetime.fromtimestamp(max(0, since_ms - ZONES_MS - CLOCKS_MS) // 1000, UTC)
    return (
        f"SELECT id, externalid, {MODIFIED} FROM {readback.FROM[record_type]} "  # noqa: S608  names, digits
        f"LOWER(externalid) LIKE {literal(f'{prefix.lower()}%')} "
        f"AND lastmodifieddate >= TO_TIMESTAMP('{since:%Y-%m-%d %H:%M:%S}', 'YYYY-MM-DD HH24:MI:SS') "
        f"AND id > {int(after_id or 0)} ORDER BY id"
    )


def following(poll: Poll, last_id: str | None) -> Poll | None:
    """`last_id`: of a page that was full."""
    after = msgspec.structs.replace(poll, page=poll.page + 1)
    if last_id is not None:
        return msgspec.structs.replace(after, after_id=last_id)
    left = poll.entities[1:]
    return msgspec.structs.replace(after, entities=left, after_id="") if left else None


def walk_over(poll: Poll, ids: tuple[str, ...], now_ms: int) -> SyncPage:
    return SyncPage(
        job_id=walk_of(poll),
        flow=poll.flow,
        entity=poll.entities[0],
        at_ms=now_ms,
        ids=ids,
        token_share=poll.token_share,
        purpose="drift",
        unfollowed=True,
    )


def failed(poll: Poll, now_ms: int, why: str) -> Polled:
    return Polled(
        job_id=poll.job_id,
        flow=poll.flow,
        account=poll.account,
        entity=poll.entities[0],
        page=poll.page,
        at_ms=now_ms,
        last=True,
        failed=why,
    )


def _last_id(rows: Sequence[Mapping[str, Any]], poll: Poll) -> str | None:
    """Raises Refused."""
    if not rows:
        return None
    last = readback.shown_text(rows[-1].get("id"))
    if not last.isdigit() or int(last) <= int(poll.after_id or 0):
        raise Refused("NetSuite does not keep to the order of ids that was asked for")
    return last
