"""What a user event script of the account posts out after each change (Oracle section_N3805546): NetSuite itself has
no webhooks."""

from __future__ import annotations

import asyncio
from typing import Final

import httpx2

from ml_connector.sandbox.netsuite.accounts import Account
from ml_connector.sandbox.netsuite.shown import moment
from ml_connector.sandbox.netsuite.store import Record

SECRET_HEADER: Final = "x-netsuite-shared-secret"  # noqa: S105  a header's name
TIMEOUT_S: Final = 10.0


class Push:
    """Posts in the background; a script's failure does not stop the change."""

    def __init__(self) -> None:
        self._http: httpx2.AsyncClient | None = None
        self._under_way: set[asyncio.Task[None]] = set()
        self.delivered = 0
        self.failed = 0

    def tell(self, account: Account, record: Record, what: str) -> None:
        """`what`: create, edit, delete."""
        if not account.push_url:
            return
        body = {
            "account": account.name,
            "event": what,
            "recordType": record.type,
            "id": record.id,
            "externalId": record.external_id,
            "lastModifiedDate": moment(record.modified_ms),
        }
        task = asyncio.create_task(self._post(account.push_url, account.push_secret, body))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _post(self, url: str, secret: str, body: dict[str, str | None]) -> None:
        if self._http is None:
            self._http = httpx2.AsyncClient(timeout=TIMEOUT_S)
        try:
            answer = await self._http.post(url, json=body, headers={SECRET_HEADER: secret})
        except httpx2.HTTPError:
            self.failed += 1
        else:
            self.delivered += answer.is_success
            self.failed += not answer.is_success
