"""Tell which members of an ended batch NetSuite holds exactly as they were sent: the clear cases. Pure.

In: the bodies sent, and the rows of one query for up to 100 of them. Out: the internal ids of those held. Who is not
among them is doubtful, and its own result has to be asked for: that costs a request, a wrong "held" costs a write. So
whatever cannot be compared is doubtful. An account that refuses the query (it lacks a column) makes all doubtful.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from ml_connector.common.keys import RecordType
from ml_connector.netsuite_writer.match import literal

MOST_MEMBERS: Final = 100  # of a batch (facts/netsuite.md section 8)

_FROM: Final[dict[RecordType, str]] = {
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
# A bare date comes in the account's display format. Custom ones cannot be told from texts: they stay doubtful.
_DATES: Final = frozenset({"tranDate", "expectedCloseDate", "closeDate", "dateClosed", "startDate", "endDate"})
_OTHERWISE: Final = {("opportunity", "salesRep"): "employee"}  # columns that SuiteQL calls otherwise
_NUMBER: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?\Z")

Bodies = Mapping[str, Mapping[str, Any]]
_ADDRESS: Final = "externalId"  # a batch's items carry it; it is what finds the row, whatever its case


def comparable(record_type: RecordType, field: str) -> bool:
    """Whether a body field has a column that shows it."""
    return field in _FIELDS[record_type] or _CUSTOM[record_type].match(field) is not None


def query(record_type: RecordType, bodies: Bodies) -> str:
    """What NetSuite holds of those who can be compared. `bodies`: by external id. Raises ValueError for too many."""
    if not 1 <= len(bodies) <= MOST_MEMBERS:
        raise ValueError(f"{len(bodies)} members in one query; at least 1, at most {MOST_MEMBERS}")
    clear = [_sent(body) for body in bodies.values() if _all_comparable(record_type, body)]
    columns = {field.lower(): _column(record_type, field) for body in clear for field in body}
    listed = ", ".join(literal(external_id.lower()) for external_id in bodies)
    return (
        f"SELECT {', '.join(('id', 'externalid', *columns.values()))} FROM {_FROM[record_type]} "  # noqa: S608  names are checked
        f"LOWER(externalid) IN ({listed}) ORDER BY id"
    )


def held(record_type: RecordType, bodies: Bodies, rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """External id, as given, -> internal id of those whose every field NetSuite holds as it was sent."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        lower = {name.lower(): value for name, value in row.items()}  # Oracle: the case of the names may change
        found.setdefault(str(lower.get("externalid") or "").lower(), []).append(lower)
    clear: dict[str, str] = {}
    for external_id, body in bodies.items():
        match found.get(external_id.lower()):
            case [row] if row.get("id") and _all_comparable(record_type, body) and _all_equal(_sent(body), row):
                clear[external_id] = str(row["id"])
    return clear


def _sent(body: Mapping[str, Any]) -> dict[str, Any]:
    return {field: value for field, value in body.items() if field != _ADDRESS}


def _all_comparable(record_type: RecordType, body: Mapping[str, Any]) -> bool:
    return all(comparable(record_type, field) for field in _sent(body))


def _column(record_type: RecordType, field: str) -> str:
    name = field.lower()
    if field in _DATES:
        return f"TO_CHAR({name}, 'YYYY-MM-DD') AS {name}"
    other = _OTHERWISE.get((record_type, field))
    return name if other is None else f"{other} AS {name}"


def _all_equal(sent: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
    return all(_equal(value, row.get(field.lower())) for field, value in sent.items())


def _equal(sent: Any, shown: Any) -> bool:
    """`shown`: SuiteQL's text; a null is left out, null or empty."""
    text = "" if shown is None else str(shown)
    match sent:
        case None:
            return not text
        case bool():
            return text == ("T" if sent else "F")
        case str():
            return text == sent
        case int() | float() | Decimal():
            return _NUMBER.match(text) is not None and Decimal(text) == Decimal(str(sent))
        case {"id": str() | int() as internal_id, **rest} if not rest:
            return text == str(internal_id)
    return False
