"""Tell in what NetSuite's records are other than they should be, field by field. Pure.

In: bodies as they would be sent, rows of SuiteQL, what is known of the writing. Out: a `Difference`, or None for a
record that is as it should be. What would be sent and reads back as NetSuite shows it is no difference: that texts are
trimmed, an amount has other zeros, a date another display, and that an unticked box is not empty.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import msgspec

from ml_connector.common.codec import encode_json
from ml_connector.common.comparing import (
    MOST_RECORDS,
    Cause,
    Compared,
    Difference,
    Expected,
    FieldDifference,
    Found,
)
from ml_connector.common.keys import RecordType
from ml_connector.common.topics import MAX_MESSAGE_BYTES
from ml_connector.common.wire import Observed
from ml_connector.netsuite_writer import readback, write
from ml_connector.netsuite_writer.match import literal
from ml_connector.netsuite_writer.parents import PARENT_FIELD
from ml_connector.netsuite_writer.readback import Displays

Row = Mapping[str, Any]

MODIFIED: Final = "TO_CHAR(lastmodifieddate, 'YYYY-MM-DD HH24:MI:SS') AS mlc_modified"
INACTIVE: Final = "isinactive"
NO_COLUMN: Final = "ml-connector knows no SuiteQL column that shows it"
# NetSuite's clock shows some time zone (facts/netsuite.md section 11): none is farther from UTC than this.
ZONES_MS: Final = 14 * 3600 * 1000
MOST_CHARS: Final = (1000, 200, 40)  # of one value; the fewer, the more values there are
MOST_BYTES: Final = MAX_MESSAGE_BYTES // 2

_BOXES: Final = frozenset({"isInactive", "isPerson", "isPrivate"})
_CANONICAL: Final = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?\Z")  # not '007', which is no number
_LINES: Final = re.compile(r"\r\n?")


@dataclass(frozen=True, slots=True)
class Should:
    """What one record should be. `body`: every field with its value as it would be sent.

    `there`: it is to exist. `inactive`: None where that cannot be said, or a field says it. `unclear`: why not all of
    it is known.
    """

    expected: Expected
    body: Mapping[str, Any]
    there: bool = True
    inactive: bool | None = None
    unclear: str = ""


@dataclass(frozen=True, slots=True)
class Written:
    """What is known of the writing of a record.

    `waits`: why a difference says nothing yet. `same`: what would be sent is what was last sent; None: nobody knows.
    """

    observed: Observed | None = None
    waits: str = ""
    same: bool | None = None


def query(
    record_type: RecordType, external_ids: Sequence[str], columns: Iterable[str], *, any_case: bool = False
) -> str:
    """Raises ValueError for too many."""
    if not 1 <= len(external_ids) <= MOST_RECORDS:
        raise ValueError(f"{len(external_ids)} records in one query; at least 1, at most {MOST_RECORDS}")
    name, ids = ("LOWER(externalid)", map(str.lower, external_ids)) if any_case else ("externalid", external_ids)
    listed = ", ".join(map(literal, ids))
    return (
        f"SELECT {', '.join(('id', 'externalid', *columns))} FROM {readback.FROM[record_type]} "  # noqa: S608  names are checked
        f"{name} IN ({listed}) ORDER BY id"
    )


def columns_of(record_type: RecordType, fields: Iterable[str]) -> dict[str, str]:
    """Field -> its column, of those that have one."""
    return {
        field: readback.column_of(record_type, field) for field in fields if readback.comparable(record_type, field)
    }


def differing(
    record_type: RecordType, body: Mapping[str, Any], row: Row, displays: Mapping[str, Displays]
) -> list[FieldDifference]:
    """`body`: of fields whose columns were asked for."""
    found = []
    for field, value in body.items():
        column = field.lower()
        text = readback.shown_text(row.get(column))
        if not _equal(record_type, field, value, text, displays.get(column, ())):
            found.append(FieldDifference(field, value, text or None))
    return found


def row_of(record: Mapping[str, Any]) -> dict[str, str]:
    """A record that was read over REST, as SuiteQL would show it."""
    return {name.lower(): _as_text(value) for name, value in record.items()}


def is_as_it_should(should: Should, row: Row | None, differences: Sequence[FieldDifference]) -> bool:
    if row is None:
        return not should.there
    return not differences and not should.unclear and should.inactive in {None, _is_inactive(row)}


def judge(should: Should, row: Row | None, differences: Sequence[FieldDifference], written: Written) -> Difference:
    """Of a record that is not as it should be."""
    found, reason = _found(should, row, differences), should.unclear
    if written.waits and found != "unknown":
        found, reason = "waiting", written.waits
    observed, modified = written.observed, readback.shown_text((row or {}).get("mlc_modified"))
    return Difference(
        source_id=should.expected.source_id,
        external_id=should.expected.external_id,
        found=found,
        internal_id=readback.shown_text((row or {}).get("id")),
        fields=tuple(differences),
        causes=() if found in {"waiting", "unknown"} else _causes(row, differences, written, modified),
        modified=modified,
        written_at_ms=0 if observed is None or observed.internal_id is None else observed.at_ms,
        reason=reason,
        updated_ms=should.expected.updated_ms,
    )


def with_room(compared: Compared) -> Compared:
    """Fit for one message: long values are cut, if need be all."""
    for most in MOST_CHARS:
        cut = _with_values(compared, most)
        if len(cut.encode()) <= MOST_BYTES:
            return cut
    return _with_values(compared, 0)


def is_same(should: Should, observed: Observed | None) -> bool | None:
    """`Written.same`."""
    expected, body = should.expected, should.body
    if observed is None or observed.digest is None or should.unclear:
        return None
    if expected.action != "upsert":
        return observed.outcome == "written" and observed.action != "upsert"
    parent_id = (body.get(PARENT_FIELD.get(expected.record_type, "")) or {}).get("id")
    found = {name: body[name]["id"] for name in expected.references}
    requests = (
        write.upsert(expected, observed=observed, parent_id=parent_id, found=found, revive=revive)
        for revive in (False, True)
    )
    return any(request.digest == observed.digest for request in requests)


def _found(should: Should, row: Row | None, differences: Sequence[FieldDifference]) -> Found:
    if row is None:
        return "missing"
    if should.inactive is not None and should.inactive != _is_inactive(row):
        return "active" if should.inactive else "inactive"
    if differences:
        return "different" if should.there else "active"
    return "unknown"


def _is_inactive(row: Row) -> bool:
    return readback.shown_text(row.get(INACTIVE)) == "T"


def _causes(
    row: Row | None, differences: Sequence[FieldDifference], written: Written, modified: str
) -> tuple[Cause, ...]:
    observed = written.observed
    if observed is None or observed.internal_id is None:
        return ("never_written",)
    if row is None:
        return ("deleted",)
    edited = _earliest_ms(modified) > observed.at_ms
    if written.same and not edited and differences and all(one.should is None for one in differences):
        return ("filled",)
    causes: list[Cause] = ["not_sent"] if written.same is False else []
    if edited or written.same:
        causes.append("edited")
    return tuple(causes)


def _earliest_ms(modified: str) -> int:
    """When that was at the earliest, whatever the time zone; 0 when it cannot be told."""
    try:
        moment = datetime.strptime(modified, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return 0
    return int(moment.timestamp() * 1000) - ZONES_MS


def _equal(record_type: RecordType, field: str, sent: Any, text: str, displays: Displays) -> bool:
    match sent:
        case None:
            return not text.strip() or (text == "F" and (field in _BOXES or readback.is_custom(record_type, field)))
        case bool():
            return text == ("T" if sent else "F") or (not sent and not text)
        case str():
            return text == sent or _same_text(record_type, field, sent, text, displays)
        case int() | float() | Decimal():
            return readback.NUMBER.match(text) is not None and Decimal(text) == Decimal(str(sent))
        case {"id": str() | int() as internal_id, **rest} if not rest:
            return text == str(internal_id)
    return False


def _same_text(record_type: RecordType, field: str, sent: str, text: str, displays: Displays) -> bool:
    if _plain(sent) == _plain(text):
        return True
    if not readback.is_custom(record_type, field):
        return False
    if _CANONICAL.match(sent) and _CANONICAL.match(text):
        return Decimal(sent) == Decimal(text)
    return readback.may_be_day(sent, text, displays)


def _as_text(value: Any) -> str:
    match value:
        case bool():
            return "T" if value else "F"
        case {"id": internal_id}:
            return str(internal_id)
    return "" if value is None else str(value)


def _plain(text: str) -> str:
    return _LINES.sub("\n", text).strip()


def _with_values(compared: Compared, most: int) -> Compared:
    differences = tuple(
        msgspec.structs.replace(one, fields=tuple(_cut(field, most) for field in one.fields))
        for one in compared.differences
    )
    return msgspec.structs.replace(compared, differences=differences)


def _cut(one: FieldDifference, most: int) -> FieldDifference:
    if most == 0:
        return FieldDifference(one.field, cut=True)
    should = one.should
    if isinstance(should, str):
        should = should[:most]
    elif len(encode_json(should)) > most:
        should = None
    cut = should != one.should or len(one.holds or "") > most
    return FieldDifference(one.field, should, None if one.holds is None else one.holds[:most], cut=cut)
