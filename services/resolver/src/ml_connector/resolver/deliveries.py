"""Watch whether a company's deliveries arrive: its webhooks as Pipedrive lists them, and events that came late.

In: the list, every quarter of an hour or so; what the events say of their attempt. Out: a `Deliveries` for each flow in
`pipedrive.state`, where the admin service finds the gaps. Never: repairing anything.

A look must come more often than a ban lasts (half an hour): while the last delivery is one that failed, it shows.
Where a retry has succeeded since, the events themselves tell that their first attempt failed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple, Protocol

import httpx2
import msgspec

from ml_connector.common.asking import Subscription
from ml_connector.common.clock import Clock
from ml_connector.common.deliveries import EPISODE_MS, Deliveries, deliveries_key
from ml_connector.common.directory import LiveFlow
from ml_connector.common.errors import ConnectorError, MustStop
from ml_connector.common.flows import Flow
from ml_connector.common.logs import get_logger
from ml_connector.resolver import emit
from ml_connector.resolver.pipedrive.client import PipedriveClient
from ml_connector.resolver.pipedrive.webhooks import PipedriveWebhooks
from ml_connector.resolver.plan import FlowPlan
from ml_connector.resolver.several import several
from ml_connector.resolver.standings import Keep, Stored
from ml_connector.resolver.subscriptions import EVERY, leads_to

log = get_logger()

TICK_S: Final = 5.0
WITHIN_S: Final = 25.0


class Clients(Protocol):
    def client(self, plan: FlowPlan) -> PipedriveClient: ...


class DeliveryWatch:
    """`run` until cancelled; `own` after each assignment; `retried` for each event that came at a second try."""

    def __init__(
        self,
        flows: Callable[[], Iterator[LiveFlow]],
        plan: Callable[[str], FlowPlan | None],
        clients: Clients,
        stored: Stored,
        keep: Keep,
        clock: Clock,
        *,
        look_s: float,
    ) -> None:
        """`stored`, `keep`: as of a `CompanyStanding`."""
        self._flows = flows
        self._plan = plan
        self._clients = clients
        self._stored = stored
        self._keep = keep
        self._clock = clock
        self._look_ms = int(look_s * 1000)
        self._owned: Callable[[str], bool] = lambda _: False
        self._known: dict[str, Deliveries] = {}
        self._not_before_ms: dict[str, int] = {}
        self._late: dict[str, tuple[int, int]] = {}

    def own(self, owned: Callable[[str], bool]) -> None:
        """The companies that are `owned`; another process may know better of the others by now."""
        self._owned = owned
        self._known.clear()

    def retried(self, flow: str, at_ms: int) -> None:
        """`at_ms`: of the event. Others before it may be lost; for longer than between two looks that would show."""
        at_ms -= self._look_ms
        first_ms, last_ms = self._late.get(flow, (at_ms, at_ms))
        self._late[flow] = (min(first_ms, at_ms), max(last_ms, self._clock.now_ms()))

    async def run(self) -> None:
        while True:
            await self._clock.sleep(TICK_S)
            try:
                await self.look()
            except MustStop:
                raise
            except ConnectorError as error:
                log.warning("deliveries_not_kept", problem=str(error))

    async def look(self) -> None:
        """One look at all flows: what is due."""
        await several(self._due(), self._look_at)

    def _due(self) -> Iterator[Flow]:
        for live in self._flows():
            flow = live.flow
            wanted = flow.pipedrive.events != "none" and self._owned(flow.pipedrive.company)
            if wanted and (flow.flow in self._late or self._is_due(flow)):
                yield flow

    def _is_due(self, flow: Flow) -> bool:
        next_ms = self._before(flow).looked_ms + self._look_ms
        return self._clock.now_ms() >= max(next_ms, self._not_before_ms.get(flow.flow, 0))

    async def _look_at(self, flow: Flow) -> None:
        company, before = flow.pipedrive.company, self._before(flow)
        after = self._with_late(before)
        plan = self._plan(flow.flow) if self._is_due(flow) else None
        if plan is not None:
            after = await self._looked(plan, after)
        if after != before:
            await self._keep([emit.state(company, deliveries_key(company, flow.flow), after.encode())])
            self._known[flow.flow] = after
            self._late.pop(flow.flow, None)

    def _before(self, flow: Flow) -> Deliveries:
        name = flow.flow
        if name not in self._known:
            stored = self._stored(deliveries_key(flow.pipedrive.company, name))
            try:
                self._known[name] = Deliveries(name) if stored is None else Deliveries.decode(stored)
            except ConnectorError:  # of another release
                self._known[name] = Deliveries(name)
        return self._known[name]

    def _with_late(self, before: Deliveries) -> Deliveries:
        late = self._late.get(before.flow)
        if late is None:
            return before
        goes_on = late[0] - before.retried_to_ms < EPISODE_MS
        first_ms = min(before.retried_from_ms or late[0], late[0]) if goes_on else late[0]
        return msgspec.structs.replace(
            before, retried_from_ms=first_ms, retried_to_ms=max(before.retried_to_ms, late[1])
        )

    async def _looked(self, plan: FlowPlan, before: Deliveries) -> Deliveries:
        """What cannot be seen now says nothing."""
        name = plan.flow.flow
        try:
            async with asyncio.timeout(WITHIN_S):
                there = await PipedriveWebhooks(self._clients.client(plan)).there()
        except MustStop:
            raise
        except (TimeoutError, ConnectorError, httpx2.HTTPError) as error:
            self._not_before_ms[name] = self._clock.now_ms() + self._look_ms
            log.info("webhooks_not_listed", flow=name, problem=type(error).__name__)
            return before
        return judged(before, trouble_of(there, name, sorted(plan.entities)), self._clock.now_ms())


class Found(NamedTuple):
    """What is wrong with a flow's webhooks; empty: nothing. `failing`: a ban may follow."""

    trouble: str = ""
    failing: bool = False


def trouble_of(there: Sequence[Subscription], flow: str, entities: Sequence[str]) -> Found:
    here = [one for one in there if leads_to(one, flow, "")]
    living = [one for one in here if one.active]
    lacking = [entity for entity in entities if not _is_told(living, entity)]
    if lacking:
        return Found(f"no active webhook leads every event of {', '.join(lacking)} here")
    failing = [one for one in living if one.last_delivery and not 200 <= (one.last_status or 0) < 300]
    if failing:
        status = failing[0].last_status
        answer = f"got {status}" if status else "got no answer"
        return Found(f"the last delivery, at {failing[0].last_delivery}, {answer}", failing=True)
    return Found()


def judged(before: Deliveries, found: Found, now_ms: int) -> Deliveries:
    """Trouble counts from when all was well last; before that nobody knows (a relay's webhooks lead elsewhere)."""
    after = msgspec.structs.replace(before, looked_ms=now_ms)
    is_bad = before.bad_from_ms > 0 and before.bad_to_ms == 0
    if not found.trouble:
        ended = {"bad_to_ms": now_ms} if is_bad else {}
        return msgspec.structs.replace(after, well_ms=now_ms, **ended)
    if not before.well_ms:
        return after
    failed_ms = now_ms if found.failing else before.failed_ms
    from_ms = before.bad_from_ms if is_bad else before.well_ms
    return msgspec.structs.replace(after, bad_from_ms=from_ms, bad_to_ms=0, failed_ms=failed_ms, why=found.trouble)


def _is_told(living: Sequence[Subscription], entity: str) -> bool:
    actions = {one.action for one in living if one.entity in {entity, EVERY}}
    return EVERY in actions or {"create", "change", "delete"} <= actions
