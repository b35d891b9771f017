"""Ask a stopped company again once its credential is another, so that it is told to work though no event waits for it.

Once also after each assignment: the credential may have been replaced while nobody looked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Final, Protocol

import httpx2

from ml_connector.common.clock import Clock
from ml_connector.common.directory import LiveFlow
from ml_connector.common.errors import ConnectorError, MustStop, SecretUnreadable
from ml_connector.common.logs import get_logger
from ml_connector.resolver.pipedrive.client import PipedriveClient
from ml_connector.resolver.pipedrive.grant import ClientRefused, GrantRevoked
from ml_connector.resolver.plan import FlowPlan
from ml_connector.resolver.several import several
from ml_connector.resolver.standings import CompanyStanding

log = get_logger()

LOOK_S: Final = 1.0
AGAIN_S: Final = 60.0  # after a try that says nothing of the credential
WITHIN_S: Final = 12.0
USER_PATH: Final = "/api/v1/users/me"
USER_TOKENS: Final = 20


class Clients(Protocol):
    def client(self, plan: FlowPlan) -> PipedriveClient: ...

    def versions(self, plan: FlowPlan) -> tuple[int, ...]: ...


class Prober:
    """`run` until cancelled; `own` after each assignment."""

    def __init__(
        self,
        flows: Callable[[], Iterator[LiveFlow]],
        plan: Callable[[str], FlowPlan | None],
        clients: Clients,
        standing: Callable[[str], CompanyStanding],
        clock: Clock,
    ) -> None:
        self._flows = flows
        self._plan = plan
        self._clients = clients
        self._standing = standing
        self._clock = clock
        self._owned: Callable[[str], bool] = lambda _: False
        self._asked: dict[str, tuple[int, ...]] = {}  # by flow: the credential that was tried
        self._not_before_s: dict[str, float] = {}

    def own(self, owned: Callable[[str], bool]) -> None:
        """The companies that are `owned`."""
        self._owned = owned
        self._asked.clear()
        self._not_before_s.clear()

    async def run(self) -> None:
        while True:
            await self._clock.sleep(LOOK_S)
            await self.look()

    async def look(self) -> None:
        """Raises MustStop."""
        await several(self._due(), self._ask)

    def _due(self) -> Iterator[FlowPlan]:
        for live in self._flows():
            company = live.flow.pipedrive.company
            if not self._owned(company) or self._standing(company).now is None:
                continue
            plan = self._plan(live.flow.flow)
            if plan is not None and self._is_due(plan):
                yield plan

    def _is_due(self, plan: FlowPlan) -> bool:
        name = plan.flow.flow
        if self._asked.get(name) == self._clients.versions(plan):
            return False
        return self._clock.monotonic_s() >= self._not_before_s.get(name, 0.0)

    async def _ask(self, plan: FlowPlan) -> None:
        """What is answered, the client tells."""
        name, versions = plan.flow.flow, self._clients.versions(plan)
        try:
            async with asyncio.timeout(WITHIN_S):
                await self._clients.client(plan).look(USER_PATH, tokens=USER_TOKENS)
        except (GrantRevoked, ClientRefused, SecretUnreadable):
            pass
        except MustStop:
            raise
        except (TimeoutError, ConnectorError, httpx2.HTTPError) as error:
            self._not_before_s[name] = self._clock.monotonic_s() + AGAIN_S
            log.info("not_probed", flow=name, problem=type(error).__name__)
            return
        self._asked[name] = versions
