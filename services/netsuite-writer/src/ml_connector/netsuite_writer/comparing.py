"""Compare records of one account with what they should be: read them by SuiteQL, tell which differ, and why.

In: a `Compare`. Out: a `Compared`. What NetSuite or the network fails in is tried again by who asks; what it refuses is
said. Beside the writing: one query at a time, which waits for whatever else wants a slot. Nothing is ever written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec

from ml_connector.common.clock import Clock
from ml_connector.common.comparing import Compare, Compared, Difference, Expected, not_compared
from ml_connector.common.directory import LiveFlow
from ml_connector.common.errors import VendorUnavailable
from ml_connector.common.keys import RecordType
from ml_connector.common.logs import get_logger
from ml_connector.common.traceparent import new_traceparent
from ml_connector.common.wire import Observed
from ml_connector.netsuite_writer import compare, drift, parents, readback, write
from ml_connector.netsuite_writer.census import Counting
from ml_connector.netsuite_writer.compare import Row, Should, Written
from ml_connector.netsuite_writer.netsuite.client import Response
from ml_connector.netsuite_writer.netsuite.reading import read_json
from ml_connector.netsuite_writer.parents import PARENT_FIELD
from ml_connector.netsuite_writer.polling import Polling
from ml_connector.netsuite_writer.readback import Displays
from ml_connector.netsuite_writer.references import References, Unknown
from ml_connector.netsuite_writer.settle import Answer, fault_of
from ml_connector.netsuite_writer.store import Store
from ml_connector.netsuite_writer.suiteql import Refused, by_external_id, refuse_failed
from ml_connector.netsuite_writer.write import Request

log = get_logger()

REFUSED_FOR_S: Final = 3600.0  # then a column that NetSuite refused is asked for again
TURN: Final = 50  # records that are compared in a row: a millisecond, while which nothing is written
READ_SINGLY: Final = 20  # of one request's records that differ
_WORTH_READING: Final = frozenset({"different", "inactive"})
REFUSED: Final = "NetSuite refuses a query with its column"
UNDEFINED: Final = "Pipedrive's definitions lack it"


@dataclass(frozen=True, slots=True)
class _Held:
    """What NetSuite holds. `rows`: by external id, in small letters; `columns`: by field, those that it shows."""

    rows: Mapping[str, list[dict[str, Any]]]
    columns: Mapping[str, str]
    displays: Mapping[str, Displays]


class Client(Protocol):
    """A NetsuiteClient."""

    async def query(self, suiteql: str, *, spare: bool) -> tuple[Answer, list[dict[str, Any]]]: ...

    async def find(self, request: Request, *, traceparent: str, spare: bool) -> Response: ...


class _Spare:
    """Queries that can wait for all others. Raises VendorUnavailable for what will pass."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def query(self, suiteql: str) -> tuple[Answer, list[dict[str, Any]]]:
        answer, rows = await self._client.query(suiteql, spare=True)
        if fault_of(answer) is not None:
            raise VendorUnavailable(f"NetSuite did not answer a query (status {answer.status})")
        return answer, rows


class Comparing:
    """The comparisons of one account."""

    def __init__(self, name: str, *, client: Client, store: Store, clock: Clock) -> None:
        self._name = name
        self._client = client
        self._queries = _Spare(client)
        self.polling = Polling(self._queries, store, clock)
        self.counting = Counting(self._queries, store, clock)
        self._references = References(self._queries, clock)
        self._store = store
        self._clock = clock
        self._refused: dict[tuple[RecordType, str], float] = {}  # column -> until when it is not asked for

    async def compare(self, asked: Compare, live: LiveFlow) -> Compared:
        """Raises TryLater."""
        try:
            differences, held = await self._compare(asked, live)
        except Refused as error:
            return not_compared(asked, self._clock.now_ms(), str(error))
        told = msgspec.structs.replace(
            not_compared(asked, self._clock.now_ms(), ""),
            equal=len(asked.records) - len(differences),
            differences=tuple(differences),
            not_comparable=self._not_comparable(asked, held.columns),
        )
        return compare.with_room(self._checked(asked, told, held, live) if asked.drift else told)

    def _checked(self, asked: Compare, told: Compared, held: _Held, live: LiveFlow) -> Compared:
        """Of a drift check: what is done about each; a poll need not look again at what is clear by now."""
        keys = {one.source_id: one.record_key(asked.account) for one in asked.records}
        observed = {one.source_id: self._store.observed(keys[one.source_id]) for one in told.differences}
        unclear = {one.source_id for one in told.differences if one.found in drift.UNCLEAR}
        modified = {
            keys[one.source_id]: rows[0]["mlc_modified"]
            for one in asked.records
            if one.source_id not in unclear
            and (rows := held.rows.get(one.external_id.lower()))
            and rows[0].get("mlc_modified")
        }
        with self._store.change():
            self._store.see(modified, now_ms=told.at_ms)
        return drift.with_what_is_done(told, live.flow.drift_of(asked.entity), observed, told.at_ms)

    async def _compare(self, asked: Compare, live: LiveFlow) -> tuple[list[Difference], _Held]:
        """Those that differ, and what NetSuite holds. Raises Refused, TryLater."""
        if not asked.records:
            return [], _Held({}, {}, {})
        record_type = asked.records[0].record_type
        shoulds = [await self._should(expected, live) for expected in asked.records]
        began_ms = self._clock.now_ms()
        held = await self._read(record_type, shoulds)
        differences: list[Difference] = []
        for number, should in enumerate(shoulds):
            if number % TURN == 0:
                await asyncio.sleep(0)
            difference = self._difference(should, held, asked.account, began_ms)
            if difference is not None:
                reads = len(differences) < READ_SINGLY and difference.found in _WORTH_READING
                differences.append(await self._read_singly(should, difference, held) if reads else difference)
        return differences, held

    def _difference(self, should: Should, held: _Held, account: str, began_ms: int) -> Difference | None:
        rows = held.rows.get(should.expected.external_id.lower(), [])
        if len(rows) > 1:
            return _ambiguous(should, rows)
        row = rows[0] if rows else None
        body = {field: value for field, value in should.body.items() if field in held.columns}
        fields = [] if row is None else compare.differing(should.expected.record_type, body, row, held.displays)
        if compare.is_as_it_should(should, row, fields):
            return None
        record = should.expected.record_key(account)
        observed = self._store.observed(record)
        waits = self._waits(record, should.expected, observed, began_ms)
        return compare.judge(should, row, fields, Written(observed, waits, compare.is_same(should, observed)))

    async def _read_singly(self, should: Should, difference: Difference, held: _Held) -> Difference:
        """The fields that SuiteQL does not show, of a record that differs anyway."""
        hidden = {field: value for field, value in should.body.items() if field not in held.columns}
        if not hidden:
            return difference
        expected = should.expected
        request = Request("upsert", expected.record_type, expected.external_id, b"")
        response = await self._client.find(request, traceparent=new_traceparent(), spare=True)
        record = read_json(response.body) if response.answer.status == 200 else None
        if not isinstance(record, dict):
            return difference
        more = compare.differing(expected.record_type, hidden, compare.row_of(record), {})
        return msgspec.structs.replace(difference, fields=(*difference.fields, *more))

    # -- what they should be -----------------------------------------------------------------------------------------

    async def _should(self, expected: Expected, live: LiveFlow) -> Should:
        if expected.action != "upsert":
            return _deleted(expected, live)
        found, unclear = await self._found(expected)
        body: dict[str, Any] = {**expected.fields, **{name: {"id": one} for name, one in found.items()}}
        parent_id, lacks = self._parent(expected)
        parent_field = PARENT_FIELD.get(expected.record_type)
        if parent_field is not None and not lacks:
            body[parent_field] = None if parent_id is None else {"id": parent_id}
        can_be = expected.record_type in write.CAN_BE_INACTIVE and "isInactive" not in body
        return Should(expected, body, inactive=False if can_be else None, unclear=unclear or lacks)

    async def _found(self, expected: Expected) -> tuple[dict[str, str], str]:
        """Internal ids of its references, as far as there are any; what is wrong with another."""
        found: dict[str, str] = {}
        unclear = ""
        for name, reference in expected.references.items():
            one = await self._references.find({name: reference})
            if isinstance(one, Unknown):
                unclear = f"field {one.field!r}: NetSuite has no such {one.kind}"
            elif isinstance(one, Answer):
                unclear = f"field {name!r}: NetSuite refuses to look up such {reference.kind}s (status {one.status})"
            else:
                found.update(one)
        return found, unclear

    def _parent(self, expected: Expected) -> tuple[str | None, str]:
        """The internal id of its customer; or why nobody knows which one that should be."""
        if expected.record_type not in PARENT_FIELD:
            return None, ""
        store = self._store
        known = None if expected.parent is None else store.observed(expected.parent.record_key)
        waits = expected.parent is not None and store.waits(expected.parent.record_key)
        match parents.decide(expected, known, parent_waits=waits):
            case parents.Go(internal_id=internal_id):
                return internal_id, ""
            case parents.Orphan(reason=reason):
                return None, reason
            case parents.HydrateChild():
                return None, "its organization was merged into another"
        return None, "its customer was not written yet"

    def _waits(self, record: str, expected: Expected, observed: Observed | None, began_ms: int) -> str:
        if self._store.waits(record):
            return "a state of it is still to be written, or a call was never answered"
        if observed is None or observed.outcome == "dead_lettered":  # a newer state that failed has changed nothing
            return ""
        if observed.at_ms >= began_ms:
            return "it was written while it was compared"
        if observed.generation > expected.generation:
            return "a newer state was written since Pipedrive was read"
        return ""

    # -- what NetSuite holds -----------------------------------------------------------------------------------------

    async def _read(self, record_type: RecordType, shoulds: Sequence[Should]) -> _Held:
        """Raises Refused, TryLater."""
        ids = [one.expected.external_id for one in shoulds]
        columns = compare.columns_of(record_type, dict.fromkeys(field for one in shoulds for field in one.body))
        dates = readback.maybe_dates(record_type, [one.body for one in shoulds])
        inactive = (compare.INACTIVE,) if record_type in write.CAN_BE_INACTIVE else ()
        displayed = readback.DISPLAYED if dates else ()
        wanted = list(dict.fromkeys((compare.MODIFIED, *inactive, *displayed, *columns.values())))
        shown = self._not_refused(record_type, wanted)
        answer, rows = await self._queries.query(compare.query(record_type, ids, shown))
        if answer.status == 400 and await self._takes(record_type, ids[0], ()):
            await self._find_refused(record_type, ids[0], shown)
            shown = self._not_refused(record_type, wanted)
            answer, rows = await self._queries.query(compare.query(record_type, ids, shown))
        refuse_failed(answer)
        rows += await self._read_in_other_case(record_type, ids, rows, shown)
        found = by_external_id(rows)
        displays = readback.displays_in(dates, [row for some in found.values() for row in some])
        return _Held(found, {field: column for field, column in columns.items() if column in shown}, displays)

    async def _read_in_other_case(
        self, record_type: RecordType, ids: Sequence[str], rows: Sequence[Row], shown: Sequence[str]
    ) -> list[dict[str, Any]]:
        """NetSuite takes `PD-org-1` for `pd-org-1`, its SuiteQL does not."""
        there = by_external_id(rows)
        lacking = [external_id for external_id in ids if external_id.lower() not in there]
        if not lacking:
            return []
        answer, found = await self._queries.query(compare.query(record_type, lacking, shown, any_case=True))
        return found if answer.status == 200 else []

    def _not_refused(self, record_type: RecordType, columns: Sequence[str]) -> list[str]:
        now_s = self._clock.monotonic_s()
        return [one for one in columns if self._refused.get((record_type, one), now_s) <= now_s]

    async def _find_refused(self, record_type: RecordType, external_id: str, columns: Sequence[str]) -> None:
        """By halves: few columns are refused, if any."""
        if not columns or await self._takes(record_type, external_id, columns):
            return
        if len(columns) == 1:
            self._refused[record_type, columns[0]] = self._clock.monotonic_s() + REFUSED_FOR_S
            log.warning("column_refused", account=self._name, record_type=record_type)
            return
        middle = len(columns) // 2
        await self._find_refused(record_type, external_id, columns[:middle])
        await self._find_refused(record_type, external_id, columns[middle:])

    async def _takes(self, record_type: RecordType, external_id: str, columns: Sequence[str]) -> bool:
        answer, _ = await self._queries.query(compare.query(record_type, [external_id], columns))
        return answer.status != 400

    def _not_comparable(self, asked: Compare, columns: Mapping[str, str]) -> dict[str, str]:
        if not asked.records:
            return {}
        record_type = asked.records[0].record_type
        told: dict[str, str] = {}
        for field in dict.fromkeys(field for one in asked.records for field in (*one.fields, *one.references)):
            if not readback.comparable(record_type, field):
                told[field] = compare.NO_COLUMN
            elif field not in columns and not self._not_refused(record_type, [readback.column_of(record_type, field)]):
                told[field] = REFUSED
        return told | {f"custom[{name!r}]": UNDEFINED for name in asked.held_back}


def _deleted(expected: Expected, live: LiveFlow) -> Should:
    """As the writer would leave it; a record that never was need not be there."""
    mapping = next((one for one in live.flow.entities.values() if one.record == expected.record_type), None)
    if mapping is None or mapping.on_delete != "inactivate":
        return Should(expected, {}, there=False)
    if expected.record_type in write.CAN_BE_INACTIVE:
        return Should(expected, {}, there=False, inactive=True)
    statuses = live.flow.statuses
    lost = statuses.get("deleted") or statuses.get("lost")
    return Should(expected, {} if lost is None else {"entityStatus": {"id": lost}}, there=False)


def _ambiguous(should: Should, rows: Sequence[Row]) -> Difference:
    return Difference(
        source_id=should.expected.source_id,
        external_id=should.expected.external_id,
        found="unknown",
        reason=f"NetSuite shows {len(rows)} records of this external id",
    )
