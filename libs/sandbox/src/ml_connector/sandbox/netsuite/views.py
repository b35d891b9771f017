"""The records as SuiteQL's tables: SQLite views, and the functions that its queries need."""

from __future__ import annotations

import sqlite3
import time
from datetime import UTC, datetime
from typing import Final

from ml_connector.sandbox.netsuite.accounts import Account
from ml_connector.sandbox.netsuite.schema import CUSTOM_FIELDS, FIELDS, TYPES, Field, label
from ml_connector.sandbox.netsuite.store import Records
from ml_connector.sandbox.netsuite.switches import Switches

# Opportunities are rows of `transaction`, statuses of `entitystatus`.
TABLES: Final = {name.lower(): name for name in TYPES if name != "opportunity"} | {
    "transaction": "opportunity",
    "entitystatus": "customerStatus",
}
CUSTOM_FIELD_TABLE: Final = "customfield"
_VALUE_TYPES: Final = {"number": "Decimal Number", "boolean": "Check Box", "date": "Date"}  # others: Free-Form Text
_MOMENTS: Final = {"lastmodifieddate": "modified_ms", "datecreated": "created_ms", "createddate": "created_ms"}
DATES: Final = frozenset(_MOMENTS) | {
    name.lower() for fields in FIELDS.values() for name, field in fields.items() if field.kind == "date"
}
# Columns that SuiteQL calls otherwise than REST.
_ALSO: Final = {
    "customer": {"altname": "companyName", "fullname": "companyName"},
    "transaction": {"employee": "salesRep", "foreigntotal": "projectedTotal", "trandisplayname": "title"},
    "employee": {"entityid": "name"},
    "subsidiary": {"fullname": "name"},
}
_STAMP: Final = "%Y-%m-%d %H:%M:%S"
_FORMATS: Final = {
    "YYYY": "%Y", "HH24": "%H", "MI": "%M", "MM": "%m", "DD": "%d", "SS": "%S", "HH": "%I", "AM": "%p",
}  # fmt: skip


def database(account: Account) -> sqlite3.Connection:
    """The account's database with the views in its time zone, and what it has switched on."""
    records, switches = account.records, account.switches
    made_for = (switches.utc_offset_h, switches.hidden, switches.mandatory_custom_fields)
    if records.views_of != made_for:
        _define(records, switches)
        records.views_of = made_for
    return records.db


def _define(records: Records, switches: Switches) -> None:
    db, offset_h = records.db, switches.utc_offset_h
    _list_custom_fields(db, switches)
    for table, kind in TABLES.items():
        db.execute(f'DROP VIEW IF EXISTS "{table}"')
        if table in switches.hidden:
            continue
        columns = _columns(table, kind, switches)
        db.execute(f"CREATE VIEW \"{table}\" AS SELECT {columns} FROM record WHERE type = '{kind}'")  # noqa: S608  constants
    db.execute("PRAGMA case_sensitive_like = ON")
    db.create_function("ns_lower", 1, _lower, deterministic=True)
    db.create_function("ns_upper", 1, _upper, deterministic=True)
    db.create_function("ns_parse", 2, _parse, deterministic=True)
    db.create_function("ns_to_char", 2, _to_char, deterministic=True)
    db.create_function("ns_now", 0, lambda: _moment(time.time() + offset_h * 3600))
    db.create_function("ns_display", 2, lambda column, value: _display(records, column, value))


def _list_custom_fields(db: sqlite3.Connection, switches: Switches) -> None:
    """Script ids are in capitals here, and in lower case everywhere else."""
    fields = {name: field for of_kind in CUSTOM_FIELDS.values() for name, field in of_kind.items()}
    rows = [
        (
            number, name.upper(), label(name), "BODY" if name.startswith("custbody") else "ENTITY",
            _VALUE_TYPES.get(field.kind, "Free-Form Text"), "FT"[name in switches.mandatory_custom_fields], "T",
        )
        for number, (name, field) in enumerate(sorted(fields.items()), start=1)
    ]  # fmt: skip
    db.execute(f"DROP TABLE IF EXISTS {CUSTOM_FIELD_TABLE}")
    columns = "internalid, scriptid, name, fieldtype, fieldvaluetype, ismandatory, isstored"
    db.execute(f"CREATE TABLE {CUSTOM_FIELD_TABLE} ({columns})")
    db.executemany(f"INSERT INTO {CUSTOM_FIELD_TABLE} VALUES (?, ?, ?, ?, ?, ?, ?)", rows)  # noqa: S608  a constant


def _columns(table: str, kind: str, switches: Switches) -> str:
    offset_h = switches.utc_offset_h
    found = {"id": "id", "externalid": "external_id"}
    for name, column in _MOMENTS.items():
        found[name] = f"strftime('{_STAMP}', {column} / 1000 + {int(offset_h * 3600)}, 'unixepoch')"
    for name, field in FIELDS[kind].items():
        if field.kind != "sublist" and name not in switches.hidden:
            found.setdefault(name.lower(), _column(name, field))
    for name, source in _ALSO.get(table, {}).items():
        found.setdefault(name, _column(source, FIELDS[kind][source]))
    if table == "transaction":
        found["type"] = "'Opprtnty'"
    return ", ".join(f'{expression} AS "{name}"' for name, expression in found.items())


def _column(name: str, field: Field) -> str:
    value = f"json_extract(fields, '$.{name}')"
    match field.kind:
        case "boolean":
            return f"CASE {value} WHEN 1 THEN 'T' ELSE 'F' END"
        case "reference" | "list":
            return f"CAST(json_extract(fields, '$.{name}.id') AS INTEGER)"
        case "date":
            return f"{value} || ' 00:00:00'"
    return value


def _lower(text: object) -> str | None:
    return None if text is None else str(text).lower()


def _upper(text: object) -> str | None:
    return None if text is None else str(text).upper()


def _moment(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime(_STAMP)


def _parse(text: str | None, form: str) -> str | None:
    """TO_DATE and TO_TIMESTAMP: a text that compares as a moment does."""
    return None if text is None else datetime.strptime(text, form).strftime(_STAMP)  # noqa: DTZ007  the account's zone


def _to_char(value: str | None, form: str) -> str | None:
    if value is None:
        return None
    for theirs, ours in _FORMATS.items():
        form = form.replace(theirs, ours)
    return datetime.strptime(value, _STAMP).strftime(form)  # noqa: DTZ007  the account's zone


def _display(records: Records, column: str, value: str | None) -> str | None:
    """BUILTIN.DF: the name of what a column points to."""
    if value is None:
        return None
    for kind in ("opportunity", "customer", "contact"):
        for name, field in FIELDS[kind].items():
            if name.lower() == column:
                found = next((record for to in field.to if (record := records.get(to, str(value)))), None)
                if found is not None:
                    return str(found.fields.get("name") or found.fields.get("companyName") or found.id)
    return str(value)
