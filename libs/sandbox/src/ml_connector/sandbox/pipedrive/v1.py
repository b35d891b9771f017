"""What exists in v1 only: webhooks, users/me, currencies, merges (facts/pipedrive.md sections 4 and 8)."""

from __future__ import annotations

import itertools
from typing import Any, Final

from ml_connector.sandbox.pipedrive.company import Company, Webhook, moment
from ml_connector.sandbox.pipedrive.errors import ApiError
from ml_connector.sandbox.pipedrive.members import OWNER_ID
from ml_connector.sandbox.web import Reply, json_reply

MAX_WEBHOOKS: Final = 40  # per user
ACTIONS: Final = frozenset({"*", "create", "change", "delete"})
OBJECTS: Final = frozenset(
    {"*", "activity", "deal", "lead", "note", "organization", "person", "pipeline", "product", "stage", "user"}
    | {"board", "deal_installment", "deal_product", "phase", "project", "task"}
)
COSTS: Final = {("GET", "webhooks"): 10, ("POST", "webhooks"): 10, ("DELETE", "webhooks"): 6, ("GET", "users"): 20,
                ("GET", "currencies"): 20}  # fmt: skip
SCOPES: Final = {
    ("GET", "webhooks"): {"admin", "webhooks:read", "webhooks:full"},
    ("POST", "webhooks"): {"admin", "webhooks:full"},
    ("DELETE", "webhooks"): {"admin", "webhooks:full"},
}
_ids = itertools.count(1)  # over all companies
_CURRENCIES: Final = (("EUR", "Euro", "€"), ("USD", "US Dollar", "$"), ("GBP", "British Pound", "£"),
                      ("CHF", "Swiss Franc", "CHF"))  # fmt: skip


def users_me(company: Company) -> Reply:
    user: dict[str, Any] = {
        "id": OWNER_ID, "name": "Sam Seller", "default_currency": "EUR", "locale": "en_US", "lang": 1,
        "email": "sam.seller@example.com", "phone": None, "activated": True, "active_flag": True, "is_you": True,
        "is_deleted": False, "is_admin": 1, "role_id": 1, "timezone_name": "Europe/Berlin",
        "timezone_offset": "+02:00", "company_id": company.company_id, "company_name": company.name,
        "company_domain": company.name,
    }  # fmt: skip
    return _ok(user)


def currencies() -> Reply:
    rows = [
        {
            "id": number, "code": code, "name": name, "decimal_points": 2, "symbol": symbol, "active_flag": True,
            "is_custom_flag": False,
        }
        for number, (code, name, symbol) in enumerate(_CURRENCIES, start=1)
    ]  # fmt: skip
    return _ok(rows)


def list_webhooks(company: Company) -> Reply:
    living = [webhook for webhook in company.webhooks.values() if webhook.removed_s is None]
    return json_reply(200, {"status": "ok", "success": True, "data": [_shown(company, one) for one in living]})


def subscribe(company: Company, body: dict[str, Any]) -> Reply:
    """Raises ApiError."""
    living = sum(1 for webhook in company.webhooks.values() if webhook.removed_s is None)
    if living >= MAX_WEBHOOKS:
        raise ApiError(422, f"The limit of {MAX_WEBHOOKS} webhooks per user is reached")
    for name in ("subscription_url", "event_action", "event_object", "name"):
        if not isinstance(body.get(name), str) or not body[name]:
            raise ApiError(400, f"{name} is required")
    if body["event_action"] not in ACTIONS or body["event_object"] not in OBJECTS:
        raise ApiError(400, "event_action or event_object is unknown")
    if not body["subscription_url"].startswith(("http://", "https://")):
        raise ApiError(400, "subscription_url is no URL")
    now_s = company.clock.now_s()
    webhook = Webhook(
        next(_ids), body["subscription_url"], body["event_action"], body["event_object"], body["name"],
        created_s=now_s, succeeded_s=now_s, user=body.get("http_auth_user"), password=body.get("http_auth_password"),
    )  # fmt: skip
    company.webhooks[webhook.id] = webhook
    return json_reply(201, {"status": "ok", "success": True, "data": _shown(company, webhook)})


def unsubscribe(company: Company, number: int) -> Reply:
    webhook = company.webhooks.get(number)
    if webhook is None or webhook.removed_s is not None:
        raise ApiError(404, "Webhook not found")
    del company.webhooks[number]
    return json_reply(200, {"status": "ok", "success": True})


def _shown(company: Company, webhook: Webhook) -> dict[str, Any]:
    """Basic credentials come back encrypted, and no signing secret does [live]."""
    delivered = webhook.last_delivery_s
    return {
        "id": webhook.id, "company_id": company.company_id, "owner_id": OWNER_ID, "user_id": OWNER_ID,
        "event_action": webhook.action, "event_object": webhook.object, "subscription_url": webhook.url,
        "version": "2.0", "is_active": 1, "add_time": moment(webhook.created_s), "remove_time": None,
        "type": "general", "http_auth_user": "v1u:AQIBAHj" if webhook.user else None,
        "http_auth_password": "v1u:AQIBAHj" if webhook.password else None, "remove_reason": None,
        "last_delivery_time": None if delivered is None else moment(delivered),
        "last_http_status": webhook.last_status, "admin_id": OWNER_ID, "name": webhook.name,
    }  # fmt: skip


def _ok(data: Any) -> Reply:
    return json_reply(200, {"success": True, "data": data})
