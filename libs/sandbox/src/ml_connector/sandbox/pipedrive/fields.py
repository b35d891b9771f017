"""Field definitions of a new company: custom fields of every type, as the Fields API v2 shows them."""

from __future__ import annotations

import hashlib
from typing import Any, Final

# entity -> [(name, type, option labels)]
CUSTOM: Final[dict[str, list[tuple[str, str, tuple[str, ...]]]]] = {
    "organization": [
        ("Billing email", "varchar", ()),
        ("Tier", "enum", ("Gold", "Silver", "Bronze")),
        ("Regions", "set", ("North", "South", "East", "West")),
        ("Annual value", "monetary", ()),
        ("Headquarters", "address", ()),
        ("Contract period", "daterange", ()),
        ("Kick-off", "date", ()),
        ("Call window", "timerange", ()),
        ("Opens at", "time", ()),
        ("Score", "double", ()),
        ("Account manager", "user", ()),
        ("Parent organization", "org", ()),
        ("Main contact", "people", ()),
        ("Notes", "text", ()),
        ("Hotline", "phone", ()),
        ("Number", "varchar_auto", ()),
    ],
    "person": [
        ("Tier", "enum", ("Gold", "Silver", "Bronze")),
        ("Regions", "set", ("North", "South", "East", "West")),
        ("Score", "double", ()),
        ("Birthday", "date", ()),
        ("Notes", "text", ()),
    ],
    "deal": [
        ("Reference", "varchar", ()),
        ("Reference", "varchar", ()),  # names are not unique
        ("Source", "enum", ("Fair", "Web", "Partner")),
        ("Notes", "text", ()),
        ("Score", "double", ()),
        ("Kick-off", "date", ()),
    ],
}
BUILT_IN: Final[dict[str, list[tuple[str, str, str]]]] = {
    "organization": [
        ("name", "Organization Name", "varchar"),
        ("address", "Address", "address"),
        ("owner_id", "Owner", "user"),
    ],
    "person": [
        ("name", "Name", "varchar"),
        ("emails", "Email", "varchar"),
        ("phones", "Phone", "phone"),
        ("org_id", "Organization", "org"),
    ],
    "deal": [
        ("title", "Title", "varchar"),
        ("value", "Value", "double"),
        ("stage_id", "Stage", "stage"),
        ("org_id", "Organization", "org"),
    ],
}
ADDRESS_PARTS: Final = (
    "value", "street_number", "route", "sublocality", "subpremise", "locality", "admin_area_level_1",
    "admin_area_level_2", "country", "postal_code", "formatted_address",
)  # fmt: skip

Definition = dict[str, Any]


def field_code(company: str, entity: str, name: str, number: int = 0) -> str:
    """40 hex digits, stable for a company, an entity and a name; `number` tells equal names apart."""
    text = f"{company}/{entity}/{name}" + (f"/{number}" if number else "")
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def option_id(entity: str, name: str, position: int) -> int:
    """Ids of options: stable, and different between fields."""
    base = int(hashlib.sha1(f"{entity}/{name}".encode(), usedforsecurity=False).hexdigest()[:4], 16)
    return base * 10 + position


def definitions(company: str, entity: str) -> list[Definition]:
    """Built-in fields first, then custom ones."""
    seen: dict[str, int] = {}
    found = [define(code, name, kind, custom=False) for code, name, kind in BUILT_IN[entity]]
    for name, kind, labels in CUSTOM[entity]:
        code = field_code(company, entity, name, seen.get(name, 0))
        seen[name] = seen.get(name, 0) + 1
        options = [{"id": option_id(entity, name, i), "label": label} for i, label in enumerate(labels, start=1)]
        found.append(define(code, name, kind, custom=True, options=options or None))
    return found


def define(code: str, name: str, kind: str, *, custom: bool, options: list[dict[str, Any]] | None = None) -> Definition:
    """One definition; an address has its parts as subfields."""
    parts = [{"field_code": part, "field_name": f"{part} of {name}", "field_type": "varchar"} for part in ADDRESS_PARTS]
    return {
        "field_name": name,
        "field_code": code,
        "field_type": kind,
        "options": options,
        "subfields": parts if kind == "address" else None,
        "is_custom_field": custom,
        "is_optional_response_field": False,
    }
