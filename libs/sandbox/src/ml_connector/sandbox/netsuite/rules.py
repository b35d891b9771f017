"""What must hold for a record as a whole: mandatory fields, names that are unique, lines of sublists."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ml_connector.sandbox.netsuite.errors import NetsuiteError, missing_values, user_error
from ml_connector.sandbox.netsuite.schema import FIELDS, Field, label
from ml_connector.sandbox.netsuite.store import Record, Records
from ml_connector.sandbox.netsuite.switches import Switches


def require(kind: str, fields: Mapping[str, Any], switches: Switches) -> None:
    """Mandatory fields of the record as it would be (facts/netsuite.md section 12)."""
    custom = [name for name in switches.mandatory_custom_fields if name in FIELDS[kind]]
    mandatory = [*_mandatory(kind, fields, oneworld=switches.oneworld), *custom]
    missing = [label(name) for name in mandatory if fields.get(name) in (None, "")]
    if missing:
        raise missing_values(missing)


def _mandatory(kind: str, fields: Mapping[str, Any], *, oneworld: bool) -> list[str]:
    where = ["subsidiary"] if oneworld else []
    if kind == "customer":
        return [*(["firstName", "lastName"] if fields.get("isPerson") else ["companyName"]), *where]
    if kind == "contact":
        return [*([] if fields.get("entityId") else ["firstName", "lastName"]), *where]
    return ["entity"]


def name_entity(record: Record, switches: Switches) -> None:
    """Give a new customer or contact its entity id, which is unique (facts/netsuite.md section 14)."""
    fields = record.fields
    if record.type not in {"customer", "contact"} or fields.get("entityId"):
        return
    person = " ".join(str(fields[name]) for name in ("firstName", "lastName") if fields.get(name))
    if record.type == "contact":
        fields["entityId"] = person[:83]
    elif switches.auto_numbering:
        fields["entityId"] = f"CUST{record.id}"
    else:
        fields["entityId"] = str(fields.get("companyName") or person)[:83]


def refuse_taken_names(records: Records, record: Record, switches: Switches) -> None:
    name = str(record.fields.get("entityId") or "")
    other = records.named(record.type, name) if name else None
    if other is None or other.id == record.id:
        return
    if record.type == "customer":
        text = "A customer record with this ID already exists. You must enter a unique customer ID for each record you"
        raise NetsuiteError(400, switches.duplicate_name_code, f"Error while accessing a resource. {text} create.")
    if record.type == "contact" and switches.unique_contact_names:
        raise user_error("Every contact record must have a unique name.")


def merged_lines(
    known: Field, old: list[dict[str, Any]], new: list[dict[str, Any]], *, replace: bool
) -> list[dict[str, Any]]:
    """Keyed lines are updated and, with `replace`, the others removed; others are appended, or all replaced
    (Oracle section_1545297048)."""
    if not known.line_key:
        return new if replace else [*old, *new]
    by_key = {str(_key(known, line)): line for line in old}
    merged: dict[str, dict[str, Any]] = {} if replace else dict(by_key)
    for line in new:
        key = _key(known, line)
        if key is None:  # a new line; NetSuite numbers it
            number = max([0, *(int(k) for k in {*by_key, *merged} if k.isdigit())]) + 1
            merged[str(number)] = {**line, known.line_key: number}
        else:
            merged[key] = {**by_key.get(key, {}), **line}
    return list(merged.values())


def _key(known: Field, line: Mapping[str, Any]) -> str | None:
    value = line.get(known.line_key)
    if isinstance(value, Mapping):
        value = value.get("id")
    return None if value is None else str(value)
