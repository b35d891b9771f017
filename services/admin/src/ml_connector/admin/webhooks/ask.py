"""Ask the owner of a flow's company for its webhooks, or to make them: it alone works with the credentials."""

from __future__ import annotations

import asyncio

from ml_connector.admin.checks import Flows
from ml_connector.admin.owners import Owners
from ml_connector.admin.replay.control import Conflict
from ml_connector.common import topics
from ml_connector.common.addresses import host_of
from ml_connector.common.asking import Subscribed, Webhooks


class FlowWebhooks:
    """Raises NotFound, NoAnswer, AddressRefused; Conflict with what the owner says when it refused."""

    def __init__(self, flows: Flows, owners: Owners) -> None:
        self._flows = flows
        self._owners = owners

    async def ask(self, asked: Webhooks) -> Subscribed:
        if asked.url or asked.install:
            host_of(asked.url.rstrip("/"))  # before it travels: a person may have pasted a password in it
        live = await asyncio.to_thread(self._flows.active, asked.flow)
        company = live.flow.pipedrive.company
        found = await self._owners.ask(
            topics.PIPEDRIVE_REQUESTS, company, "webhooks", body=asked.encode(), answer=Subscribed
        )
        if found.refused:
            done = f" (made {len(found.created)}, removed {len(found.removed)})" if asked.install else ""
            raise Conflict(f"{found.refused}{done}")
        return found
