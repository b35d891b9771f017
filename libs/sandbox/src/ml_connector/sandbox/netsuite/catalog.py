"""Which record types there are and which fields they have (Oracle's metadata catalog, as JSON Schema)."""

from __future__ import annotations

from typing import Any, Final

from ml_connector.sandbox.netsuite.accounts import Account
from ml_connector.sandbox.netsuite.errors import no_such_record, not_allowed
from ml_connector.sandbox.netsuite.schema import CUSTOM_FIELDS, FIELDS, TYPES, Field, label
from ml_connector.sandbox.netsuite.shown import RECORD_PATH
from ml_connector.sandbox.web import Reply, Request, json_reply

CATALOG_PATH: Final = f"{RECORD_PATH}metadata-catalog"
_SCHEMA: Final = "application/schema+json"
_SWAGGER: Final = "application/swagger+json"
_SIMPLE: Final = {"text": "string", "email": "string", "number": "number", "boolean": "boolean", "date": "string"}


def handle(account: Account, request: Request) -> Reply:
    """The list of types, or one type's schema. Raises NetsuiteError."""
    if request.method != "GET":
        raise not_allowed("The metadata catalog can only be read.")
    name = request.path[len(CATALOG_PATH) :].strip("/")
    if not name and _SWAGGER in request.headers.get("accept", ""):
        return json_reply(200, _openapi(account, request), {"content-type": _SWAGGER})
    if not name:
        base = f"https://{account.host}{CATALOG_PATH}"
        items = [{"name": kind, "links": _links(f"{base}/{kind}")} for kind in TYPES]
        return json_reply(200, {"items": items, "links": []})
    if name not in TYPES:
        raise no_such_record()
    return json_reply(200, _schema(account, name), {"content-type": _SCHEMA})


def _schema(account: Account, kind: str) -> dict[str, Any]:
    """It never says which fields are mandatory: nor does Oracle's (docs/unproven.md)."""
    there = {name: field for name, field in FIELDS[kind].items() if name not in account.switches.hidden}
    return {"type": "object", "properties": {name: _described(kind, name, field) for name, field in there.items()}}


def _described(kind: str, name: str, field: Field) -> dict[str, Any]:
    custom = {"x-ns-custom-field": True} if name in CUSTOM_FIELDS.get(kind, {}) else {}
    return {"title": label(name), **_property(field), **custom}


def _openapi(account: Account, request: Request) -> dict[str, Any]:
    """`select` names the record types, comma separated."""
    chosen = [name for name in request.query.get("select", "").split(",") if name in TYPES] or list(TYPES)
    return {
        "openapi": "3.0.1",
        "info": {"title": "NetSuite REST Record API", "version": "v1"},
        "paths": {f"/{kind}": {"get": {"responses": {"200": {"description": "records"}}}} for kind in chosen},
        "components": {"schemas": {kind: _schema(account, kind) for kind in chosen}},
    }


def _links(address: str) -> list[dict[str, str]]:
    return [
        {"rel": "canonical", "href": address, "mediaType": "application/json"},
        {"rel": "describes", "href": address, "mediaType": _SCHEMA},
    ]


def _property(field: Field) -> dict[str, Any]:
    if field.kind in _SIMPLE:
        found: dict[str, Any] = {"type": _SIMPLE[field.kind], "nullable": True}
        if field.kind == "date":
            found["format"] = "date"
        if field.length:
            found["maxLength"] = field.length
        return found
    if field.kind == "sublist":
        return {"type": "object", "properties": {"items": {"type": "array"}}}
    parts: dict[str, Any] = {"id": {"type": "string"}, "refName": {"type": "string"}}
    if field.values:
        parts["id"]["enum"] = [value for value, _ in field.values]
    return {"type": "object", "properties": parts}
