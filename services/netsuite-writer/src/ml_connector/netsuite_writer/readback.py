"""Tell which members of an ended batch NetSuite holds exactly as they were sent: the clear cases. Pure.

In: the bodies sent, and the rows of one query for up to 100 of them. Out: the internal ids of those held. Who is not
among them is doubtful, and its own result has to be asked for: that costs a request, a wrong "held" costs a write. So
whatever cannot be compared is doubtful. An account that refuses the query (it lacks a column) makes all doubtful.

A bare date column comes as the user's preferences display it. For a custom field nothing says whether it is a date or a
text, on which TO_CHAR would fail; so a date that everybody has is asked for in both ways, to learn the display from it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, Final

from ml_connector.common.keys import RecordType
from ml_connector.netsuite_writer.match import literal
from ml_connector.netsuite_writer.suiteql import by_external_id

MOST_MEMBERS: Final = 100  # of a batch (facts/netsuite.md section 8)

FROM: Final[dict[RecordType, str]] = {
    "customer": "customer WHERE",
    "contact": "contact WHERE",
    "opportunity": "transaction WHERE type = 'Opprtnty' AND",
}
_OF_PEOPLE: Final = (
    "firstName", "lastName", "entityId", "email", "phone", "comments", "subsidiary", "isInactive",
)  # fmt: skip
# Body fields that are columns. A field that is not named here, nor custom, makes its member doubtful.
_FIELDS: Final[dict[RecordType, frozenset[str]]] = {
    "customer": frozenset({
        *_OF_PEOPLE, "companyName", "isPerson", "fax", "url", "accountNumber", "creditLimit", "dateClosed", "startDate",
        "endDate", "currency", "entityStatus", "salesRep", "parent", "category", "leadSource",
    }),
    "contact": frozenset({
        *_OF_PEOPLE, "middleName", "title", "altEmail", "mobilePhone", "officePhone", "company", "owner", "isPrivate",
    }),
    "opportunity": frozenset({
        "entity", "title", "memo", "tranId", "tranDate", "entityStatus", "status", "forecastType", "probability",
        "projectedTotal", "weightedTotal", "rangeLow", "rangeHigh", "expectedCloseDate", "closeDate", "currency",
        "exchangeRate", "subsidiary", "salesRep", "winLossReason", "leadSource", "actionItem",
    }),
}  # fmt: skip
_CUSTOM: Final[dict[RecordType, re.Pattern[str]]] = {
    "customer": re.compile(r"custentity[A-Za-z0-9_]*\Z"),
    "contact": re.compile(r"custentity[A-Za-z0-9_]*\Z"),
    "opportunity": re.compile(r"custbody[A-Za-z0-9_]*\Z"),
}
_DATES: Final = frozenset({"tranDate", "expectedCloseDate", "closeDate", "dateClosed", "startDate", "endDate"})
_OTHERWISE: Final = {("opportunity", "salesRep"): "employee"}  # columns that SuiteQL calls otherwise
NUMBER: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?\Z")

# 3/5/2025, 5.3.2025, 2025-03-05 (Oracle section_N249143). Not 5-Mar-2025: its names depend on the language.
_ORDERS: Final = (
    ("month", "day", "year"),
    ("day", "month", "year"),
    ("year", "month", "day"),
    ("year", "day", "month"),
)
_DISPLAYS: Final = tuple(
    re.compile(separator.join(f"(?P<{part}>[0-9]{{{'4' if part == 'year' else '1,2'}}})" for part in order) + r"\Z")
    for separator in ("/", r"\.", "-")
    for order in _ORDERS
)
_ISO: Final = re.compile(r"(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})\Z")
DISPLAYED: Final = ("lastmodifieddate AS mlc_shown", "TO_CHAR(lastmodifieddate, 'YYYY-MM-DD') AS mlc_iso")

Displays = Sequence[re.Pattern[str]]
Bodies = Mapping[str, Mapping[str, Any]]
_ADDRESS: Final = "externalId"  # a batch's items carry it; it is what finds the row, whatever its case


def comparable(record_type: RecordType, field: str) -> bool:
    """Whether a body field has a column that shows it."""
    return field in _FIELDS[record_type] or is_custom(record_type, field)


def is_custom(record_type: RecordType, field: str) -> bool:
    """A field of the account's own: nothing says of what type it is."""
    return _CUSTOM[record_type].match(field) is not None


def query(record_type: RecordType, bodies: Bodies) -> str:
    """What NetSuite holds of those who can be compared. `bodies`: by external id. Raises ValueError for too many."""
    if not 1 <= len(bodies) <= MOST_MEMBERS:
        raise ValueError(f"{len(bodies)} members in one query; at least 1, at most {MOST_MEMBERS}")
    clear = [_sent(body) for body in bodies.values() if _all_comparable(record_type, body)]
    columns = {field.lower(): column_of(record_type, field) for body in clear for field in body}
    dates = DISPLAYED if maybe_dates(record_type, clear) else ()
    listed = ", ".join(literal(external_id.lower()) for external_id in bodies)
    return (
        f"SELECT {', '.join(('id', 'externalid', *dates, *columns.values()))} FROM {FROM[record_type]} "  # noqa: S608  names are checked
        f"LOWER(externalid) IN ({listed}) ORDER BY id"
    )


def held(record_type: RecordType, bodies: Bodies, rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """External id, as given, -> internal id of those whose every field NetSuite holds as it was sent."""
    found = by_external_id(rows)
    clear = {external_id: _sent(body) for external_id, body in bodies.items() if _all_comparable(record_type, body)}
    displays = displays_in(maybe_dates(record_type, clear.values()), [row for some in found.values() for row in some])
    internal_ids: dict[str, str] = {}
    for external_id, sent in clear.items():
        match found.get(external_id.lower()):
            case [row] if row.get("id") and _all_equal(sent, row, displays):
                internal_ids[external_id] = str(row["id"])
    return internal_ids


def _sent(body: Mapping[str, Any]) -> dict[str, Any]:
    return {field: value for field, value in body.items() if field != _ADDRESS}


def _all_comparable(record_type: RecordType, body: Mapping[str, Any]) -> bool:
    return all(comparable(record_type, field) for field in _sent(body))


def column_of(record_type: RecordType, field: str) -> str:
    name = field.lower()
    if field in _DATES:
        return f"TO_CHAR({name}, 'YYYY-MM-DD') AS {name}"
    other = _OTHERWISE.get((record_type, field))
    return name if other is None else f"{other} AS {name}"


def maybe_dates(record_type: RecordType, clear: Iterable[Mapping[str, Any]]) -> set[str]:
    """The columns of the custom fields in which some member sends what may be a date."""
    custom = _CUSTOM[record_type]
    return {
        field.lower()
        for sent in clear
        for field, value in sent.items()
        if isinstance(value, str) and _ISO.match(value) and custom.match(field)
    }


def displays_in(columns: set[str], rows: Sequence[Mapping[str, Any]]) -> dict[str, Displays]:
    """By column, the displays in which all rows show the known date, and some date or nothing in the column."""
    known = {(shown_text(row.get("mlc_shown")).partition(" ")[0], shown_text(row.get("mlc_iso"))) for row in rows}
    fit = [form for form in _DISPLAYS if all(is_day(iso, shown, [form]) for shown, iso in known)]
    shown = {column: {text for row in rows if (text := shown_text(row.get(column)))} for column in columns}
    return {column: [form for form in fit if all(_day(text, form) for text in shown[column])] for column in columns}


def _day(text: str, form: re.Pattern[str]) -> date | None:
    match = form.match(text)
    try:
        return None if match is None else date(**{part: int(digits) for part, digits in match.groupdict().items()})
    except ValueError:
        return None  # no such day


def is_day(iso: str, shown: str, displays: Displays) -> bool:
    """Whether a date was shown, in whichever of these displays. Two fit if the known date is a 5/5."""
    day = _day(iso, _ISO)
    return bool(displays) and day is not None and all(_day(shown, form) == day for form in displays)


def may_be_day(iso: str, shown: str, displays: Displays) -> bool:
    """Whether a date was shown, in one of these displays, or in any if none is known."""
    day = _day(iso, _ISO)
    return day is not None and any(_day(shown, form) == day for form in displays or _DISPLAYS)


def _all_equal(sent: Mapping[str, Any], row: Mapping[str, Any], displays: Mapping[str, Displays]) -> bool:
    shown = ((value, field.lower()) for field, value in sent.items())
    return all(_equal(value, shown_text(row.get(column)), displays.get(column, ())) for value, column in shown)


def shown_text(shown: Any) -> str:
    """Of SuiteQL's value; a null is left out, null or empty."""
    return "" if shown is None else str(shown)


def _equal(sent: Any, text: str, displays: Displays) -> bool:
    match sent:
        case None:
            return not text
        case bool():
            return text == ("T" if sent else "F")
        case str():
            return text == sent or is_day(sent, text, displays)
        case int() | float() | Decimal():
            return NUMBER.match(text) is not None and Decimal(text) == Decimal(str(sent))
        case {"id": str() | int() as internal_id, **rest} if not rest:
            return text == str(internal_id)
    return False
