"""One Pipedrive client for each company, and the connections that they share.

An address is checked when a connection is opened, not for each request. Redirects are answers like any other.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from functools import partial
from typing import Final

import httpx2

from ml_connector.common.clock import Clock
from ml_connector.common.connecting import proxy_for, transport_through
from ml_connector.common.credentials import ApiToken, BasicKey, OAuthClient, OAuthGrant, WebhookBasic
from ml_connector.common.directory import Directory
from ml_connector.common.flows import Flow, PipedriveLimits
from ml_connector.common.kafka.partition import partition_for
from ml_connector.resolver.pipedrive.breaker import Breaker
from ml_connector.resolver.pipedrive.client import PipedriveClient
from ml_connector.resolver.pipedrive.grant import Grant, Keep
from ml_connector.resolver.pipedrive.login import Login, OAuthLogin, TokenLogin
from ml_connector.resolver.plan import FlowPlan
from ml_connector.resolver.resolve import Book
from ml_connector.resolver.settings import ResolverSettings
from ml_connector.resolver.standings import CompanyStanding

# A slow company must not take the connections of the others: each keeps to its own burst window instead. httpcore looks
# at the socket of every idle connection of a pool, for each request: so there are many pools with few of them.
POOLS: Final = 32
UNLIMITED: Final = httpx2.Limits(max_connections=None, max_keepalive_connections=8, keepalive_expiry=30)


class PipedriveClients:
    """Breaker, burst window and token budget of a company are shared by all its flows, under the strictest limits."""

    def __init__(
        self,
        settings: ResolverSettings,
        directory: Directory,
        book: Book,
        clock: Clock,
        *,
        keep: Keep,
        standing: Callable[[str], CompanyStanding],
    ) -> None:
        self._settings = settings
        self._directory = directory
        self._book = book
        self._clock = clock
        self._keep = keep
        self._standing = standing
        self._tls = settings.tls()
        self._chance = random.Random()  # noqa: S311  jitter, not a secret
        self._http: dict[tuple[str | None, int], httpx2.AsyncClient] = {}  # by proxy and pool
        self._clients: dict[tuple[str, str, str, str], PipedriveClient] = {}
        self._grants: dict[tuple[str, str], Grant] = {}
        self._limits: dict[str, dict[str, PipedriveLimits]] = {}

    def client(self, plan: FlowPlan) -> PipedriveClient:
        """Of a flow that is not applied yet the limits do not count, as long as the company has others."""
        side = plan.flow.pipedrive
        base_url = side.base_url or f"https://{plan.company}.pipedrive.com"
        key = (plan.company, base_url, side.auth, side.oauth_url)
        found = self._clients.get(key)
        if found is None:
            found = self._clients[key] = self._client(plan, base_url)
        of_flows = self._limits.setdefault(plan.company, {})
        if plan.applied:
            of_flows[plan.flow.flow] = side.limits
        if of_flows:
            found.obey(_strictest(list(of_flows.values())))
        return found

    def by_company(self) -> dict[str, PipedriveClient]:
        """Of each company the client that was made last."""
        return {key[0]: client for key, client in self._clients.items()}

    def basic(self, plan: FlowPlan) -> BasicKey:
        """What deliveries to this flow shall carry: of two keys the last, which is the new one. Raises
        SecretUnreadable."""
        owner = f"flow/{plan.flow.flow}"
        return self._directory.secret(WebhookBasic, owner=owner, environment=plan.flow.environment).keys[-1]

    def versions(self, plan: FlowPlan) -> tuple[int, ...]:
        """Of what the flow logs in with: others once a person has replaced it."""
        kinds = (OAuthClient, OAuthGrant) if plan.flow.pipedrive.auth == "oauth2" else (ApiToken,)
        return tuple(self._directory.version_of(kind, owner=f"pipedrive/{plan.company}") for kind in kinds)

    async def close(self) -> None:
        await asyncio.gather(*(grant.close() for grant in self._grants.values()))
        await asyncio.gather(*(http.aclose() for http in self._http.values()))

    def _client(self, plan: FlowPlan, base_url: str) -> PipedriveClient:
        breaker = Breaker(
            first_s=self._settings.probe_first_s,
            longest_s=self._settings.probe_longest_s,
            chance=self._chance,
        )
        return PipedriveClient(
            self._http_for(base_url, plan.company),
            self._login(plan.flow, base_url),
            breaker=breaker,
            budget=self._book.budget(plan.company),
            limits=plan.flow.pipedrive.limits,
            standing=self._standing(plan.company),
            clock=self._clock,
        )

    def _login(self, flow: Flow, base_url: str) -> Login:
        if flow.pipedrive.auth == "oauth2":
            return OAuthLogin(base_url, flow.pipedrive.base_url, self._grant(flow))
        return TokenLogin(base_url, partial(self._credential, flow))

    def _grant(self, flow: Flow) -> Grant:
        """One for all flows of a company, so that there is one refresh at a time."""
        company, url = flow.pipedrive.company, flow.pipedrive.oauth_url
        if (company, url) not in self._grants:
            self._grants[company, url] = Grant(
                self._http_for(url, company),
                url,
                company=company,
                environment=flow.environment,
                secrets=self._directory,
                keep=self._keep,
                clock=self._clock,
            )
        return self._grants[company, url]

    def _http_for(self, url: str, company: str) -> httpx2.AsyncClient:
        proxy, pool = proxy_for(url), partition_for(company.encode(), POOLS)
        found = self._http.get((proxy, pool))
        if found is None:
            transport = transport_through(
                proxy, tls=self._tls, limits=UNLIMITED, allowed=self._settings.allowed_networks
            )
            timeout = httpx2.Timeout(self._settings.request_timeout_s)
            found = httpx2.AsyncClient(transport=transport, timeout=timeout, follow_redirects=False)
            self._http[proxy, pool] = found
        return found

    def _credential(self, flow: Flow) -> ApiToken:
        owner = f"pipedrive/{flow.pipedrive.company}"
        return self._directory.secret(ApiToken, owner=owner, environment=flow.environment)


def _strictest(limits: list[PipedriveLimits]) -> PipedriveLimits:
    return PipedriveLimits(
        burst=min(each.burst for each in limits),
        daily_tokens=min(each.daily_tokens for each in limits),
        reserve=max(each.reserve for each in limits),
    )
