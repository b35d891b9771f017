"""Webhook v2 bodies: official member order, typed custom fields, compact JSON (facts/pipedrive.md sections 1 to 3)."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from ml_connector.sandbox.pipedrive.company import Company
from ml_connector.sandbox.pipedrive.fields import ADDRESS_PARTS
from ml_connector.sandbox.pipedrive.members import OWNER_ID, WEBHOOK_MEMBERS, WEBHOOK_NAMES, Item


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that happened. `before` and `after` are in the REST shape; None where there is none."""

    action: str
    entity: str
    id: int
    before: Item | None
    after: Item | None
    merged_to: int | None = None
    merged_from: int | None = None
    bulk: bool = False
    event_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    at: datetime = field(default_factory=lambda: datetime.now(UTC))


def webhook_body(company: Company, change: Change, *, webhook_id: int, attempt: int, permitted_users: int) -> bytes:
    """`{"data": ..., "previous": ..., "meta": ...}`, no spaces."""
    after = None if change.after is None else _shown(company, change.entity, change.after)
    if change.action == "create" and change.entity == "deal" and after is not None:
        after["update_time"] = None
    return msgspec.json.encode(
        {
            "data": after,
            "previous": _previous(company, change, after),
            "meta": _meta(company, change, webhook_id, attempt, permitted_users),
        }
    )


def _previous(company: Company, change: Change, after: Item | None) -> Item | None:
    """Of a change the old values of what changed; of a delete the last state."""
    if change.before is None:
        return None
    before = _shown(company, change.entity, change.before)
    if after is None:
        return before
    changed = {name: value for name, value in before.items() if name != "custom_fields" and after.get(name) != value}
    was, now = before.get("custom_fields", {}), after.get("custom_fields", {})
    custom = {code: was.get(code) for code in {**was, **now} if was.get(code) != now.get(code)}
    changed.pop("update_time", None)
    return {**changed, "custom_fields": custom} if custom else changed


def _meta(company: Company, change: Change, webhook_id: int, attempt: int, permitted_users: int) -> Item:
    event_id = change.event_id
    if company.terms.event_id_per_subscription:
        event_id = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{event_id}/{webhook_id}"))
    meta: Item = {
        "action": change.action,
        "company_id": str(company.company_id),
        "correlation_id": str(uuid.uuid5(uuid.NAMESPACE_OID, change.event_id)),
        "entity_id": str(change.id),
        "entity": change.entity,
        "id": event_id,
        "is_bulk_edit": change.bulk,
        "timestamp": change.at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "type": "general",
        "user_id": str(OWNER_ID),
        "version": "2.0",
        "webhook_id": str(webhook_id),
        "webhook_owner_id": str(OWNER_ID),
        "change_source": "api",
        "permitted_user_ids": [str(OWNER_ID + number) for number in range(permitted_users)],
        "attempt": attempt,
        "host": company.host,
    }
    if change.merged_to is not None:
        meta["merged_to_id"] = str(change.merged_to)
    if change.merged_from is not None:
        meta["merged_from_id"] = str(change.merged_from)
    return meta


def _shown(company: Company, entity: str, item: Mapping[str, Any]) -> Item:
    """The webhook's shape of an object in the REST shape (facts/pipedrive.md section 13)."""
    members = WEBHOOK_MEMBERS.get(entity)
    if members is None:  # a field definition
        return dict(item)
    return {name: _member(company, entity, item, name) for name in members}


def _member(company: Company, entity: str, item: Mapping[str, Any], name: str) -> Any:
    match name:
        case "visible_to":
            return str(item.get("visible_to", 3))
        case "custom_fields":
            return {
                code: typed_value(
                    str((company.definition(entity, code) or {"field_type": "varchar"})["field_type"]), value
                )
                for code, value in item.get("custom_fields", {}).items()
            }
        case "label":
            return next(iter(item.get("label_ids") or []), None)
        case "active_flag":
            return not item["is_deleted"]
        case "deal_probability" if entity == "pipeline":
            return item["is_deal_probability_enabled"]
        case "address" | "country_code":
            return _address(company, item, name)
    return item.get(WEBHOOK_NAMES.get(name, name))


def _address(company: Company, item: Mapping[str, Any], name: str) -> Any:
    """Every known example has null; a switch decides what there is when it is set."""
    address = item.get("address")
    if not address or company.terms.organization_address == "null" or name == "country_code":
        return None
    return address.get("value") if company.terms.organization_address == "text" else address


def typed_value(kind: str, value: Any) -> Item | None:
    """A REST custom-field value as webhooks send it."""
    if value is None:
        return None
    match kind:
        case "monetary":
            return {"type": kind, "value": value["value"], "currency": value["currency"]}
        case "enum" | "user" | "org" | "people":
            return {"type": kind, "id": value}
        case "set":
            return {"type": kind, "values": [{"id": option} for option in value]}
        case "time":
            return {"type": kind, "value": value["value"], "timezone_id": value.get("timezone_id")}
        case "timerange":
            return {
                "type": kind,
                "from": value["value"],
                "until": value["until"],
                "timezone_id": value.get("timezone_id"),
            }
        case "daterange":
            return {"type": kind, "from": value["value"], "until": value["until"]}
        case "address":
            return {"type": kind, **{part: value.get(part) or "" for part in ADDRESS_PARTS}}
    return {"type": kind, "value": value}
