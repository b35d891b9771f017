"""The record service for one record: `/services/rest/record/v1/{type}[/{id}]` (facts/netsuite.md sections 2 to 7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from ml_connector.sandbox.clock import Clock
from ml_connector.sandbox.netsuite import collection, content
from ml_connector.sandbox.netsuite.accounts import Account
from ml_connector.sandbox.netsuite.errors import NetsuiteError, malformed, no_such_record, not_allowed, user_error
from ml_connector.sandbox.netsuite.rules import merged_lines, name_entity, refuse_taken_names, require
from ml_connector.sandbox.netsuite.schema import FIELDS, TYPES
from ml_connector.sandbox.netsuite.shown import RECORD_PATH, href, lines, shown
from ml_connector.sandbox.netsuite.store import Record
from ml_connector.sandbox.web import Reply, Request, json_reply

RESOURCE: Final = "application/vnd.oracle.resource+json; type=singular"


@dataclass(frozen=True, slots=True)
class Done:
    """An answer, and the record that it changed, if any."""

    reply: Reply
    changed: Record | None = None
    what: str = ""


class RecordService:
    """Records of any account."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def handle(self, account: Account, request: Request) -> Done:
        """One synchronous request. Raises NetsuiteError."""
        kind, _, name = request.path[len(RECORD_PATH) :].partition("/")
        if kind not in TYPES:
            raise NetsuiteError(404, "NONEXISTENT_ID", f"Record type '{kind}' does not exist.")
        if request.method != "GET" and not TYPES[kind].writable:
            raise not_allowed(f"{kind} cannot be written.")
        name, _, sublist = name.partition("/")
        if not name:
            return self._on_collection(account, request, kind)
        if sublist:
            return self._on_sublist(account, request, kind, name, sublist)
        match request.method:
            case "GET":
                found = _find(account, kind, name)
                return Done(json_reply(200, shown(account, found, request.query), {"content-type": RESOURCE}))
            case "PUT":
                return self._upsert(account, request, kind, name)
            case "PATCH":
                return self._update(account, request, _find(account, kind, name))
            case "DELETE":
                return self._delete(account, _find(account, kind, name))
        raise not_allowed(f"{request.method} is not allowed here.")

    def _on_collection(self, account: Account, request: Request, kind: str) -> Done:
        if request.method == "GET":
            return Done(collection.page(account, request, kind))
        if request.method == "POST":
            return self._create(account, request, kind, None)
        raise not_allowed(f"{request.method} is not allowed here.")

    def _on_sublist(self, account: Account, request: Request, kind: str, name: str, sublist: str) -> Done:
        record, known = _find(account, kind, name), FIELDS[kind].get(sublist)
        if known is None or known.kind != "sublist":
            raise no_such_record()
        if request.method != "GET":
            raise not_allowed(f"{request.method} is not allowed here.")
        address = f"{href(account, kind, record.id)}/{sublist}"
        return Done(json_reply(200, lines(address, record.fields.get(sublist, []), expand=True)))

    def _upsert(self, account: Account, request: Request, kind: str, name: str) -> Done:
        """Only by external id (Oracle section_156335203191); an internal id answers 405, as a live account did."""
        external_id = name.removeprefix("eid:")
        if external_id == name or (kind == "opportunity" and not account.switches.opportunity_upsert):
            raise not_allowed("PUT needs an external id: eid:<external id>.")
        if not content.EXTERNAL_ID.match(external_id):
            raise malformed()
        found = account.records.by_eid(kind, external_id)
        if found is None:
            return self._create(account, request, kind, external_id)
        return self._update(account, request, found)

    def _create(self, account: Account, request: Request, kind: str, external_id: str | None) -> Done:
        body = content.read(account.records, kind, request, account.switches)
        external_id = external_id or body.external_id
        if external_id is not None and account.records.taken(kind, external_id):
            raise user_error("This entity already exists.")
        now_ms = self._clock.now_ms()
        record = Record(account.records.next_id(), kind, external_id, {}, now_ms, now_ms)
        _apply(record, body.fields, replace=frozenset())
        name_entity(record, account.switches)
        require(kind, record.fields, account.switches)
        refuse_taken_names(account.records, record, account.switches)
        account.records.add(record)
        account.creates += 1
        return Done(_written(account, record, body.warnings), record, "create")

    def _update(self, account: Account, request: Request, record: Record) -> Done:
        """Omitted fields stay; null clears; `replace` as Oracle section_1545142173 and section_1545297048."""
        body = content.read(account.records, record.type, request, account.switches)
        replace = frozenset(name for name in request.query.get("replace", "").split(",") if name)
        if request.query.get("replaceSelectedFields") == "true":
            kept = {name: value for name, value in body.fields.items() if value is not None or name in replace}
            body.fields = {**dict.fromkeys(replace & FIELDS[record.type].keys()), **kept}
        if body.external_id is not None and body.external_id.lower() != (record.external_id or "").lower():
            if account.records.taken(record.type, body.external_id):
                raise user_error("This entity already exists.")
            record.external_id = body.external_id
        name = record.fields.get("entityId")
        _apply(record, body.fields, replace=replace)
        require(record.type, record.fields, account.switches)
        if record.fields.get("entityId") != name:
            refuse_taken_names(account.records, record, account.switches)
        record.modified_ms = self._clock.now_ms()
        account.records.change(record)
        account.updates += 1
        return Done(_written(account, record, body.warnings), record, "edit")

    def _delete(self, account: Account, record: Record) -> Done:
        if account.records.dependants(record):
            raise user_error("This record cannot be deleted because it has dependent records.")
        account.records.remove(record)
        return Done(Reply(204), record, "delete")


def _find(account: Account, kind: str, name: str) -> Record:
    if name.startswith("eid:"):
        if not content.EXTERNAL_ID.match(name[4:]):
            raise malformed()
        found = account.records.by_eid(kind, name[4:])
    else:
        found = account.records.get(kind, name)
    if found is None:
        raise no_such_record()
    return found


def _apply(record: Record, values: dict[str, Any], *, replace: frozenset[str]) -> None:
    for name, value in values.items():
        known = FIELDS[record.type][name]
        if value is None:
            record.fields.pop(name, None)
        elif known.kind == "sublist":
            record.fields[name] = merged_lines(known, record.fields.get(name, []), value, replace=name in replace)
        else:
            record.fields[name] = value


def _written(account: Account, record: Record, warnings: list[str]) -> Reply:
    """204, no body, the id only in Location (Oracle section_1545141395)."""
    headers = {"location": href(account, record.type, record.id)}
    if warnings:
        headers["x-netsuite-propertyvalidation"] = ",".join(warnings)
    return Reply(204, b"", headers)
