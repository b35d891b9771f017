"""Look at the Pipedrive side of a flow, because somebody asks: from the credential to the webhooks, one thing after
another. What depends on a failed look is skipped.

Calls keep to the burst window and the token budget, as all do. Nothing of what is read is kept.
"""

from __future__ import annotations

import ssl
from functools import partial
from typing import Any, Final, Protocol, cast

import httpx2

from ml_connector.common.asking import Checked, Finding, Looked
from ml_connector.common.checking import Checkup, Look
from ml_connector.common.clock import Clock
from ml_connector.common.codec import decode_json
from ml_connector.common.errors import AddressRefused, ConnectorError, Malformed, SecretUnreadable, VendorUnavailable
from ml_connector.common.keys import Entity
from ml_connector.common.wire import StoredDefinitions, StoredStages
from ml_connector.resolver import looks
from ml_connector.resolver.definitions import Definitions, Stages, kept
from ml_connector.resolver.pipedrive.client import PipedriveClient
from ml_connector.resolver.pipedrive.grant import GrantRevoked
from ml_connector.resolver.plan import FlowPlan

WITHIN_S: Final = 25.0  # whoever asks waits for 30 s
USER_TOKENS: Final = 20
WEBHOOKS_TOKENS: Final = 10

NEEDS: Final = {
    "authentication": ("credentials", "address"),
    "company": ("authentication",),
    "fields": ("authentication",),
    "stages": ("authentication",),
    "clock": ("address",),
    "webhook": ("authentication",),
}

# What says whether a mapping fits the company's own definitions, and what that needs.
FITTING: Final = frozenset({"credentials", "address", "authentication", "fields", "stages"})


class Clients(Protocol):
    def client(self, plan: FlowPlan) -> PipedriveClient: ...


async def check(
    flow: str, plan: FlowPlan | None, clients: Clients, clock: Clock, *, only: frozenset[str] | None = None
) -> Checked:
    """`plan`: None when no flow is called so. `only`: leave out the other looks. Always an answer."""
    if plan is None:
        says, fix = f"no flow is called {flow!r} here", "apply it: `mlc flows apply`; then ask again"
        return Checked(findings=(Finding("pipedrive.credentials", "failed", says, fix),))
    looks = _Visit(plan, clients.client(plan), clock).looks()
    wanted = {what: look for what, look in looks.items() if only is None or what in only}
    slow = Looked("failed", "Pipedrive is too slow", _SLOW)
    found = await Checkup("pipedrive", NEEDS, slow, clock.monotonic_s).run(wanted, within_s=WITHIN_S)
    return Checked(findings=found)


class _Visit:
    """One check of one flow."""

    def __init__(self, plan: FlowPlan, client: PipedriveClient, clock: Clock) -> None:
        self._plan = plan
        self._client = client
        self._clock = clock
        self._signed = True
        self._asked_ms = self._answered_ms = 0
        self._answer: httpx2.Response
        self._user: dict[str, Any] = {}

    def looks(self) -> dict[str, Look]:
        """In order."""
        found = {
            "credentials": self._credentials,
            "address": self._address,
            "authentication": self._authentication,
            "company": self._company,
            "fields": self._fields,
            "stages": self._stages,
            "clock": self._clocks,
            "budget": self._budget,
            "webhook": self._webhook,
        }
        if "deal" not in self._plan.entities:
            del found["stages"]
        return {what: partial(_told, look) for what, look in found.items()}

    # -- the looks ---------------------------------------------------------------------------------------------------

    async def _credentials(self) -> Looked:
        try:
            await self._client.log_in()
        except SecretUnreadable as error:
            self._signed = False
            return Looked("failed", str(error), looks.to_store(self._plan))
        except GrantRevoked as error:
            self._signed = False
            return Looked("failed", str(error), looks.to_reconnect(self._plan))
        except VendorUnavailable as error:
            self._signed = False
            return Looked("failed", str(error), "see that pipedrive.oauth_url is right and can be reached; ask again")
        return Looked("ok", f"there is one for {self._plan.flow.environment}, and our keys open it")

    async def _address(self) -> Looked:
        """Any answer will do; what it says is for `authentication`."""
        self._asked_ms = self._clock.now_ms()
        tokens = USER_TOKENS if self._signed else 0
        try:
            self._answer = await self._client.look("/api/v1/users/me", tokens=tokens, signed=self._signed)
        except VendorUnavailable as error:
            return Looked("skipped", str(error), "see what pipedrive.budget says")
        self._answered_ms = self._clock.now_ms()
        return Looked("ok", f"{self._answer.url.host} answers")

    async def _authentication(self) -> Looked:
        user = _data(self._answer)
        self._user = user if isinstance(user, dict) else {}
        status, headers = self._answer.status_code, self._answer.headers
        return looks.authentication(self._plan, status, headers, self._user or None)

    async def _company(self) -> Looked:
        return looks.company(self._plan, self._user)

    async def _fields(self) -> Looked:
        wanted = {entity: plan.custom for entity, plan in self._plan.entities.items() if plan.custom}
        found = {entity: await self._definitions(cast(Entity, entity)) for entity in wanted}
        return looks.fields(wanted, found)

    async def _definitions(self, entity: Entity) -> Definitions:
        rows = [row for row in map(kept, await self._client.definitions(entity)) if row is not None]
        company, now_ms = self._plan.company, self._clock.now_ms()
        return Definitions(StoredDefinitions(company=company, entity=entity, read_at_ms=now_ms, fields=rows))

    async def _stages(self) -> Looked:
        pipelines, stages = await self._client.pipelines(), await self._client.stages()
        stored = StoredStages(
            company=self._plan.company, read_at_ms=self._clock.now_ms(), pipelines=pipelines, stages=stages
        )
        needed = self._plan.entities["deal"].stage_status
        return looks.stages(self._plan.flow.stages, Stages(stored), needed=needed)

    async def _clocks(self) -> Looked:
        return looks.clock(self._answer.headers, (self._asked_ms, self._answered_ms))

    async def _budget(self) -> Looked:
        limit = self._client.limits.daily_spendable
        return looks.budget(self._client.budget.left(limit, self._clock.now_ms()), limit)

    async def _webhook(self) -> Looked:
        answer = await self._client.look("/api/v1/webhooks", tokens=WEBHOOKS_TOKENS)
        rows = _data(answer)
        if answer.status_code != 200 or not isinstance(rows, list):
            says = f"Pipedrive does not list its webhooks (HTTP {answer.status_code})"
            return Looked("warning", says, "see in Pipedrive, under Tools and apps, that webhooks lead here")
        return looks.webhook(self._plan, [row for row in rows if isinstance(row, dict)])


_SLOW: Final = "ask again in some minutes; see status.pipedrive.com"


async def _told(look: Look) -> Looked:
    """What goes wrong is what was found."""
    try:
        return await look()
    except httpx2.HTTPError as error:
        return unreachable(error)
    except ConnectorError as error:
        return Looked("failed", str(error), _SLOW)


def unreachable(error: httpx2.HTTPError) -> Looked:
    """Why there was no answer. The reason stands in what the error came from."""
    fix = "see that this machine may connect there: DNS, firewall, proxy; and that pipedrive.base_url is right"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, AddressRefused):
            return Looked("failed", str(cause), "correct pipedrive.base_url, or let MLC_ALLOWED_NETWORKS name it")
        if isinstance(cause, ssl.SSLError):
            says = f"TLS: {getattr(cause, 'verify_message', '') or cause}"
            return Looked("failed", says, "if a proxy of yours opens TLS, MLC_CA_FILE names its certificates")
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx2.TimeoutException):
        return Looked("failed", f"no answer in time ({type(error).__name__})", fix)
    return Looked("failed", f"no connection: {str(error) or type(error).__name__}", fix)


def _data(answer: httpx2.Response) -> Any:
    """What Pipedrive's envelope holds; None where there is none."""
    try:
        body = decode_json(answer.content)
    except Malformed:
        return None
    return body.get("data") if isinstance(body, dict) else None
