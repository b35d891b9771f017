"""Count what NetSuite holds of a flow's external ids, and tell the records that no object of Pipedrive is behind.

In: a `Census`, with the ids of all objects. Out: `Compared`s, part by part, the first one last: it says how many there
are, so nothing counts before all of it is told. Pages go by internal id, which never changes: neither a record that is
made meanwhile nor NetSuite's 100,000 rows of one query matter. One page is in memory at a time.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

from ml_connector.common.clock import Clock
from ml_connector.common.comparing import Cause, Census, Compared, Difference, Found, not_counted
from ml_connector.common.covering import unpack
from ml_connector.common.directory import LiveFlow
from ml_connector.common.errors import TryLater
from ml_connector.common.flows import EntityMapping
from ml_connector.common.keys import RecordType, external_id, record_key, source_of
from ml_connector.common.logs import get_logger
from ml_connector.common.wire import Observed
from ml_connector.netsuite_writer import compare, readback, write
from ml_connector.netsuite_writer.again import AGAIN_S, GIVES_UP_S
from ml_connector.netsuite_writer.match import literal
from ml_connector.netsuite_writer.store import Store
from ml_connector.netsuite_writer.suiteql import Queries, Refused, rows_of

log = get_logger()

ROWS: Final = 1000  # of a page, as many as NetSuite gives
MOST_TOLD: Final = 500  # records of one part


class Counting:
    """Of one account."""

    def __init__(self, queries: Queries, store: Store, clock: Clock) -> None:
        self._queries = queries
        self._store = store
        self._clock = clock

    async def count(self, asked: Census, live: LiveFlow) -> AsyncIterator[Compared]:
        """Each to be told before the next is asked for. Raises Malformed for ids that are none."""
        mapping, covered = live.flow.mapping_of(asked.entity), unpack(asked.covered)
        if mapping is None:
            yield not_counted(asked, self._clock.now_ms(), f"the flow does not map {asked.entity}s any more")
            return
        part, held, told = 1, 0, 0
        found: list[Difference] = []
        try:
            async for row in self._rows(asked, live, mapping.record):
                source_id = _source_id(asked, live, row)
                if source_id is None:
                    continue
                held += 1
                if not _is_in(covered, int(source_id)):
                    found += self._judged(asked, mapping, source_id, row)
                if len(found) == MOST_TOLD:
                    part, told = part + 1, told + MOST_TOLD
                    yield self._told(asked, part, part, found, records=MOST_TOLD)
                    found = []
        except Refused as error:
            yield not_counted(asked, self._clock.now_ms(), str(error))
            return
        yield self._told(asked, 1, part, found, records=held - told, equal=held - told - len(found))

    async def _rows(self, asked: Census, live: LiveFlow, record_type: RecordType) -> AsyncIterator[Mapping[str, Any]]:
        """Raises Refused."""
        prefix, after = external_id(live.flow.external_ids, asked.entity, ""), 0
        while True:
            rows = await self._page(query(record_type, prefix, after), asked)
            for row in rows:
                yield row
            if len(rows) < ROWS:
                return
            last = readback.shown_text(rows[-1].get("id"))
            if not last.isdigit() or int(last) <= after:
                raise Refused("NetSuite does not keep to the order of ids that was asked for")
            after = int(last)

    async def _page(self, suiteql: str, asked: Census) -> Sequence[Mapping[str, Any]]:
        """Raises Refused, also when there was no answer for an hour."""
        until_s = self._clock.monotonic_s() + GIVES_UP_S
        while True:
            try:
                return await rows_of(self._queries, suiteql)
            except TryLater as error:
                if self._clock.monotonic_s() >= until_s:
                    raise Refused(f"given up after an hour: {error}") from error
                log.info("census_waits", id=asked.job_id, entity=asked.entity, problem=str(error))
                await self._clock.sleep(AGAIN_S)

    def _judged(
        self, asked: Census, mapping: EntityMapping, source_id: str, row: Mapping[str, Any]
    ) -> list[Difference]:
        external = readback.shown_text(row.get("externalid"))
        record = record_key(asked.account, mapping.record, external)
        if self._store.waits(record):
            return []
        observed = self._store.observed(record)
        judged = judge(mapping, row, observed, asked.began_ms)
        if judged is None:
            return []
        found, cause = judged
        written_ms = 0 if observed is None or observed.internal_id is None else observed.at_ms
        internal_id = readback.shown_text(row.get("id"))
        return [Difference(source_id, external, found, internal_id, causes=(cause,), written_at_ms=written_ms)]

    def _told(self, asked: Census, part: int, parts: int, found: Sequence[Difference] = (), **more: Any) -> Compared:
        return Compared(
            job_id=asked.job_id,
            flow=asked.flow,
            account=asked.account,
            entity=asked.entity,
            page=asked.page,
            part=part,
            parts=parts,
            at_ms=self._clock.now_ms(),
            differences=tuple(found),
            **more,
        )


def query(record_type: RecordType, prefix: str, after: int) -> str:
    """`prefix`: of external ids: letters, digits and hyphens, which LIKE takes as they are."""
    inactive = f", {compare.INACTIVE}" if record_type in write.CAN_BE_INACTIVE else ""
    return (
        f"SELECT id, externalid{inactive} FROM {readback.FROM[record_type]} "  # noqa: S608  names, digits
        f"LOWER(externalid) LIKE {literal(f'{prefix.lower()}%')} AND id > {after} ORDER BY id"
    )


def judge(
    mapping: EntityMapping, row: Mapping[str, Any], observed: Observed | None, began_ms: int
) -> tuple[Found, Cause] | None:
    """Of a record whose object was not in Pipedrive's lists. None: it is as it should be, or nobody can say yet."""
    ours = observed is not None and observed.internal_id is not None
    if observed is not None and observed.at_ms >= began_ms:
        return None
    if readback.shown_text(row.get(compare.INACTIVE)) == "T" or (ours and mapping.on_delete == "ignore"):
        return None
    if observed is not None and observed.action != "upsert":
        was_inactivated = mapping.record in write.CAN_BE_INACTIVE and observed.outcome == "written"
        return ("active", "edited") if was_inactivated else None
    return ("extra", "not_deleted" if ours else "never_written")


def _source_id(asked: Census, live: LiveFlow, row: Mapping[str, Any]) -> str | None:
    """None: it is not what was asked about."""
    source = source_of(live.flow.external_ids, readback.shown_text(row.get("externalid")))
    if source is None or source[0] != asked.entity:
        return None
    number = int(source[1])
    return source[1] if number > asked.above and (not asked.up_to or number <= asked.up_to) else None


def _is_in(ids: array[int], wanted: int) -> bool:
    place = bisect_left(ids, wanted)
    return place < len(ids) and ids[place] == wanted
