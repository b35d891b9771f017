"""Find the NetSuite record that a new one would double, by the match fields of its flow (`EntityMapping.match`). Pure.

In: records that nobody has observed, and the rows of one query for up to 100 of them: one record type, one rule (flows
with other match fields are asked apart; `claimed` spans them). Out: for each what to do. Never: a record that carries
another external id.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from ml_connector.common.keys import RecordType
from ml_connector.common.wire import Desired
from ml_connector.netsuite_writer.suiteql import lower_names

MOST_WANTED: Final = 100  # records in one query; Oracle takes at most 1000 elements in an IN list
MOST_ROWS: Final = 1000  # rows in one answer (facts/netsuite.md section 11)
MOST_NAMED: Final = 20  # candidates in one text
MOST_CHARS: Final = 300  # of one value; names have at most 83, addresses 254. 100 records stay under 35 KB per field

_MATCHABLE: Final[frozenset[RecordType]] = frozenset({"customer", "contact"})  # each a table of its own name
_FIELD: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")
_BLANKS: Final = " \t\r\n"
_UNQUOTABLE: Final = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A record about to be created. `values`: of the match fields, in their order."""

    record_key: str
    external_id: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Adopt:
    """Nobody's record, and the only one that fits: give it our external id."""

    internal_id: str


@dataclass(frozen=True, slots=True)
class Exists:
    """It carries our external id already: an earlier call did succeed."""

    internal_id: str


@dataclass(frozen=True, slots=True)
class Nobody:
    """Nothing fits, or another record was given it: create."""


@dataclass(frozen=True, slots=True)
class Several:
    """A conflict: a person decides."""

    internal_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unsure:
    """The answer was cut at 1000 rows: ask again with fewer. A record that is asked for alone is never unsure."""


Found = Adopt | Exists | Nobody | Several | Unsure


def wanted(desired: Desired, fields: Sequence[str]) -> Wanted | None:
    """None: it cannot be matched, since a match field is empty, no scalar, or nothing that NetSuite could hold."""
    values = tuple(_value(desired.fields.get(field)) for field in fields)
    if desired.record_type not in _MATCHABLE or not values or not all(values):
        return None
    return Wanted(desired.record_key, desired.external_id, values)


def query(record_type: RecordType, fields: Sequence[str], wanteds: Sequence[Wanted]) -> str:
    """Free records that may fit, and those that carry a wanted external id. Raises ValueError for what is no question.

    Each field is compared by itself, so rows may mix the values of several records: `decide` compares them whole.
    Rows with an external id come first: a cut answer still has all of ours.
    """
    if record_type not in _MATCHABLE or not fields or not all(map(_FIELD.match, fields)):
        raise ValueError(f"a {record_type} cannot be matched by {', '.join(fields) or 'nothing'}")
    if not 1 <= len(wanteds) <= MOST_WANTED:
        raise ValueError(f"{len(wanteds)} records in one query; at least 1, at most {MOST_WANTED}")
    columns = dict.fromkeys(("id", "externalid", "isinactive", *(field.lower() for field in fields)))
    ours = ", ".join(literal(one.external_id.lower()) for one in wanteds)
    fits = " AND ".join(_one_of(field, (one.values[n] for one in wanteds)) for n, field in enumerate(fields))
    return (
        f"SELECT {', '.join(columns)} FROM {record_type} "  # noqa: S608  names are checked, texts are quoted
        f"WHERE LOWER(externalid) IN ({ours}) OR (externalid IS NULL AND {fits}) ORDER BY externalid, id"
    )


def query_all(record_type: RecordType, fields: Sequence[str], one: Wanted) -> str:
    """Whoever fits, free or not: for a record that NetSuite has refused as a duplicate. Raises as `query`."""
    free = query(record_type, fields, [one])
    fits = " AND ".join(_one_of(field, [value]) for field, value in zip(fields, one.values, strict=True))
    return f"{free.partition(' WHERE ')[0]} WHERE {fits} ORDER BY id"


def others(one: Wanted, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Internal ids of those that are not the record itself."""
    found = [row for row in map(lower_names, rows) if _shown(row, "externalid").lower() != one.external_id.lower()]
    return [internal_id for row in found if (internal_id := _shown(row, "id"))]


def decide(
    fields: Sequence[str], wanteds: Sequence[Wanted], rows: Sequence[Mapping[str, Any]], *, claimed: Set[str]
) -> dict[str, Found]:
    """What was found for each record key. `claimed`: internal ids given away earlier, which may still look free.

    Of two records that want one customer the first in order gets it.
    """
    ours: dict[str, str] = {}
    free: dict[tuple[str, ...], list[_Candidate]] = {}
    for row in map(lower_names, rows):
        external_id, internal_id = _shown(row, "externalid"), _shown(row, "id")
        if external_id:
            ours[external_id.lower()] = internal_id
        elif internal_id:
            values = tuple(_folded(_shown(row, field.lower())) for field in fields)
            free.setdefault(values, []).append(_Candidate(internal_id, _shown(row, "isinactive") == "T"))
    cut = len(rows) >= MOST_ROWS and len(wanteds) > 1
    given = set(claimed)
    found: dict[str, Found] = {}
    for one in wanteds:
        own = ours.get(one.external_id.lower())
        candidates = free.get(tuple(map(_folded, one.values)), ())
        if own:
            found[one.record_key] = Exists(own)
        elif cut:
            found[one.record_key] = Unsure()
        else:
            choice = _choose([it for it in candidates if it.internal_id not in given])
            found[one.record_key] = choice
            if isinstance(choice, Adopt):
                given.add(choice.internal_id)
    return found


@dataclass(frozen=True, slots=True)
class _Candidate:
    internal_id: str
    inactive: bool


def _choose(candidates: Sequence[_Candidate]) -> Found:
    """An inactive record is only taken if no active one is there."""
    active = [it for it in candidates if not it.inactive]
    match active or candidates:
        case []:
            return Nobody()
        case [only]:
            return Adopt(only.internal_id)
        case several:
            return Several(tuple(it.internal_id for it in several))


def listed(internal_ids: Sequence[str]) -> str:
    """Candidates, in words."""
    matching = (
        "1 record of NetSuite matches" if len(internal_ids) == 1 else f"{len(internal_ids)} records of NetSuite match"
    )
    return f"{matching}: {', '.join(internal_ids[:MOST_NAMED])}"


def literal(text: str) -> str:
    """A text in SuiteQL. Only the quote means anything in it."""
    return "'" + text.replace("'", "''") + "'"


def _one_of(field: str, values: Iterable[str]) -> str:
    """NetSuite lowers both sides, as its own LOWER may differ from ours."""
    listed = ", ".join(f"LOWER({literal(value)})" for value in dict.fromkeys(values))
    return f"LOWER({field.lower()}) IN ({listed})"


def _value(value: Any) -> str:
    """Empty: cannot be matched. Fractions cannot: their texts differ ('.5', '0.50')."""
    if isinstance(value, bool):
        return "T" if value else "F"
    if isinstance(value, Decimal | float) and math.isfinite(value):
        value = int(value) if -(2**63) < value < 2**63 and value == int(value) else ""
    if not isinstance(value, str | int):
        return ""
    text = str(value).strip(_BLANKS)
    return "" if len(text) > MOST_CHARS or _UNQUOTABLE.search(text) else text


def _folded(text: str) -> str:
    """Python writes a sigma at the end of a word otherwise; a database need not."""
    return text.strip(_BLANKS).lower().replace("\u03c2", "\u03c3")


def _shown(row: Mapping[str, Any], column: str) -> str:
    """Empty for a column that is null or left out."""
    value = row.get(column)
    return "" if value is None else str(value)
