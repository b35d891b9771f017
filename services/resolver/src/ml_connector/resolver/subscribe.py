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
from ml_connector.common.errors import ConnectorError
from ml_connector.resolver.check import WITHIN_S, unreachable
from ml_connector.resolver.pipedrive.client import PipedriveClient
from ml_connector.resolver.pipedrive.webhooks import PipedriveWebhooks
from ml_connector.resolver.plan import FlowPlan
from ml_connector.resolver.subscriptions import EVERY, address_of, compare, refuse_unsigned, shown

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
        if asked.install:
            refuse_unsigned(flow, relay=asked.relay)
        webhooks = PipedriveWebhooks(self._clients.client(self._plan))
        self._there = await webhooks.there()
        if asked.install:
            await self._install(webhooks)

    async def _install(self, webhooks: PipedriveWebhooks) -> None:
        found = compare(self._plan.entities, self._there, self._address)
        basic = self._basic() if found.create else None
        for entity in found.create:
            name = f"ml-connector {self._plan.flow.flow} {entity}"
            made = await webhooks.make(entity, EVERY, self._address, name=name, basic=basic)
            self._created.append(made)
            self._there.append(made)
        for one in found.remove:
            await webhooks.remove(one)
            self._removed.append(one)
            self._there.remove(one)

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
