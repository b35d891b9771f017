"""A company's webhook subscriptions: list, make, remove. Nothing changes one (facts/pipedrive.md section 4)."""

from __future__ import annotations

from typing import Any, Final

import httpx2

from ml_connector.common.asking import Subscription
from ml_connector.common.codec import decode_json
from ml_connector.common.credentials import BasicKey
from ml_connector.common.errors import ConnectorError, Malformed
from ml_connector.resolver.pipedrive.client import PipedriveClient
from ml_connector.resolver.pipedrive.trouble import trouble

PATH: Final = "/api/v1/webhooks"
LIST_TOKENS: Final = 10
MAKE_TOKENS: Final = 10
REMOVE_TOKENS: Final = 6


class NotDone(ConnectorError):
    """Pipedrive refused, or its answer is none. Says what to do."""


class PipedriveWebhooks:
    """Each raises NotDone and VendorUnavailable, and what `PipedriveClient.look` raises."""

    def __init__(self, client: PipedriveClient) -> None:
        self._client = client

    async def there(self) -> list[Subscription]:
        rows = _data(await self._client.look(PATH, tokens=LIST_TOKENS), "list webhooks")
        if not isinstance(rows, list):
            raise NotDone("Pipedrive's answer holds no list of webhooks: ask again")
        return [one for one in map(_read, rows) if one is not None]

    async def make(self, entity: str, action: str, address: str, *, name: str, basic: BasicKey | None) -> Subscription:
        body = {
            "subscription_url": address,
            "event_action": action,
            "event_object": entity,
            "name": name,
            "version": "2.0",
        }
        if basic is not None:
            body |= {"http_auth_user": basic.user, "http_auth_password": basic.password}
        answer = await self._client.change("POST", PATH, tokens=MAKE_TOKENS, body=body)
        made = _read(_data(answer, f"make a webhook for {entity}"))
        if made is None:
            raise NotDone("Pipedrive's answer holds no webhook: ask again")
        return made

    async def remove(self, one: Subscription) -> None:
        """One that is gone already is fine."""
        answer = await self._client.change("DELETE", f"{PATH}/{one.id}", tokens=REMOVE_TOKENS)
        if answer.status_code != 404:
            _succeeded(answer, f"remove webhook {one.id}")


def _read(row: Any) -> Subscription | None:
    """None for what is no webhook."""
    if not isinstance(row, dict) or not isinstance(row.get("id"), int):
        return None
    status = row.get("last_http_status")
    return Subscription(
        id=row["id"],
        entity=str(row.get("event_object")),
        action=str(row.get("event_action")),
        url=str(row.get("subscription_url")),
        active=row.get("is_active") not in (0, False),
        last_delivery=str(row.get("last_delivery_time") or ""),
        last_status=status if isinstance(status, int) else None,
        name=str(row.get("name") or ""),
    )


def _data(answer: httpx2.Response, what: str) -> Any:
    _succeeded(answer, what)
    try:
        body = decode_json(answer.content)
    except Malformed:
        return None
    return body.get("data") if isinstance(body, dict) else None


def _succeeded(answer: httpx2.Response, what: str) -> None:
    match answer.status_code:
        case 200 | 201:
            return
        case 403 if "json" in answer.headers.get("content-type", ""):
            raise NotDone(f"the credential may not {what}: it takes an administrator's, or the scope webhooks:full")
        case 422:
            raise NotDone(f"Pipedrive refused to {what} (HTTP 422): a user has 40 webhooks at most; remove some there")
        case status:
            raise NotDone(f"Pipedrive did not {what}: {trouble(status, answer.headers).reason}")
