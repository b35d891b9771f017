"""Check and take over the body of a write, as strictly as NetSuite does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any, Final

from ml_connector.sandbox.netsuite.errors import NetsuiteError, invalid_content, invalid_value, malformed, user_error
from ml_connector.sandbox.netsuite.schema import FIELDS, Field
from ml_connector.sandbox.netsuite.store import Records, pointer_to
from ml_connector.sandbox.netsuite.switches import Switches
from ml_connector.sandbox.web import Request

EXTERNAL_ID: Final = re.compile(r"[A-Za-z0-9_-]+\Z")  # Oracle section_156334828635
NAME_VALIDATION: Final = "x-netsuite-propertynamevalidation"
VALUE_VALIDATION: Final = "x-netsuite-propertyvaluevalidation"
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+\Z")
_COUNTRY: Final = re.compile(r"[A-Z]{2}\Z")
_READ_ONLY: Final = frozenset({"id", "links", "lastModifiedDate", "dateCreated", "createdDate", "refName"})
_MODES: Final = frozenset({"ignore", "warning", "error"})
_CANONICAL: Final = {kind: {name.lower(): name for name in fields} for kind, fields in FIELDS.items()}


@dataclass(slots=True)
class Content:
    """What a body says. `fields`: name -> stored value, None clears; a sublist's lines are not merged yet."""

    fields: dict[str, Any]
    external_id: str | None = None
    warnings: list[str] = field(default_factory=list)


def read(records: Records, kind: str, request: Request, switches: Switches) -> Content:
    """Raises NetsuiteError. Unknown names are dropped with a warning unless the request says `error` (!)."""
    try:
        body = request.json()
    except ValueError:
        raise malformed() from None
    if not isinstance(body, dict):
        raise malformed()
    if isinstance(body.get("items"), list):  # a batch, sent as if it were one record
        raise invalid_content("Unknown reference or field items.", path="items")
    names = _mode(request, NAME_VALIDATION, "warning")
    values = _mode(request, VALUE_VALIDATION, switches.value_validation)
    content = Content({})
    for given, value in body.items():
        name = _canonical(kind, given, switches)
        if name in _READ_ONLY:
            continue
        known = None if name in switches.hidden else FIELDS[kind].get(name)
        if known is None:
            _unknown(content, given, names)
        elif name == "externalId":
            content.external_id = _external_id(value)
        else:
            _take(content, records, name, value, known, mode=values, switches=switches)
    return content


def _mode(request: Request, header: str, default: str) -> str:
    mode = request.headers.get(header, default).lower()
    if mode not in _MODES:
        detail = f"The header {header} is one of ignore, warning, error."
        raise NetsuiteError(400, "INVALID_HEADER", detail, where={"o:errorHeader": header})
    return mode


def _canonical(kind: str, given: str, switches: Switches) -> str:
    return _CANONICAL[kind].get(given.lower(), given) if switches.field_names_any_case else given


def _unknown(content: Content, name: str, mode: str) -> None:
    if mode == "error":
        raise invalid_content(f"Unknown reference or field {name}.", path=name)
    if mode == "warning":
        content.warnings.append(name)


def _external_id(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not EXTERNAL_ID.match(value):
        raise invalid_value(value, "externalId", path="externalId")
    return value


def _take(
    content: Content, records: Records, name: str, value: Any, known: Field, *, mode: str, switches: Switches
) -> None:
    if value is None:
        content.fields[name] = None
    elif known.kind == "reference":  # a reference to nothing always fails (Oracle section_156570709583)
        content.fields[name] = _reference(records, name, value, known, switches)
    else:
        try:
            content.fields[name] = _value(name, value, known)
        except NetsuiteError:
            if mode == "error":
                raise
            if mode == "warning":
                content.warnings.append(name)


def _value(name: str, value: Any, known: Field) -> Any:
    match known.kind:
        case "text" | "email":
            return _text(name, value, known)
        case "boolean":
            fits = isinstance(value, bool)
        case "number":
            fits = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
        case "date":
            fits = _is_date(value)
        case "list":
            return _listed(name, value)
        case "enumeration":
            return _enumerated(name, value, known)
        case _:
            return _lines(name, value)
    if not fits:
        raise invalid_value(value, name, path=name)
    return value


def _text(name: str, value: Any, known: Field) -> str:
    if not isinstance(value, str):
        raise invalid_value(value, name, path=name)
    if known.length and len(value) > known.length:
        raise user_error(
            f"The field {name} contained more than the maximum number ( {known.length} ) of characters allowed."
        )
    if known.kind == "email" and value and not _EMAIL.match(value):
        raise user_error(f"Invalid email address: {name}")
    return value


def _is_date(value: Any) -> bool:
    try:
        date.fromisoformat(value)
    except (TypeError, ValueError):
        return False
    return True


def _reference(records: Records, name: str, value: Any, known: Field, switches: Switches) -> dict[str, str]:
    """`{"id": ...}`, `{"externalId": ...}` or a bare scalar (facts/netsuite.md section 6)."""
    external_id = value.get("externalId") if isinstance(value, Mapping) else None
    internal_id = value.get("id") if isinstance(value, Mapping) else value
    for kind in known.to:
        found = records.get(kind, str(internal_id)) if internal_id is not None else None
        if found is None and external_id is not None and switches.references_by_external_id:
            found = records.by_eid(kind, str(external_id))
        if found is not None:
            return pointer_to(kind, found.id)
    raise invalid_value(internal_id or external_id, name, path=name)


def _listed(name: str, value: Any) -> dict[str, str]:
    internal_id = value.get("id") if isinstance(value, Mapping) else value
    if not re.fullmatch(r"-?\d+", str(internal_id)):
        raise invalid_value(internal_id, name, path=name)
    return {"id": str(internal_id)}


def _enumerated(name: str, value: Any, known: Field) -> str:
    chosen = str(value.get("id") if isinstance(value, Mapping) else value)
    if chosen not in dict(known.values):
        raise invalid_value(chosen, name, path=name)
    return chosen


def _lines(name: str, value: Any) -> list[dict[str, Any]]:
    items = value.get("items") if isinstance(value, Mapping) else None
    if not isinstance(items, list) or not all(isinstance(line, dict) for line in items):
        raise invalid_value(value, name, path=name)
    for number, line in enumerate(items):
        address = line.get("addressBookAddress")
        country = address.get("country") if isinstance(address, Mapping) else None
        if country is not None:
            code = country.get("id") if isinstance(country, Mapping) else country
            if not _COUNTRY.match(str(code)):
                raise invalid_value(code, "country", path=f"{name}.items[{number}].addressBookAddress.country")
    return items
