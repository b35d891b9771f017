"""Read from Pipedrive what is lacking: definitions of one entity, or the stages; not too often, one at a time."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Final, Protocol, cast

from ml_connector.common.clock import Clock
from ml_connector.common.errors import TryLater
from ml_connector.common.keys import Entity
from ml_connector.common.wire import StoredDefinitions, StoredStages
from ml_connector.resolver import emit
from ml_connector.resolver.definitions import kept
from ml_connector.resolver.message import Output
from ml_connector.resolver.pipedrive.client import PipedriveClient
from ml_connector.resolver.plan import FlowPlan
from ml_connector.resolver.resolve import STAGES, Book, state_key

DEADLINE_S: Final = 12.0  # events of the company wait for it; those of others do not


class Clients(Protocol):
    def client(self, plan: FlowPlan) -> PipedriveClient: ...


class Refresher:
    """Puts what it reads into the book; gives the messages that keep it in `pipedrive.state`."""

    def __init__(self, book: Book, clients: Clients, clock: Clock, *, reread_s: float) -> None:
        self._book = book
        self._clients = clients
        self._clock = clock
        self._reread_s = reread_s
        self._read_s: dict[tuple[str, str], float] = {}
        self._locks: dict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)

    async def refresh(self, plan: FlowPlan, what: str) -> list[Output]:
        """Raises TryLater when it was read a moment ago, or Pipedrive does not answer."""
        key = (plan.company, what)
        before_s = self._read_s.get(key, float("-inf"))
        async with self._locks[key]:
            read_s = self._read_s.get(key, float("-inf"))
            if read_s > before_s:
                return []  # somebody else has just done it
            if self._clock.monotonic_s() - read_s < self._reread_s:
                raise TryLater(f"{what} of this company were read a moment ago", after_s=self._reread_s)
            try:
                async with asyncio.timeout(DEADLINE_S):
                    read = await self._read(plan, what)
            except TimeoutError as error:
                raise TryLater("Pipedrive is too slow") from error
            self._read_s[key] = self._clock.monotonic_s()
        self._book.put(read)
        return [emit.state(plan.company, state_key(plan.company, what), read.encode())]

    async def _read(self, plan: FlowPlan, what: str) -> StoredDefinitions | StoredStages:
        client = self._clients.client(plan)
        if what == STAGES:
            pipelines, stages = await client.pipelines(), await client.stages()
            return StoredStages(
                company=plan.company, read_at_ms=self._clock.now_ms(), pipelines=pipelines, stages=stages
            )
        rows = await client.definitions(cast(Entity, what))
        fields = [entry for entry in map(kept, rows) if entry is not None]
        return StoredDefinitions(company=plan.company, entity=what, read_at_ms=self._clock.now_ms(), fields=fields)
