"""Look at a flow from one end to the other: what we hold of it, then what the owners of its company and account see.

Both owners are asked at once. Whoever does not answer is a finding, not an error.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, Protocol

from ml_connector.admin.owners import Owners
from ml_connector.common import topics
from ml_connector.common.asking import Check, Checked, Finding
from ml_connector.common.directory import LiveFlow
from ml_connector.common.errors import ConnectorError
from ml_connector.common.topics import Topic

CHECK_S: Final = 30.0  # the owners give up after 25 s

Look = Callable[[LiveFlow], list[Finding]]


class Flows(Protocol):
    def active(self, name: str) -> LiveFlow:
        """Raises NotFound."""
        ...


class Checks:
    """`looks`: what this service itself can say of a flow, each with its own table."""

    def __init__(self, flows: Flows, owners: Owners, looks: tuple[Look, ...]) -> None:
        self._flows = flows
        self._owners = owners
        self._looks = looks

    async def run(self, name: str) -> tuple[LiveFlow, list[Finding]]:
        """Raises NotFound."""
        live = await asyncio.to_thread(self._flows.active, name)
        pipedrive, netsuite = live.flow.pipedrive.company, live.flow.netsuite.account
        found = await asyncio.gather(
            *(asyncio.to_thread(look, live) for look in self._looks),
            self._ask("pipedrive", topics.PIPEDRIVE_REQUESTS, pipedrive, name),
            self._ask("netsuite", topics.NETSUITE_REQUESTS, netsuite, name),
        )
        return live, [finding for part in found for finding in part]

    async def _ask(self, side: str, topic: Topic, whose: str, flow: str) -> list[Finding]:
        began_s = time.monotonic()
        try:
            answer = await self._owners.ask(
                topic, whose, "check", body=Check(flow=flow).encode(), answer=Checked, within_s=CHECK_S
            )
        except ConnectorError as error:
            took_ms = int((time.monotonic() - began_s) * 1000)
            fix = f"see that a {_SERVICES[side]} is ready (/readyz) and works with the same Kafka, then ask again"
            return [Finding(f"{side}.owner", "failed", str(error), fix, took_ms)]
        return list(answer.findings)


_SERVICES: Final = {"pipedrive": "resolver", "netsuite": "netsuite-writer"}
