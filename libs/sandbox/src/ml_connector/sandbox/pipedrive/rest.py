"""REST API v2 (and the v1 calls that have no v2 twin): facts/pipedrive.md sections 8, 9, 10, 12."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ml_connector.sandbox.pipedrive.body import Change
from ml_connector.sandbox.pipedrive.company import ENTITIES, OWNER_ID, Company, Item, Webhook, now_text
from ml_connector.sandbox.web import Reply, Request, json_reply

MAX_PAGE: Final = 500
DEFAULT_PAGE: Final = 100
MAX_WEBHOOKS: Final = 40  # per user
_MEMBERS: Final[dict[str, Item]] = {
    "organization": {
        "name": None, "owner_id": OWNER_ID, "address": None, "label_ids": [], "website": None, "linkedin": None,
        "industry": None, "annual_revenue": None, "employee_count": None, "picture_id": None, "visible_to": 3,
    },
    "person": {
        "name": None, "first_name": None, "last_name": None, "owner_id": OWNER_ID, "org_id": None, "emails": [],
        "phones": [], "label_ids": [], "picture_id": None, "visible_to": 3,
    },
    "deal": {
        "title": None, "value": 0, "currency": "EUR", "status": "open", "stage_id": 1, "pipeline_id": 1, "org_id": None,
        "person_id": None, "owner_id": OWNER_ID, "creator_user_id": OWNER_ID, "probability": None,
        "expected_close_date": None, "stage_change_time": None, "close_time": None, "won_time": None,
        "first_won_time": None, "lost_time": None, "lost_reason": None, "label_ids": [], "origin": "API",
        "origin_id": None, "channel": None, "channel_id": None, "is_archived": False, "archive_time": None,
        "visible_to": 3,
    },
}  # fmt: skip
_COSTS: Final = {"list": 10, "get": 1, "write": 5, "delete": 3}


class ApiError(Exception):
    """An error in the documented envelope."""

    def __init__(self, status: int, error: str, info: str = "", code: str = "") -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.info = info
        self.code = code

    def reply(self) -> Reply:
        body: Item = {
            "success": False,
            "error": self.error,
            "error_info": self.info,
            "data": None,
            "additional_data": None,
        }
        return json_reply(self.status, {**body, "code": self.code} if self.code else body)


@dataclass(frozen=True, slots=True)
class Api:
    """One request to one company; `changed` hears of every change, which becomes webhooks."""

    company: Company
    request: Request
    changed: Callable[[Change], None]

    def handle(self) -> Reply:
        """Raises ApiError."""
        path = self.request.path.removeprefix("/api").strip("/").split("/")
        match (self.request.method, path):
            case (_, ["v2", plural, *rest]) if plural in ENTITIES:
                return self._entity(ENTITIES[plural], rest)
            case ("GET", ["v2", name]) if name.endswith("Fields") and name[:-6] in self.company.definitions:
                return self._page(self.company.definitions[name[:-6]])
            case ("GET", ["v2", "stages"]):
                return self._page(self.company.stages)
            case ("GET", ["v2", "pipelines"]):
                return self._page(self.company.pipelines)
            case ("PUT", ["v1", plural, loser, "merge"]) if plural in ENTITIES:
                return self._merge(ENTITIES[plural], _number(loser), _number(self._body().get("merge_with_id")))
            case ("GET", ["v1", "users", "me"]):
                return _ok({"id": OWNER_ID, "company_id": self.company.company_id, "company_domain": self.company.name})
            case ("GET", ["v1", "currencies"]):
                return _ok([{"id": 1, "code": "EUR"}, {"id": 2, "code": "USD"}, {"id": 3, "code": "GBP"}])
            case (_, ["v1", "webhooks", *rest]):
                return self._webhooks(rest)
        raise ApiError(404, "Unknown method.")

    def _entity(self, entity: str, rest: list[str]) -> Reply:
        match (self.request.method, rest):
            case ("GET", []):
                return self._list(entity)
            case ("POST", []):
                return self._create(entity)
            case ("GET", [number]):
                return _ok(self._find(entity, _number(number)), cost=_COSTS["get"])
            case ("PATCH", [number]):
                return self._update(entity, self._find(entity, _number(number)))
            case ("DELETE", [number]):
                return self._delete(entity, self._find(entity, _number(number)))
        raise ApiError(405, "Method not allowed.")

    def _find(self, entity: str, number: int) -> Item:
        found = self.company.items[entity].get(number)
        if found is None:
            raise ApiError(404, f"{entity.capitalize()} not found")
        return found

    def _list(self, entity: str) -> Reply:
        query = self.request.query
        items = [item for item in self.company.items[entity].values() if not item["is_deleted"]]
        if "ids" in query:
            wanted = {_number(text) for text in query["ids"].split(",")}
            items = [item for item in self.company.items[entity].values() if item["id"] in wanted]
        if "updated_since" in query:
            items = [item for item in items if (item["update_time"] or item["add_time"]) >= query["updated_since"]]
        if "updated_until" in query:
            items = [item for item in items if (item["update_time"] or item["add_time"]) < query["updated_until"]]
        key = query.get("sort_by", "id")
        if key not in {"id", "update_time", "add_time"}:
            raise ApiError(400, "validation failed", code="ERR_SCHEMA_VALIDATION_FAILED")
        items.sort(key=lambda item: (str(item[key]) if key != "id" else "", item["id"]))
        if query.get("sort_direction") == "desc":
            items.reverse()
        return self._page(items)

    def _page(self, rows: list[Item]) -> Reply:
        """Cursor pages; `next_cursor` is null at the end."""
        limit = _number(self.request.query.get("limit", DEFAULT_PAGE))
        if not 1 <= limit <= MAX_PAGE:
            raise ApiError(400, "limit must be 1 to 500", code="ERR_SCHEMA_VALIDATION_FAILED")
        start = _from_cursor(self.request.query.get("cursor"))
        following = start + limit
        cursor = _to_cursor(following) if following < len(rows) else None
        body = {"success": True, "data": rows[start:following], "additional_data": {"next_cursor": cursor}}
        return json_reply(200, body, {"x-token-cost": str(_COSTS["list"])})

    def _create(self, entity: str) -> Reply:
        now = now_text()
        item: Item = {
            "id": 0, **_copy(_MEMBERS[entity]), "add_time": now, "update_time": now, "is_deleted": False,
            "custom_fields": dict.fromkeys(self.company.custom_codes(entity)),
        }  # fmt: skip
        self._apply(entity, item, self._body())
        if not item.get("name") and not item.get("title"):
            raise ApiError(400, "name is required", code="ERR_SCHEMA_VALIDATION_FAILED")
        item["id"] = self.company.new_id(entity)
        self.company.items[entity][item["id"]] = item
        self.changed(Change("create", entity, item["id"], None, _copy(item)))
        return _ok(item, status=201)

    def _update(self, entity: str, item: Item) -> Reply:
        before = _copy(item)
        self._apply(entity, item, self._body())
        item["update_time"] = now_text()
        self.changed(Change("change", entity, item["id"], before, _copy(item)))
        return _ok(item)

    def _apply(self, entity: str, item: Item, body: Mapping[str, Any]) -> None:
        for name, value in body.items():
            if name == "custom_fields":
                self._apply_custom(entity, item, value)
            elif name in _MEMBERS[entity]:
                item[name] = value
            else:
                raise ApiError(400, f"unknown member {name}", code="ERR_SCHEMA_VALIDATION_FAILED")
        if entity == "person":
            _name_person(item, body)
        if entity == "deal":
            self._move_deal(item, body)

    def _apply_custom(self, entity: str, item: Item, values: Mapping[str, Any]) -> None:
        for code, value in values.items():
            if self.company.definition(entity, code) is not None:  # a deleted field is ignored
                item["custom_fields"][code] = value

    def _move_deal(self, item: Item, body: Mapping[str, Any]) -> None:
        """Status, close times and pipeline move together."""
        if "stage_id" in body:
            stage = next((stage for stage in self.company.stages if stage["id"] == item["stage_id"]), None)
            if stage is None:
                raise ApiError(400, "unknown stage", code="ERR_SCHEMA_VALIDATION_FAILED")
            item["pipeline_id"] = stage["pipeline_id"]
            item["stage_change_time"] = now_text()
        if "status" in body:
            closed = item["status"] in {"won", "lost"}
            item["close_time"] = now_text() if closed else None
            item["won_time"] = now_text() if item["status"] == "won" else None
            item["lost_time"] = now_text() if item["status"] == "lost" else None

    def _delete(self, entity: str, item: Item) -> Reply:
        before = _copy(item)
        item["is_deleted"] = True
        item["update_time"] = now_text()
        self.changed(Change("delete", entity, item["id"], before, None))
        return _ok({"id": item["id"]}, cost=_COSTS["delete"])

    def _merge(self, entity: str, loser_id: int, winner_id: int) -> Reply:
        """Two events: `delete` of the loser with merged_to_id, `change` of the winner with merged_from_id."""
        loser, winner = self._find(entity, loser_id), self._find(entity, winner_id)
        before_loser, before_winner = _copy(loser), _copy(winner)
        loser["is_deleted"] = True
        loser["update_time"] = winner["update_time"] = now_text()
        for code, value in loser["custom_fields"].items():
            if winner["custom_fields"].get(code) is None:
                winner["custom_fields"][code] = value
        if entity == "organization":
            for other in ("person", "deal"):
                for item in self.company.items[other].values():
                    if item["org_id"] == loser_id:
                        item["org_id"] = winner_id
        self.changed(Change("delete", entity, loser_id, before_loser, None, merged_to=winner_id))
        self.changed(Change("change", entity, winner_id, before_winner, _copy(winner), merged_from=loser_id))
        return _ok(winner)

    def _webhooks(self, rest: list[str]) -> Reply:
        match (self.request.method, rest):
            case ("GET", []):
                return _ok([_shown(webhook) for webhook in self.company.webhooks.values()])
            case ("POST", []):
                return self._subscribe()
            case ("DELETE", [number]):
                if self.company.webhooks.pop(_number(number), None) is None:
                    raise ApiError(404, "Webhook not found")
                return _ok({"id": _number(number)})
        raise ApiError(405, "Method not allowed.")

    def _subscribe(self) -> Reply:
        body = self._body()
        if len(self.company.webhooks) >= MAX_WEBHOOKS:
            raise ApiError(422, "The limit of 40 webhooks per user is reached")
        missing = [name for name in ("subscription_url", "event_action", "event_object", "name") if not body.get(name)]
        if missing:
            raise ApiError(400, f"{missing[0]} is required")
        webhook = Webhook(
            self.company.new_id("webhook"),
            body["subscription_url"],
            f"{body['event_action']}.{body['event_object']}",
            body.get("http_auth_user"),
            body.get("http_auth_password"),
        )
        self.company.webhooks[webhook.id] = webhook
        return _ok(_shown(webhook), status=201)

    def _body(self) -> Item:
        try:
            body = self.request.json()
        except ValueError:
            raise ApiError(400, "the body is not JSON") from None
        if not isinstance(body, dict):
            raise ApiError(400, "the body is not an object")
        return body


def _ok(data: Any, *, status: int = 200, cost: int = 5) -> Reply:
    return json_reply(status, {"success": True, "data": data}, {"x-token-cost": str(cost)})


def _shown(webhook: Webhook) -> Item:
    action, _, entity = webhook.event.partition(".")
    return {
        "id": webhook.id, "subscription_url": webhook.url, "event_action": action, "event_object": entity,
        "is_active": 1, "http_auth_user": "v1u:..." if webhook.user else None, "version": "2.0",
    }  # fmt: skip


def _name_person(item: Item, body: Mapping[str, Any]) -> None:
    if "name" in body and "first_name" not in body:
        first, _, last = str(item["name"]).partition(" ")
        item["first_name"], item["last_name"] = first, last or None


def _number(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        raise ApiError(400, "not a number", code="ERR_SCHEMA_VALIDATION_FAILED") from None


def _to_cursor(start: int) -> str:
    return base64.urlsafe_b64encode(b"at:%d" % start).decode()


def _from_cursor(cursor: str | None) -> int:
    if not cursor:
        return 0
    try:
        return int(base64.urlsafe_b64decode(cursor).removeprefix(b"at:"))
    except (binascii.Error, ValueError):
        raise ApiError(400, "invalid cursor") from None


def _copy(item: Item) -> Item:
    """Items are one level of lists and objects deep, whose members are never changed in place."""
    return {name: dict(value) if isinstance(value, dict) else value for name, value in item.items()}
