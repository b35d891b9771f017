"""Tell the admin service what this process works with: which keys it believes, and what it had to refuse.

In: doors. Out: a small message in `connector.replies`, one at a time. Never: on the way of a delivery, or raising. What
the broker does not take is told again with what there is to tell then.
"""

from __future__ import annotations

import asyncio
import socket
import uuid
from collections.abc import Callable
from typing import Final

import msgspec

from ml_connector.common import topics
from ml_connector.common.asking import INGEST, TOLD_EVERY_S, AtIngest, AtTheDoor
from ml_connector.common.clock import Clock
from ml_connector.common.errors import ConnectorError
from ml_connector.common.flows import Flow
from ml_connector.common.kafka.producer import Producer
from ml_connector.common.logs import get_logger
from ml_connector.common.vault import flow_of
from ml_connector.ingest.doors import Counts
from ml_connector.ingest.webhook_doors import WebhookDoors

log = get_logger()

SETTLE_S: Final = 0.05  # many changes that come together are looked at once
AGAIN_S: Final = 1.0  # when the broker has not taken a message
TAKEN_S: Final = 2.0  # neither start nor stop waits longer for a broker that is away
MOST_FLOWS: Final = 200  # of those that only refused, in one message: some 20 KB


class Reporter:
    """`tell` at the start and, with `left`, at the end; `run` between."""

    def __init__(
        self,
        doors: WebhookDoors,
        producer: Producer,
        clock: Clock,
        *,
        prefix: str,
        pushes: Callable[[], dict[str, Counts]] = dict,
    ) -> None:
        """`pushes`: by flow, what was pushed."""
        self._pushes = pushes
        self.instance = f"{socket.gethostname()}-{uuid.uuid4().hex[:6]}"
        self._doors = doors
        self._producer = producer
        self._clock = clock
        self._topic = topics.REPLIES.full_name(prefix)
        self._began_ms = clock.now_ms()
        self._changes = asyncio.Event()
        self._told: dict[str, tuple[str, ...]] | None = None  # keys by flow; None: the broker has not taken them

    def flow_changed(self, _: Flow) -> None:
        self._changes.set()

    def secret_changed(self, owner: str) -> None:
        if not owner or flow_of(owner):
            self._changes.set()

    async def run(self) -> None:
        """Until cancelled."""
        next_s = self._clock.monotonic_s() + TOLD_EVERY_S
        while True:
            await self._until(next_s)
            if self._clock.monotonic_s() >= next_s or self._doors.rotating() != self._told:
                await self.tell()
                next_s = self._clock.monotonic_s() + (AGAIN_S if self._told is None else TOLD_EVERY_S)

    async def tell(self, *, left: bool = False) -> None:
        keys = self._doors.rotating()
        said = AtIngest(
            instance=self.instance,
            at_ms=self._clock.now_ms(),
            flows=with_pushes(told(keys, self._doors.counts()), self._pushes()),
            began_ms=self._began_ms,
            left=left,
        )
        self._told = None
        try:
            async with asyncio.timeout(TAKEN_S):
                await self._producer.send(self._topic, key=f"{INGEST}{self.instance}".encode(), value=said.encode())
            self._told = keys
        except (TimeoutError, ConnectorError) as error:
            log.warning("not_reported", problem=str(error) or "the broker does not answer")

    async def _until(self, at_s: float) -> None:
        """Or until something has changed."""
        try:
            async with asyncio.timeout(max(0.0, at_s - self._clock.monotonic_s())):
                await self._changes.wait()
        except TimeoutError:
            return
        await self._clock.sleep(SETTLE_S)
        self._changes.clear()


def told(keys: dict[str, tuple[str, ...]], counts: dict[str, Counts]) -> dict[str, AtTheDoor]:
    """By flow: all whose keys are being rotated, and those that turned something away, the last of them first."""
    refusing = [flow for flow, counted in counts.items() if counted.last_ms and flow not in keys]
    refusing.sort(key=lambda flow: counts[flow].last_ms, reverse=True)
    return {flow: counts.get(flow, Counts()).told(keys.get(flow, ())) for flow in (*keys, *refusing[:MOST_FLOWS])}


def with_pushes(flows: dict[str, AtTheDoor], pushes: dict[str, Counts]) -> dict[str, AtTheDoor]:
    """All flows that were pushed something, the last of them first."""
    seen = {flow: counts.told(()) for flow, counts in pushes.items() if counts.accepted or counts.reasons}
    newest = sorted(seen, key=lambda flow: seen[flow].accepted_ms, reverse=True)[:MOST_FLOWS]
    return flows | {
        flow: msgspec.structs.replace(
            flows.get(flow, AtTheDoor()), pushed_ms=seen[flow].accepted_ms, pushes_refused=seen[flow].refused
        )
        for flow in newest
    }
