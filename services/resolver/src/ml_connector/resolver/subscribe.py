"""Show the webhook subscriptions of a flow's company, and make those that it needs. Asked again, nothing changes.

New ones are made before old ones go, so that no event is missed between. User and password come from the vault here,
and go to Pipedrive only.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Final, Protocol

import httpx2

from ml_connector.common.asking import Subscribed, Subscription, Webhooks
from ml_connector.common.credentials import BasicKey
from ml_connector.common.errors import ConnectorError, TryLater
from ml_connector.resolver.check import WITHIN_S, unreachable
from ml_connector.resolver.pipedrive.client import PipedriveClient
from ml_connector.resolver.pipedrive.webhooks import PipedriveWebhooks
from ml_connector.resolver.plan import FlowPlan
from ml_connector.resolver.subscriptions import (
    EVERY,
    address_of,
    compare,
    name_of,
    refuse_unsigned,
    refuse_unused,
    renewals,
    shown,
)

KEY_S: Final = 5.0  # the admin service has just stored it, and ingest has it; so it will be here soon
KEY_LOOK_S: Final = 0.05
SLOW: Final = "Pipedrive is too slow: ask again, what was done stays"


class Clients(Protocol):
    def client(self, plan: FlowPlan) -> PipedriveClient: ...

    def basic(self, plan: FlowPlan) -> BasicKey:
        """Raises SecretUnreadable."""
        ...


class Subscriber:
    """One at a time for each company: two at once would both make what is missing."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def answer(self, asked: Webhooks, plan: FlowPlan | None) -> Subscribed:
        """`plan`: None when no flow is called so. Always an answer."""
        if plan is None:
            return Subscribed(refused=f"no flow is called {asked.flow!r} here: apply it, then ask again")
        visit = _Visit(asked, plan, self._clients)
        refused = ""
        try:
            async with asyncio.timeout(WITHIN_S), self._turns[plan.company]:
                await visit.run()
        except TimeoutError:
            refused = SLOW
        except httpx2.HTTPError as error:
            looked = unreachable(error)
            refused = f"{looked.says}; {looked.fix}"
        except ConnectorError as error:
            refused = str(error)
        return visit.told(refused)


class _Visit:
    """One request."""

    def __init__(self, asked: Webhooks, plan: FlowPlan, clients: Clients) -> None:
        self._asked = asked
        self._plan = plan
        self._clients = clients
        self._address = ""
        self._there: list[Subscription] = []
        self._created: list[Subscription] = []
        self._removed: list[Subscription] = []

    async def run(self) -> None:
        asked, flow = self._asked, self._plan.flow
        if asked.url or asked.install:
            self._address = address_of(flow.flow, asked.url, relay=asked.relay)
        if asked.install or asked.renew:
            refuse_unused(flow)
        if asked.install:
            refuse_unsigned(flow, relay=asked.relay)
        webhooks = PipedriveWebhooks(self._clients.client(self._plan))
        self._there = await webhooks.there()
        if asked.install:
            await self._install(webhooks)
        elif asked.renew:
            await self._renew(webhooks, await self._key(asked.renew))

    async def _install(self, webhooks: PipedriveWebhooks) -> None:
        found = compare(self._plan.entities, self._there, self._address)
        basic = self._basic() if found.create else None
        for entity in found.create:
            await self._make(webhooks, Subscription(0, entity, EVERY, self._address), basic)
        for one in found.remove:
            await self._remove(webhooks, one)

    async def _renew(self, webhooks: PipedriveWebhooks, basic: BasicKey) -> None:
        """Between the two calls both deliver, each with a key that ingest believes."""
        for old, make in renewals(self._there, self._plan.flow.flow, self._address, basic):
            if make:
                await self._make(webhooks, old, basic)
            await self._remove(webhooks, old)

    async def _make(self, webhooks: PipedriveWebhooks, like: Subscription, basic: BasicKey | None) -> None:
        name = name_of(self._plan.flow.flow, like.entity, basic)
        made = await webhooks.make(like.entity, like.action, like.url, name=name, basic=basic)
        self._created.append(made)
        self._there.append(made)

    async def _remove(self, webhooks: PipedriveWebhooks, one: Subscription) -> None:
        await webhooks.remove(one)
        self._removed.append(one)
        self._there.remove(one)

    async def _key(self, wanted: str) -> BasicKey:
        """Raises TryLater."""
        for _ in range(round(KEY_S / KEY_LOOK_S)):
            basic = self._clients.basic(self._plan)
            if basic.id == wanted:
                return basic
            await asyncio.sleep(KEY_LOOK_S)
        raise TryLater("the resolver has not read the new key yet: ask again")

    def _basic(self) -> BasicKey | None:
        """A flow that is only signed has none, and the relay needs none."""
        return None if self._plan.flow.pipedrive.webhook.verify == "hmac-sha256" else self._clients.basic(self._plan)

    def told(self, refused: str) -> Subscribed:
        flow, address = self._plan.flow.flow, self._address
        return Subscribed(
            address=address,
            subscriptions=shown(self._there, flow, address),
            created=shown(self._created, flow, address),
            removed=shown(self._removed, flow, address),
            refused=refused,
        )
