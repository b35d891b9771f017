"""How records look when they are read."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from ml_connector.sandbox.netsuite.accounts import Account
from ml_connector.sandbox.netsuite.schema import FIELDS, Field
from ml_connector.sandbox.netsuite.store import Record

RECORD_PATH: Final = "/services/rest/record/v1/"


def href(account: Account, kind: str, internal_id: str) -> str:
    return f"https://{account.host}{RECORD_PATH}{kind}/{internal_id}"


def links(address: str) -> list[dict[str, str]]:
    return [{"rel": "self", "href": address}]


def moment(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def shown(account: Account, record: Record, query: Mapping[str, str]) -> dict[str, Any]:
    """With `fields`, `expandSubResources`, `simpleEnumFormat` (REST API Browser)."""
    own = href(account, record.type, record.id)
    found: dict[str, Any] = {"links": links(own), "id": record.id}
    if record.external_id is not None:
        found["externalId"] = record.external_id
    for name, value in record.fields.items():
        known = FIELDS[record.type].get(name)
        found[name] = value if known is None else _shown(account, own, name, value, known, query)
    found["dateCreated"] = moment(record.created_ms)
    found["lastModifiedDate"] = moment(record.modified_ms)
    wanted = query.get("fields")
    if wanted:
        names = {"links", "id", *(name.strip() for name in wanted.split(","))}
        found = {name: value for name, value in found.items() if name in names}
    return found


def _shown(account: Account, own: str, name: str, value: Any, known: Field, query: Mapping[str, str]) -> Any:
    match known.kind:
        case "reference":
            return _reference(account, value)
        case "list":
            return {"links": [], **value, "refName": f"#{value['id']}"}
        case "enumeration":
            return (
                value
                if query.get("simpleEnumFormat") == "true"
                else {"id": value, "refName": dict(known.values)[value]}
            )
        case "sublist":
            return lines(f"{own}/{name}", value, expand=query.get("expandSubResources") == "true")
    return value


def lines(address: str, items: list[dict[str, Any]], *, expand: bool) -> dict[str, Any]:
    """A sublist: only a link, unless it is asked for."""
    if not expand:
        return {"links": links(address)}
    return {
        "links": links(address),
        "items": items,
        "count": len(items),
        "offset": 0,
        "hasMore": False,
        "totalResults": len(items),
    }


def _reference(account: Account, pointer: dict[str, str]) -> dict[str, Any]:
    """The read form (Oracle section_1545142037)."""
    target = account.records.get(pointer["type"], pointer["id"])
    fields = target.fields if target is not None else {}
    name = fields.get("name") or fields.get("companyName") or fields.get("entityId") or pointer["id"]
    return {"links": links(href(account, pointer["type"], pointer["id"])), "id": pointer["id"], "refName": name}
