"""What must be read from Pipedrive: definitions and stages that are lacking, not too often; an object to be hydrated.

Only what was put aside comes here; the events of the hot path never wait for Pipedrive. Messages of one company wait
for each other here, those of others do not (`companions.py`).
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol, cast

from ml_connector.common import headers as h
from ml_connector.common.clock import Clock
from ml_connector.common.errors import TryLater
from ml_connector.common.keys import Entity
from ml_connector.common.wire import Hydrate, StoredBudget, StoredDefinitions, StoredStages
from ml_connector.resolver import emit
from ml_connector.resolver.core import Core
from ml_connector.resolver.definitions import kept
from ml_connector.resolver.message import Defer, Message, Output
from ml_connector.resolver.pipedrive.client import PipedriveClient
from ml_connector.resolver.plan import FlowPlan
from ml_connector.resolver.resolve import BUDGET, STAGES, Book, state_key

Emit = Callable[[Sequence[Output]], Awaitable[None]]

DEADLINE_S: Final = 12.0
KEPT_EVERY_TOKENS: Final = 25  # what a crash may forget of the spent budget


class Clients(Protocol):
    def client(self, plan: FlowPlan) -> PipedriveClient: ...


class Refresher:
    """The core with Pipedrive behind it; keeps what it reads in `pipedrive.state`."""

    def __init__(self, core: Core, book: Book, clients: Clients, keep: Emit, clock: Clock, *, reread_s: float) -> None:
        self._core = core
        self._book = book
        self._clients = clients
        self._keep = keep
        self._clock = clock
        self._reread_s = reread_s
        self._read_s: dict[tuple[str, str], float] = {}
        self._locks: dict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._kept_tokens: dict[str, int] = {}

    async def event(self, message: Message) -> list[Output] | Defer:
        """As `Core.event`, after reading what is lacking."""
        found = self._core.event(message)
        plan = self._core.plan(h.text(message.headers, h.FLOW))
        if plan is None or not _lacks(found):
            return found
        return await self.read_lacking(plan, found) or self._core.event(message)

    async def hydrate(self, request: Hydrate, message: Message) -> list[Output] | Defer:
        """One object, read now. Always answered by a desired record, whatever is found."""
        plan = self._core.plan(request.flow)
        if plan is None:
            return []  # its desired records went with the flow
        try:
            async with asyncio.timeout(DEADLINE_S):
                read = await self._clients.client(plan).read(request.entity, request.source_id)
        except TimeoutError:
            return Defer("Pipedrive is too slow")
        except TryLater as error:
            return Defer(str(error), error.after_s)
        await self.keep_budget(plan)
        found = self._core.hydrated(request, message, plan, read)
        if not _lacks(found):
            return found
        return await self.read_lacking(plan, found) or self._core.hydrated(request, message, plan, read)

    async def read_lacking(self, plan: FlowPlan, found: list[Output] | Defer) -> Defer | None:
        """What a Defer names. None when it is read."""
        lacking = found.lacking if isinstance(found, Defer) else ()
        before_s = {what: self._last_read_s(plan, what) for what in lacking}  # others may read the second meanwhile
        try:
            for what in lacking:
                await self._refresh(plan, what, before_s[what])
        except TryLater as error:
            return Defer(str(error), error.after_s)
        return None

    def _last_read_s(self, plan: FlowPlan, what: str) -> float:
        return self._read_s.get((plan.company, what), float("-inf"))

    async def _refresh(self, plan: FlowPlan, what: str, before_s: float) -> None:
        """`before_s`: its last reading when it was found lacking. Raises TryLater when that was a moment ago, or
        Pipedrive does not answer."""
        key = (plan.company, what)
        async with self._locks[key]:
            read_s = self._last_read_s(plan, what)
            if read_s > before_s:
                return  # somebody else has just done it
            since_s = self._clock.monotonic_s() - read_s
            if since_s < self._reread_s:
                raise TryLater(f"{what} of this company were read a moment ago", after_s=self._reread_s - since_s)
            try:
                async with asyncio.timeout(DEADLINE_S):
                    read = await self._read(plan, what)
            except TimeoutError as error:
                raise TryLater("Pipedrive is too slow") from error
            self._read_s[key] = self._clock.monotonic_s()
        self._book.put(read)
        await self._keep([emit.state(plan.company, state_key(plan.company, what), read.encode())])
        await self.keep_budget(plan)

    async def _read(self, plan: FlowPlan, what: str) -> StoredDefinitions | StoredStages:
        client = self._clients.client(plan)
        # When it was asked for: what changed meanwhile may be missing in the answer.
        asked_at_ms = self._clock.now_ms()
        if what == STAGES:
            pipelines, stages = await client.pipelines(), await client.stages()
            return StoredStages(company=plan.company, read_at_ms=asked_at_ms, pipelines=pipelines, stages=stages)
        rows = await client.definitions(cast(Entity, what))
        fields = [entry for entry in map(kept, rows) if entry is not None]
        return StoredDefinitions(company=plan.company, entity=what, read_at_ms=asked_at_ms, fields=fields)

    async def keep_budget(self, plan: FlowPlan) -> None:
        """Now and then."""
        spent = self._clients.client(plan).budget.by_hour
        total = sum(spent.values())
        if abs(total - self._kept_tokens.get(plan.company, 0)) >= KEPT_EVERY_TOKENS:
            self._kept_tokens[plan.company] = total
            entry = StoredBudget(company=plan.company, spent=spent)
            await self._keep([emit.state(plan.company, state_key(plan.company, BUDGET), entry.encode())])


def _lacks(found: list[Output] | Defer) -> bool:
    return isinstance(found, Defer) and bool(found.lacking)
