"""Walk over a company's objects for a sync: read a page, write what its objects should be, ask for the next one, keep
how far it is. In this order, each acknowledged before the next; `walk.py` decides.

One page of a company at a time, so that a walk takes one place in the burst window. What fails for a while is waited
for; what can only go better when somebody does something is said in the walk's state.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from typing import Final

from ml_connector.common import headers as h
from ml_connector.common.clock import Clock
from ml_connector.common.codec import encode_json
from ml_connector.common.errors import BadInput, ConnectorError, TryLater, VendorUnavailable
from ml_connector.common.generation import of_rest_read
from ml_connector.common.logs import get_logger
from ml_connector.common.syncing import CONTROL, OBJECT_TOKENS, PAGE_IDS, SyncControl, SyncPage, SyncState, sync_key
from ml_connector.resolver import emit, listing, walk
from ml_connector.resolver.core import FLOW_AGAIN_S, FLOW_COMES_WITHIN_MS, Core
from ml_connector.resolver.decode import id_of
from ml_connector.resolver.expect import nothing_known
from ml_connector.resolver.listing import Listed, Reading
from ml_connector.resolver.message import Defer, Message, Page, Read
from ml_connector.resolver.pipedrive.client import ListRefused
from ml_connector.resolver.plan import FlowPlan
from ml_connector.resolver.refresh import Clients, Emit, Refresher

log = get_logger()

DEADLINE_S: Final = 60.0  # of one page; the requests of one that reads a hundred objects keep to the burst window
LOOKS_AGAIN_S: Final = 900.0  # while it waits for tokens; somebody may raise the limit


class Walks:
    """The walks of all companies that this process owns, restored from `pipedrive.state`."""

    def __init__(
        self,
        core: Core,
        refresher: Refresher,
        clients: Clients,
        stored: Callable[[str], bytes | None],
        send: Emit,
        clock: Clock,
        *,
        reread_s: float,
    ) -> None:
        """`stored`: the newest value of a key of `pipedrive.state`."""
        self._core = core
        self._refresher = refresher
        self._clients = clients
        self._stored = stored
        self._send = send
        self._clock = clock
        self._reread_ms = int(reread_s * 1000)
        self._states: dict[str, SyncState] = {}
        self._locks: dict[bytes, asyncio.Lock] = defaultdict(asyncio.Lock)

    def forget(self, owned: Callable[[str], bool]) -> None:
        """Another process may know better by now: keep only those of companies that are `owned`."""
        self._states = {key: state for key, state in self._states.items() if owned(key.partition("/")[0])}

    async def take(self, message: Message) -> Defer | None:
        """A page that is asked for, or what shall become of a walk."""
        async with self._locks[message.key]:
            try:
                if message.headers.get(h.KIND) == CONTROL:
                    await self._control(SyncControl.decode(message.value), message.key.decode("utf-8", "replace"))
                    return None
                page = SyncPage.decode(message.value)
                walk.refuse_unfit(page)
            except BadInput as error:
                log.error("request_refused", topic=message.topic, offset=message.offset, problem=str(error))
                return None
            return await self._page(page, message)

    async def _control(self, control: SyncControl, company: str) -> None:
        key = sync_key(company, control.job_id, control.entity)
        state = self._state(key)
        if state is None or (control.to == "forgotten" and state.state == "running"):
            says = "no such walk" if state is None else "it runs: cancel it first"
            log.warning("control_refused", id=control.job_id, entity=control.entity, action=control.to, reason=says)
        elif control.to == "forgotten":
            await self._send([emit.state(company, key, None)])
            self._states.pop(key, None)
        else:
            await self._go_on(company, walk.controlled(state, control, self._clock.now_ms()))

    # -- one page ----------------------------------------------------------------------------------------------------

    async def _page(self, page: SyncPage, message: Message) -> Defer | None:
        company = message.key.decode("utf-8", "replace")
        state = self._state(sync_key(company, page.job_id, page.entity))
        if not walk.is_due(page, state):
            return None
        if state is None:
            state = await self._keep(company, walk.begun(page, self._clock.now_ms()))
        plan = self._core.plan(page.flow)
        now_ms = self._clock.now_ms()
        if plan is None and abs(now_ms - page.at_ms) < FLOW_COMES_WITHIN_MS:
            return Defer("the flow is not known yet", after_s=FLOW_AGAIN_S)
        unfit = self._unfit(page, plan, company)
        if plan is None or unfit:
            await self._fail(page, state, unfit, plan, company)
            return None
        try:
            await self._read_page(page, message, plan, state)
        except ListRefused as error:
            await self._refused(page, state, error, plan)
        except TryLater as error:
            return await self._wait(page, state, error, company)
        return None

    def _unfit(self, page: SyncPage, plan: FlowPlan | None, company: str) -> str:
        """Why it cannot be walked until somebody has done something; empty when it can."""
        if plan is None:
            return f"no flow is called {page.flow!r}"
        if plan.company != company:
            return f"the flow is of company {plan.company}, not {company}"
        if page.entity not in plan.entities:
            return f"the flow does not map {page.entity}s"
        share, tokens = walk.share_of(page, self._clients.client(plan).limits.daily_spendable), walk.query_of(page)[2]
        return f"syncs may spend {share} tokens a day, and one page costs {tokens}" if share < tokens else ""

    async def _read_page(self, page: SyncPage, message: Message, plan: FlowPlan, state: SyncState) -> None:
        """Raises ListRefused, TryLater."""
        at_ms = self._clock.now_ms()
        try:
            async with asyncio.timeout(DEADLINE_S):
                listed, found = await self._read(page, plan)
        except TimeoutError as error:
            raise VendorUnavailable("Pipedrive is too slow") from error
        outputs = await self._resolved(page, message, plan, Reading(listed, at_ms, at_ms - self._reread_ms))
        found.read = len(listed)
        found.desired, found.faults = outputs.desired, outputs.faults
        await self._send(outputs.first)
        await self._send(outputs.audit)
        await self._refresher.keep_budget(plan)
        log.info("page_walked", id=page.job_id, entity=page.entity, count=page.page, records=found.read)
        await self._go_on(plan.company, walk.advanced(state, page, found, self._clock.now_ms()))

    async def _resolved(self, page: SyncPage, message: Message, plan: FlowPlan, reading: Reading) -> listing.Outputs:
        """Definitions may be a bit older than the page: else each page of a long walk would have them read again, as
        long as there are objects with a field that no definition has. Raises TryLater."""
        outputs = await listing.resolve(self._core, plan, page, message, reading)
        if outputs.lacking:
            lacking = Defer("definitions must be read first", lacking=tuple(sorted(outputs.lacking)))
            later = await self._refresher.read_lacking(plan, lacking)
            if later is None:
                outputs = await listing.resolve(self._core, plan, page, message, reading)
            if outputs.lacking:
                later = later or lacking
                raise TryLater(later.reason, after_s=later.after_s)
        return outputs

    # -- Pipedrive ---------------------------------------------------------------------------------------------------

    async def _read(self, page: SyncPage, plan: FlowPlan) -> tuple[list[Listed], walk.Found]:
        """Raises ListRefused, TryLater."""
        client = self._clients.client(plan)
        path, query, tokens = walk.query_of(page)
        share = walk.share_of(page, client.limits.daily_spendable)
        wait_s = client.budget.wait_s(tokens, share, self._clock.now_ms())
        if wait_s > 0:
            raise VendorUnavailable(f"syncs may spend {share} tokens of Pipedrive's in 24 hours: spent", after_s=wait_s)
        read = await client.page(path, query, tokens=tokens)
        generation = of_rest_read(date_ms=read.date_ms, took_ms=read.took_ms)
        listed = [Listed(bytes(row), generation) for row in read.rows]
        if not page.ids:
            return listed, walk.Found(cursor=read.cursor, tokens=tokens)
        missing = _missing(page, read)
        listed += [_as_listed(source_id, await client.read(page.entity, source_id)) for source_id in missing]
        return listed, walk.Found(tokens=tokens + OBJECT_TOKENS * len(missing))

    async def _refused(self, page: SyncPage, state: SyncState, error: ListRefused, plan: FlowPlan) -> None:
        if page.cursor and error.status != 403:
            tokens = walk.query_of(page)[2]
            log.warning("cursor_refused", id=page.job_id, entity=page.entity, status=error.status)
            await self._go_on(plan.company, walk.cursor_refused(state, page, tokens, self._clock.now_ms()))
        else:
            await self._fail(page, state, str(error), plan, plan.company)

    async def _fail(self, page: SyncPage, state: SyncState, why: str, plan: FlowPlan | None, company: str) -> None:
        """Of a walk that nobody follows its comparisons tell it."""
        now_ms = self._clock.now_ms()
        if page.unfollowed:
            log.warning("walk_failed", id=page.job_id, flow=page.flow, entity=page.entity, problem=why)
            if page.purpose != "sync" and plan is not None:
                await self._send([nothing_known(page, plan, now_ms, why)])
        await self._keep(company, walk.failed(state, page, why, now_ms))

    async def _wait(self, page: SyncPage, state: SyncState, error: TryLater, company: str) -> Defer:
        after_s = None if error.after_s is None else min(error.after_s, LOOKS_AGAIN_S)
        now_ms = self._clock.now_ms()
        until_ms = now_ms + int((error.after_s or 0.0) * 1000)
        await self._keep(company, walk.waiting(state, page, str(error), until_ms=until_ms, now_ms=now_ms))
        return Defer(str(error), after_s)

    # -- how far it is -----------------------------------------------------------------------------------------------

    def _state(self, key: str) -> SyncState | None:
        found = self._states.get(key)
        stored = self._stored(key) if found is None else None
        if stored is None:
            return found
        try:
            return SyncState.decode(stored)
        except ConnectorError:
            log.error("state_refused", problem="what another release wrote of a walk is not understood")
            return None

    async def _keep(self, company: str, state: SyncState) -> SyncState:
        key = sync_key(company, state.job_id, state.entity)
        if state.unfollowed and state.state != "running":
            await self._send([emit.state(company, key, None)])
            self._states.pop(key, None)
        else:
            await self._send([emit.sync_state(company, state)])
            self._states[key] = state
        return state

    async def _go_on(self, company: str, state: SyncState) -> None:
        """The next page is asked for before that is known."""
        if state.state == "running" and state.next is not None:
            await self._send([emit.sync_page(company, state.next)])
        await self._keep(company, state)


def _missing(page: SyncPage, read: Page) -> list[str]:
    """Asked for by id, and not in the list: archived, deleted, or gone for good."""
    found = {id_of(bytes(row)) for row in read.rows}
    return [source_id for source_id in page.ids[:PAGE_IDS] if source_id not in found]


def _as_listed(source_id: str, read: Read) -> Listed:
    generation = of_rest_read(date_ms=read.date_ms, took_ms=read.took_ms)
    return Listed(b"" if read.data is None else encode_json(read.data), generation, source_id)
