"""Check and take over the body of a write, as strictly as NetSuite does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any, Final

from ml_connector.sandbox.netsuite.errors import NetsuiteError, invalid_value, missing_values, user_error
from ml_connector.sandbox.netsuite.schema import CUSTOM_FIELDS, TYPES, Field
from ml_connector.sandbox.netsuite.store import Pointer, Record, Records

EXTERNAL_ID: Final = re.compile(r"[A-Za-z0-9_-]+\Z")  # Oracle section_156334828635
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+\Z")
_READ_ONLY: Final = frozenset({"id", "links", "lastModifiedDate", "dateCreated", "createdDate", "refName"})


def fields_of(kind: str) -> dict[str, Field]:
    return {**TYPES[kind].fields, **CUSTOM_FIELDS.get(kind, {})}


def unknown_names(kind: str, body: Mapping[str, Any]) -> list[str]:
    known = fields_of(kind)
    return [name for name in body if name not in known and name not in _READ_ONLY]


def convert(records: Records, kind: str, body: Mapping[str, Any], *, by_external_id: bool) -> dict[str, Any]:
    """Field -> stored value; None clears. Raises NetsuiteError. Names must be known."""
    known = fields_of(kind)
    return {
        name: None if value is None else _value(records, name, value, known[name], by_external_id=by_external_id)
        for name, value in body.items()
        if name in known and name != "externalId"
    }


def _value(records: Records, name: str, value: Any, field: Field, *, by_external_id: bool) -> Any:
    match field.kind:
        case "text" | "email":
            return _text(name, value, field)
        case "boolean":
            if not isinstance(value, bool):
                raise invalid_value(value, name, path=name)
        case "number":
            if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
                raise invalid_value(value, name, path=name)
        case "date":
            _date(name, value)
        case "reference":
            return _pointer(records, name, value, field, by_external_id=by_external_id)
        case "sublist":
            return _sublist(name, value)
    return value


def _text(name: str, value: Any, field: Field) -> str:
    if not isinstance(value, str):
        raise invalid_value(value, name, path=name)
    if field.length and len(value) > field.length:
        raise user_error(
            f"The field {name} contained more than the maximum number ( {field.length} ) of characters allowed."
        )
    if field.kind == "email" and value and not _EMAIL.match(value):
        raise user_error(f"Invalid email address: {name}")
    return value


def _date(name: str, value: Any) -> None:
    try:
        date.fromisoformat(value)
    except (TypeError, ValueError):
        raise invalid_value(value, name, path=name) from None


def _pointer(records: Records, name: str, value: Any, field: Field, *, by_external_id: bool) -> Pointer:
    """`{"id": ...}`, `{"externalId": ...}` or a bare scalar (facts/netsuite.md section 6)."""
    if isinstance(value, Mapping):
        external_id = value.get("externalId")
        internal_id = value.get("id")
    else:
        external_id, internal_id = None, value
    for kind in field.to:
        found = records.get(kind, str(internal_id)) if internal_id is not None else None
        if found is None and external_id is not None and by_external_id:
            found = records.by_eid(kind, str(external_id))
        if found is not None:
            return Pointer(kind, found.id)
    raise invalid_value(internal_id or external_id, name, path=name)


def _sublist(name: str, value: Any) -> list[Any]:
    items = value.get("items") if isinstance(value, Mapping) else None
    if not isinstance(items, list):
        raise invalid_value(value, name, path=name)
    return items


def require(kind: str, fields: Mapping[str, Any], *, oneworld: bool) -> None:
    """Mandatory fields of the record as it would be (facts/netsuite.md section 12)."""
    missing = [name for name in _mandatory(kind, fields, oneworld=oneworld) if fields.get(name) in (None, "")]
    if missing:
        raise missing_values([_label(name) for name in missing])


def _mandatory(kind: str, fields: Mapping[str, Any], *, oneworld: bool) -> list[str]:
    where = ["subsidiary"] if oneworld else []
    if kind == "customer":
        return [*(["firstName", "lastName"] if fields.get("isPerson") else ["companyName"]), *where]
    if kind == "contact":
        return [*([] if fields.get("entityId") else ["firstName", "lastName"]), *where]
    return ["entity"]


def _label(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name[:1].upper() + name[1:])


def refuse_duplicates(records: Records, record: Record, *, unique_customer_names: bool) -> None:
    """Preferences of the account that make names unique."""
    if record.type != "customer" or not unique_customer_names:
        return
    name = str(record.fields.get("companyName", "")).lower()
    for other in records.all("customer"):
        if other.id != record.id and str(other.fields.get("companyName", "")).lower() == name:
            raise NetsuiteError(
                400,
                "USER_ERROR",
                "Error while accessing a resource. A customer record with this ID already exists. You must enter a "
                "unique customer ID for each record you create.",
            )
