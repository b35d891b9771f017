"""Look at the NetSuite side of one flow, from its credentials to its permissions; nothing is ever written.

In: the flow, a way to look. Out: findings in a fixed order; what needs a look that failed is skipped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final, Literal

from ml_connector.common.asking import Finding, Looked
from ml_connector.common.checking import Checkup, Look, not_looked
from ml_connector.common.clock import Clock
from ml_connector.common.credentials import NetsuiteM2M, NetsuiteTba
from ml_connector.common.errors import SecretUnreadable
from ml_connector.common.flows import Flow, NetsuiteAuth
from ml_connector.netsuite_writer import demands, findings
from ml_connector.netsuite_writer.netsuite.client import LIMITS_PATH
from ml_connector.netsuite_writer.netsuite.looking import Looking, Seen
from ml_connector.netsuite_writer.netsuite.reading import granted_by
from ml_connector.netsuite_writer.netsuite.skew import ahead_s, worth_signing
from ml_connector.netsuite_writer.netsuite.tba import authorization_for
from ml_connector.netsuite_writer.netsuite.tokens import REFUSALS, form_for
from ml_connector.netsuite_writer.write import RECORD_PATH

WITHIN_S: Final = 25.0  # who asks waits for 30

# Each look, and those it needs.
NEEDS: Final[dict[str, tuple[str, ...]]] = {
    "credentials": (),
    "address": (),
    "authentication": ("credentials", "address"),
    "permission.customer": ("authentication",),
    "permission.contact": ("authentication",),
    "permission.opportunity": ("authentication",),
    "permission.suiteql": ("authentication",),
    "statuses": ("permission.suiteql",),
    "subsidiary": ("permission.suiteql",),
    "currencies": ("permission.suiteql",),
    "concurrency": ("authentication",),
    "clock": ("address",),
    "required_fields": ("permission.suiteql",),  # last: nobody knows how long the catalog takes
}
Held = NetsuiteM2M | NetsuiteTba
CREDENTIALS: Final[dict[NetsuiteAuth, type[Held]]] = {"oauth2-m2m": NetsuiteM2M, "tba": NetsuiteTba}
_SLOW: Final = Looked(
    "failed",
    "no answer, or no free slot of the account, in time",
    "ask again; if it stays so, the account is busy, or our machine is",
)


def unknown_flow(name: str) -> tuple[Finding, ...]:
    """The findings when there is no such flow here."""
    fix = "apply the flow; if that was done, the netsuite-writer's log has `flow_refused` with the reason"
    looked = dict.fromkeys(NEEDS, not_looked("the flow is not known"))
    looked["credentials"] = Looked("failed", f"the netsuite-writer knows no flow {name}", fix)
    return tuple(Finding(f"netsuite.{what}", *one) for what, one in looked.items())


class Checking:
    """One check of one flow."""

    def __init__(self, flow: Flow, looking: Looking, *, credential: Callable[[], Held], clock: Clock) -> None:
        self._flow = flow
        self._looking = looking
        self._credential = credential
        self._clock = clock
        self._held: Held | None = None
        self._form: dict[str, str] = {}
        self._date = ("", 0)  # NetSuite's time, as it last said, and ours then
        self._looks: dict[str, Look] = {
            "credentials": self._credentials,
            "address": self._address,
            "authentication": self._authentication,
            "permission.customer": lambda: self._permission("customer"),
            "permission.contact": lambda: self._permission("contact"),
            "permission.opportunity": lambda: self._permission("opportunity"),
            "permission.suiteql": self._suiteql,
            "statuses": self._statuses,
            "subsidiary": self._subsidiary,
            "currencies": self._currencies,
            "concurrency": self._concurrency,
            "clock": self._time,
            "required_fields": self._required_fields,
        }

    async def run(self, *, within_s: float = WITHIN_S) -> tuple[Finding, ...]:
        """All findings, whatever happens."""
        return await Checkup("netsuite", NEEDS, _SLOW, asyncio.get_running_loop().time).run(
            self._looks, within_s=within_s
        )

    # -- the way there -----------------------------------------------------------------------------------------------

    async def _credentials(self) -> Looked:
        try:
            self._held = self._credential()
            self._form = self._signed_form()
        except SecretUnreadable as error:
            owner = f"netsuite/{self._flow.netsuite.account}"
            fix = f"`mlc secrets set {owner} {self._flow.netsuite.auth}`, for environment {self._flow.environment}"
            return Looked("failed", str(error), fix)
        return Looked("ok", f"{self._flow.netsuite.auth} opens, for environment {self._flow.environment}")

    async def _address(self) -> Looked:
        return findings.address(self._kept(await self._looking.get("/")), self._looking.base_url)

    async def _authentication(self) -> Looked:
        if isinstance(self._held, NetsuiteTba):
            self._looking.use(partial(self._signed, self._held))
            return findings.signature(self._kept(await self._looking.get(f"{RECORD_PATH}customer?limit=1")))
        seen = await self._ask_for_token()
        if token := findings.token_of(seen.body):
            self._looking.use(lambda _method, _url: f"Bearer {token}")
        return findings.authentication(seen)

    async def _ask_for_token(self) -> Seen:
        """As the writer does: once more with NetSuite's time, when the refusal may be for ours."""
        seen = self._kept(await self._looking.ask_for_token(self._form))
        off_s = ahead_s(seen.date, self._clock.now_ms())
        if seen.answer.status not in REFUSALS or off_s is None or not worth_signing(off_s, instead_of=0):
            return seen
        return self._kept(await self._looking.ask_for_token(self._signed_form(off_s)))

    def _signed_form(self, off_s: int = 0) -> dict[str, str]:
        """Empty when there is no token endpoint to ask. Raises SecretUnreadable."""
        if not isinstance(self._held, NetsuiteM2M):
            return {}
        now_s = self._clock.now_ms() // 1000 - off_s
        return form_for(self._held, base_url=self._looking.base_url, now_s=now_s)

    def _signed(self, pair: NetsuiteTba, method: str, url: str) -> str:
        now_s = self._clock.now_ms() // 1000
        return authorization_for(pair, self._flow.netsuite.account, method, url, now_s=now_s)

    async def _time(self) -> Looked:
        return findings.clock(*self._date)

    def _kept(self, seen: Seen) -> Seen:
        if seen.date:
            self._date = (seen.date, self._clock.now_ms())
        return seen

    # -- what the role may -------------------------------------------------------------------------------------------

    async def _permission(self, kind: Literal["customer", "contact", "opportunity"]) -> Looked:
        return findings.permission(kind, await self._looking.get(f"{RECORD_PATH}{kind}?limit=1"))

    async def _suiteql(self) -> Looked:
        return findings.permission("suiteql", await self._looking.query("SELECT id FROM customer WHERE ROWNUM <= 1"))

    async def _statuses(self) -> Looked:
        wanted = {*self._flow.stages.values(), *self._flow.statuses.values()}
        if not wanted:
            return Looked("ok", "the flow names no statuses")
        return demands.statuses(wanted, await self._looking.query("SELECT id FROM entitystatus"))

    async def _subsidiary(self) -> Looked:
        kinds = {mapping.record: mapping.fields for mapping in self._flow.entities.values()}
        lacking = [kind for kind in ("customer", "contact") if kind in kinds and "subsidiary" not in kinds[kind]]
        if self._flow.defaults.subsidiary is not None or not lacking:
            return Looked("ok", "the flow gives one")
        return demands.subsidiary(lacking, await self._looking.query("SELECT id FROM subsidiary WHERE ROWNUM <= 1"))

    async def _currencies(self) -> Looked:
        given = demands.given_currencies(self._flow)
        if not (given.kinds or given.named or given.from_data):
            return Looked("ok", "the flow gives no currency")
        seen = await self._looking.query(demands.CURRENCIES)
        if seen.answer.status == 400:
            return demands.without_currencies({kind: await self._looking.describe(kind) for kind in given.kinds})
        return demands.currencies(given, seen)

    async def _required_fields(self) -> Looked:
        demanded = await self._looking.query(demands.MANDATORY)
        lacking = demands.unfilled(self._flow, demanded)
        described = {kind: await self._looking.describe(kind) for kind in lacking}
        return demands.required_fields(demanded, lacking, described)

    async def _concurrency(self) -> Looked:
        seen = await self._looking.get(LIMITS_PATH)
        granted = granted_by(seen.body) if seen.answer.status == 200 else None
        return findings.concurrency(self._flow.netsuite.concurrency, granted, seen)
