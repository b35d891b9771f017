"""Deliver webhooks as Pipedrive does: at least once, retried, unordered, banned (facts/pipedrive.md section 5)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import time
from collections.abc import Coroutine
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import httpx2

from ml_connector.sandbox.clock import Clock
from ml_connector.sandbox.pipedrive.body import Change, webhook_body
from ml_connector.sandbox.pipedrive.company import Company, Webhook

TIMEOUT_S: Final = 10.0
RETRY_AFTER_S: Final = (3.0, 30.0, 150.0)
BAN_AFTER: Final = 10  # failed first attempts
DELETED_AFTER_S: Final = 3 * 24 * 3600.0  # without one success
AT_ONCE: Final = 64  # deliveries under way


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a test wants to happen to the webhooks of one change (request header X-Sandbox-Delivery)."""

    copies: int = 1
    delay_s: float = 0.0
    forged: bool = False  # a copy with a broken signature goes first
    dropped: bool = False

    @classmethod
    def parse(cls, text: str) -> Delivery:
        """`duplicate`, `delay=<seconds>`, `bad-signature`, `drop`, joined by commas. Raises ValueError."""
        copies, delay_s, forged, dropped = 1, 0.0, False, False
        for part in filter(None, (part.strip() for part in text.split(","))):
            name, _, value = part.partition("=")
            match name:
                case "duplicate":
                    copies = 2
                case "delay":
                    delay_s = float(value)
                case "bad-signature":
                    forged = True
                case "drop":
                    dropped = True
                case _:
                    raise ValueError(f"X-Sandbox-Delivery: {name!r} is not duplicate, delay, bad-signature or drop")
        return cls(copies, delay_s, forged, dropped)


@dataclass(slots=True)
class Sent:
    """One attempt, as it went."""

    webhook_id: int
    event_id: str
    entity: str
    entity_id: int
    action: str
    attempt: int
    forged: bool
    sent_at_ms: float
    answered_at_ms: float = 0.0
    status: int = 0


@dataclass(slots=True)
class Sender:
    """Waits, bans and time-outs run by the stand-in's clock."""

    clock: Clock = field(default_factory=Clock)
    permitted_users: int = 3
    log: list[Sent] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)  # event ids that were never delivered, and never will be
    pending: int = 0
    _http: httpx2.AsyncClient | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    def send(self, company: Company, change: Change, delivery: Delivery) -> None:
        """Deliver one change to all who subscribed to it, in the background."""
        for webhook in company.webhooks.values():
            if webhook.wants(change.action, change.entity):
                if delivery.dropped or webhook.banned_until_s > self.clock.now_s():
                    webhook.lost += 1
                    self.lost.append(change.event_id)
                    continue
                for _ in range(delivery.copies):
                    self._start(self._deliver(company, webhook, change, delivery))

    async def quiet(self) -> None:
        """Until no delivery is under way, retries and delayed ones included."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self.pending += 1
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.pending -= 1
        self._tasks.discard(task)

    async def _deliver(self, company: Company, webhook: Webhook, change: Change, delivery: Delivery) -> None:
        if delivery.delay_s:
            await self.clock.sleep(delivery.delay_s)
        if delivery.forged:
            await self._attempt(company, webhook, change, attempt=1, forged=True)
        for attempt in range(1, 2 + len(RETRY_AFTER_S)):
            if webhook.removed_s is not None:
                break
            if await self._attempt(company, webhook, change, attempt=attempt):
                return
            if attempt == 1:
                self._count_failure(webhook, company.terms.ban_s)
            if attempt <= len(RETRY_AFTER_S):
                await self.clock.sleep(RETRY_AFTER_S[attempt - 1])
        webhook.lost += 1
        self.lost.append(change.event_id)

    def _count_failure(self, webhook: Webhook, ban_s: float) -> None:
        webhook.failed_first_attempts += 1
        if webhook.failed_first_attempts >= BAN_AFTER:
            webhook.banned_until_s = self.clock.now_s() + ban_s
            webhook.failed_first_attempts = 0

    async def _attempt(
        self, company: Company, webhook: Webhook, change: Change, *, attempt: int, forged: bool = False
    ) -> bool:
        body = webhook_body(
            company, change, webhook_id=webhook.id, attempt=attempt, permitted_users=self.permitted_users
        )
        async with self._places:
            sent = Sent(
                webhook.id,
                change.event_id,
                change.entity,
                change.id,
                change.action,
                attempt,
                forged,
                time.time() * 1000,
            )
            self.log.append(sent)
            sent.status = await self._post(webhook, body, forged=forged)
            sent.answered_at_ms = time.time() * 1000
        good = 200 <= sent.status < 300
        now_s = self.clock.now_s()
        webhook.last_delivery_s, webhook.last_status = now_s, sent.status
        if good:
            webhook.succeeded_s = now_s
        elif now_s - webhook.succeeded_s > DELETED_AFTER_S:
            webhook.removed_s = now_s
        return good

    async def _post(self, webhook: Webhook, body: bytes, *, forged: bool) -> int:
        """The status; 0 when there was no answer in time. Redirects are not followed."""
        headers = {"content-type": "application/json", "user-agent": "Pipedrive Webhooks"}
        if webhook.signing_secret is not None:
            signature = hmac.new(webhook.signing_secret, body, hashlib.sha256).hexdigest()
            headers["x-pipedrive-signature"] = signature[::-1] if forged else signature
        if webhook.user is not None:
            pair = base64.b64encode(f"{webhook.user}:{webhook.password or ''}".encode()).decode()
            headers["authorization"] = f"Basic {pair}"
        try:
            answer = await self._client().post(webhook.url, content=body, headers=headers)
        except httpx2.HTTPError:
            return 0
        return answer.status_code

    def _client(self) -> httpx2.AsyncClient:
        if self._http is None:
            self._http = httpx2.AsyncClient(timeout=TIMEOUT_S / min(self.clock.speed, 10), follow_redirects=False)
        return self._http

    def deliveries(self) -> list[dict[str, Any]]:
        return [asdict(sent) for sent in self.log]
