"""The record service: `/services/rest/record/v1/{type}[/{id}]` (facts/netsuite.md sections 2 to 7)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ml_connector.sandbox.netsuite.accounts import Account
from ml_connector.sandbox.netsuite.content import (
    EXTERNAL_ID,
    convert,
    refuse_duplicates,
    require,
    unknown_names,
)
from ml_connector.sandbox.netsuite.errors import (
    NetsuiteError,
    malformed,
    no_such_record,
    user_error,
)
from ml_connector.sandbox.netsuite.schema import TYPES
from ml_connector.sandbox.netsuite.store import Pointer, Record
from ml_connector.sandbox.web import Reply, Request, json_reply

PREFIX = "/services/rest/record/v1/"
MAX_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Done:
    """An answer, and the record that it changed."""

    reply: Reply
    changed: Record | None = None


def handle(account: Account, request: Request) -> Done:
    """One request to a record type. Raises NetsuiteError."""
    kind, _, name = request.path[len(PREFIX) :].partition("/")
    if kind not in TYPES:
        raise NetsuiteError(404, "NONEXISTENT_ID", f"Record type {kind} does not exist.")
    if "respond-async" in request.headers.get("prefer", ""):
        raise NetsuiteError(400, "INVALID_REQUEST", "This stand-in does not execute asynchronous requests yet.")
    if not name:
        return _collection(account, request, kind)
    if request.method != "GET" and not TYPES[kind].writable:
        raise NetsuiteError(405, "INVALID_REQUEST", f"{kind} cannot be written.")
    match request.method:
        case "GET":
            return Done(json_reply(200, _shown(account, _find(account, kind, name), request.query)))
        case "PUT":
            return _upsert(account, request, kind, name)
        case "PATCH":
            return _update(account, request, _find(account, kind, name))
        case "DELETE":
            return _delete(account, _find(account, kind, name))
    raise NetsuiteError(405, "INVALID_REQUEST", f"{request.method} is not allowed here.")


def _find(account: Account, kind: str, name: str) -> Record:
    if name.startswith("eid:"):
        if not EXTERNAL_ID.match(name[4:]):
            raise malformed()
        found = account.records.by_eid(kind, name[4:])
    else:
        found = account.records.get(kind, name)
    if found is None:
        raise no_such_record()
    return found


def _collection(account: Account, request: Request, kind: str) -> Done:
    if request.method == "GET":
        return Done(_page(account, request, kind))
    if request.method == "POST" and TYPES[kind].writable:
        return _create(account, request, kind, None)
    raise NetsuiteError(405, "INVALID_REQUEST", f"{request.method} is not allowed here.")


def _page(account: Account, request: Request, kind: str) -> Reply:
    """Ids and links only, never field values (Oracle subsect_1544786455)."""
    try:
        limit, offset = int(request.query.get("limit", MAX_PAGE)), int(request.query.get("offset", 0))
    except ValueError:
        raise malformed() from None
    if not 1 <= limit <= MAX_PAGE or offset % limit:
        raise NetsuiteError(400, "INVALID_PARAMETER", "limit is 1 to 1000, and offset must be divisible by limit.")
    records = sorted(account.records.all(kind), key=lambda record: int(record.id))
    shown = records[offset : offset + limit]
    items = [{"links": [{"rel": "self", "href": _href(account, r)}], "id": r.id} for r in shown]
    return json_reply(
        200,
        {
            "links": [],
            "count": len(shown),
            "hasMore": offset + limit < len(records),
            "items": items,
            "offset": offset,
            "totalResults": len(records),
        },
    )


def _upsert(account: Account, request: Request, kind: str, name: str) -> Done:
    """Only by external id (Oracle section_156335203191); an internal id answers 405, as a live account did."""
    if not name.startswith("eid:"):
        raise NetsuiteError(405, "INVALID_REQUEST", "PUT needs an external id: eid:<external id>.")
    external_id = name[4:]
    if not EXTERNAL_ID.match(external_id):
        raise malformed()
    found = account.records.by_eid(kind, external_id)
    return _create(account, request, kind, external_id) if found is None else _update(account, request, found)


def _create(account: Account, request: Request, kind: str, external_id: str | None) -> Done:
    body, warning = _body(request, kind)
    external_id = external_id or body.get("externalId")
    if external_id is not None and account.records.taken(kind, external_id):
        raise user_error("This entity already exists.")
    fields = _converted(account, kind, body)
    now_ms = time.time_ns() // 1_000_000
    present = {name: value for name, value in fields.items() if value is not None}
    record = Record("", kind, external_id, present, now_ms, now_ms)
    require(kind, record.fields, oneworld=account.oneworld)
    refuse_duplicates(account.records, record, unique_customer_names=account.unique_customer_names)
    record.id = str(next(account.records.next_id))
    account.records.add(record)
    account.creates += 1
    return Done(_written(account, record, warning), record)


def _update(account: Account, request: Request, record: Record) -> Done:
    """Omitted fields stay; null clears (Oracle section_1545142173)."""
    body, warning = _body(request, record.type)
    fields = {**record.fields, **_converted(account, record.type, body)}
    after = Record(record.id, record.type, record.external_id, fields, record.created_ms, record.modified_ms)
    require(record.type, fields, oneworld=account.oneworld)
    refuse_duplicates(account.records, after, unique_customer_names=account.unique_customer_names)
    record.fields = {name: value for name, value in fields.items() if value is not None}
    record.modified_ms = time.time_ns() // 1_000_000
    account.updates += 1
    return Done(_written(account, record, warning), record)


def _delete(account: Account, record: Record) -> Done:
    if account.records.dependants(record):
        raise user_error("This record cannot be deleted because it has dependent records.")
    account.records.remove(record)
    return Done(Reply(204), record)


def _body(request: Request, kind: str) -> tuple[dict[str, Any], str]:
    """The body and, by default, a warning header for unknown names, which are dropped (!)."""
    try:
        body = request.json()
    except ValueError:
        raise malformed() from None
    if not isinstance(body, dict):
        raise malformed()
    unknown = unknown_names(kind, body)
    mode = request.headers.get("x-netsuite-propertynamevalidation", "warning").lower()
    if unknown and mode == "error":
        raise NetsuiteError(
            400,
            "INVALID_CONTENT",
            f"Error while accessing resource: Unknown reference or field {unknown[0]}.",
            path=unknown[0],
        )
    return body, ",".join(unknown) if mode == "warning" else ""


def _converted(account: Account, kind: str, body: Mapping[str, Any]) -> dict[str, Any]:
    return convert(account.records, kind, body, by_external_id=account.references_by_external_id)


def _written(account: Account, record: Record, warning: str) -> Reply:
    """204, no body, the id only in Location (Oracle section_1545141395)."""
    headers = {"location": _href(account, record)}
    if warning:
        headers["x-netsuite-propertyvalidation"] = warning
    return Reply(204, b"", headers)


def _href(account: Account, record: Record) -> str:
    return f"https://{account.host}{PREFIX}{record.type}/{record.id}"


def _shown(account: Account, record: Record, query: Mapping[str, str]) -> dict[str, Any]:
    shown: dict[str, Any] = {"links": [{"rel": "self", "href": _href(account, record)}], "id": record.id}
    if record.external_id is not None:
        shown["externalId"] = record.external_id
    for name, value in record.fields.items():
        shown[name] = _reference(account, value) if isinstance(value, Pointer) else value
    shown["dateCreated"] = _moment(record.created_ms)
    shown["lastModifiedDate"] = _moment(record.modified_ms)
    wanted = query.get("fields")
    if wanted:
        shown = {name: value for name, value in shown.items() if name in {"links", "id", *wanted.split(",")}}
    return shown


def _reference(account: Account, pointer: Pointer) -> dict[str, Any]:
    """The read form (Oracle section_1545142037)."""
    target = account.records.get(pointer.type, pointer.id)
    fields = target.fields if target is not None else {}
    name = fields.get("name") or fields.get("companyName") or fields.get("title") or pointer.id
    href = f"https://{account.host}{PREFIX}{pointer.type}/{pointer.id}"
    return {"links": [{"rel": "self", "href": href}], "id": pointer.id, "refName": name}


def _moment(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
