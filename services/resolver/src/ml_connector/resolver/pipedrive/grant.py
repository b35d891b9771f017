"""The access token of one company under OAuth 2.0, refreshed ahead of its end, one refresh at a time.

Pipedrive's documents disagree on whether a refresh token changes with each use (facts/pipedrive.md section 7). So the
one of the newest answer counts, and it is used only when the broker has it: a crash never leaves less than was there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeVar

import httpx2
import msgspec

from ml_connector.common import spans
from ml_connector.common.addresses import host_of
from ml_connector.common.clock import Clock
from ml_connector.common.credentials import Credential, OAuthClient, OAuthGrant, OAuthToken
from ml_connector.common.errors import AddressRefused, SecretUnreadable, TryLater, VendorUnavailable
from ml_connector.common.flows import Environment
from ml_connector.common.logs import get_logger
from ml_connector.common.vault import SecretEntry

log = get_logger()
C = TypeVar("C", bound=Credential)

AHEAD_MS: Final = 300_000  # of 60 minutes: a request that starts now must not outlive its token
REVOKED: Final = "reconnect: the grant was revoked"

Keep = Callable[[SecretEntry], Awaitable[None]]


class GrantRevoked(TryLater):
    """Nothing helps but a new grant."""


class ClientRefused(VendorUnavailable):
    """Nothing helps but the app's right client id and secret."""


class Secrets(Protocol):
    def secret(self, kind: type[C], *, owner: str, environment: Environment) -> C: ...

    def version_of(self, kind: type[Credential], *, owner: str) -> int: ...

    def sealed(self, credential: Credential, *, owner: str, environment: Environment, version: int) -> SecretEntry: ...


class _Answer(msgspec.Struct, frozen=True):
    access_token: str
    expires_in: int
    refresh_token: str = ""
    api_domain: str = ""


class Grant:
    """What a company allowed us. `keep` returns when the broker has the entry."""

    def __init__(
        self,
        http: httpx2.AsyncClient,
        url: str,
        *,
        company: str,
        environment: Environment,
        secrets: Secrets,
        keep: Keep,
        clock: Clock,
    ) -> None:
        self._http = http
        self._url = url
        self._owner = f"pipedrive/{company}"
        self._environment: Environment = environment
        self._secrets = secrets
        self._keep = keep
        self._clock = clock
        self._kept: tuple[int, OAuthToken] | None = None  # until it comes back from the topic
        self._dropped = ""
        self._revoked = (0, "")  # version of the grant, refresh token
        self._refresh: asyncio.Task[None] | None = None

    async def token(self) -> OAuthToken:
        """One that is good for some minutes. Raises GrantRevoked, VendorUnavailable, SecretUnreadable."""
        for ahead_ms in (AHEAD_MS, 0, 0):  # twice: the grant may be replaced during the first refresh
            token = self._newest()
            if (token.grant_version, token.refresh_token) == self._revoked:
                raise GrantRevoked(REVOKED)
            if token.access_token != self._dropped and self._clock.now_ms() < token.expires_at_ms - ahead_ms:
                return token
            if self._refresh is None:
                self._refresh = asyncio.create_task(self._renew(token), name=f"refresh {self._owner}")
                self._refresh.add_done_callback(self._over)
            await asyncio.shield(self._refresh)  # who waits may give up; what was answered must be kept all the same
        raise self._unusable()

    def _unusable(self) -> TryLater:
        token = self._newest()
        if (token.grant_version, token.refresh_token) == self._revoked:
            return GrantRevoked(REVOKED)
        return VendorUnavailable("Pipedrive's token endpoint gives tokens that have ended already")

    def drop(self, access_token: str) -> None:
        """Pipedrive refused it."""
        self._dropped = access_token

    async def close(self) -> None:
        """Once what is under way is kept."""
        if self._refresh is not None:
            await asyncio.wait([self._refresh])

    def _over(self, refresh: asyncio.Task[None]) -> None:
        self._refresh = None
        if not refresh.cancelled() and refresh.exception() is not None:
            log.warning("token_not_refreshed", owner=self._owner, problem=str(refresh.exception()))

    def _secret(self, kind: type[C]) -> C:
        return self._secrets.secret(kind, owner=self._owner, environment=self._environment)

    def _version(self, kind: type[Credential]) -> int:
        return self._secrets.version_of(kind, owner=self._owner)

    def _newest(self) -> OAuthToken:
        """What became of the grant as it is now; the grant itself, when nothing did. Raises SecretUnreadable."""
        grant, version = self._secret(OAuthGrant), self._version(OAuthGrant)
        stored = self._version(OAuthToken)
        found = self._stored() if stored else None
        if self._kept is not None and self._kept[0] > stored:
            found = self._kept[1]
        if found is not None and found.grant_version == version:
            return found
        return OAuthToken(
            access_token=grant.access_token,
            refresh_token=grant.refresh_token,
            expires_at_ms=grant.expires_at_ms if grant.access_token else 0,
            api_domain=grant.api_domain,
            grant_version=version,
        )

    def _stored(self) -> OAuthToken | None:
        """What does not open must not stand in the way of a new grant."""
        try:
            return self._secret(OAuthToken)
        except SecretUnreadable as error:
            log.warning("token_unreadable", owner=self._owner, problem=str(error))
            return None

    async def _renew(self, old: OAuthToken) -> None:
        """Answered, then kept, then used. A late answer for a grant that was replaced meanwhile is not kept."""
        answer = await self._ask(old)
        if answer is None or self._version(OAuthGrant) != old.grant_version:
            return
        token = OAuthToken(
            access_token=answer.access_token,
            refresh_token=answer.refresh_token or old.refresh_token,
            expires_at_ms=self._clock.now_ms() + answer.expires_in * 1000,
            api_domain=answer.api_domain or old.api_domain,
            grant_version=old.grant_version,
        )
        version = max(self._version(OAuthToken), self._kept[0] if self._kept else 0) + 1
        entry = self._secrets.sealed(token, owner=self._owner, environment=self._environment, version=version)
        await self._keep(entry)
        self._kept = (version, token)
        log.info("token_refreshed", owner=self._owner, version=version)

    async def _ask(self, old: OAuthToken) -> _Answer | None:
        """None when the grant is revoked."""
        client = self._secret(OAuthClient)
        form = {"grant_type": "refresh_token", "refresh_token": old.refresh_token}
        where = httpx2.URL(self._url)
        with spans.request("POST", where.host, where.path) as span:
            try:
                answer = await self._http.post(where, data=form, auth=(client.client_id, client.client_secret))
            except httpx2.HTTPError as error:
                span.fail(type(error).__name__)
                raise VendorUnavailable(f"Pipedrive's token endpoint: {type(error).__name__}") from error
            spans.answered(span, answer.status_code)
        if answer.status_code == 400 and _error(answer) == "invalid_grant":
            self._revoked = (old.grant_version, old.refresh_token)
            log.error("grant_revoked", owner=self._owner, reason=REVOKED)
            return None
        if answer.status_code == 401:
            fix = f"`mlc secrets set {self._owner} oauth2-client`"
            raise ClientRefused(f"Pipedrive's token endpoint does not accept the client of {self._owner}: {fix}")
        if answer.status_code != 200:
            raise VendorUnavailable(f"Pipedrive's token endpoint: status {answer.status_code}")
        return _read(answer)


def _read(answer: httpx2.Response) -> _Answer:
    try:
        found = msgspec.json.decode(answer.content, type=_Answer)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise VendorUnavailable("Pipedrive's token endpoint answered something that is no token") from None
    try:
        if found.api_domain:
            host_of(found.api_domain)
    except AddressRefused as error:
        raise VendorUnavailable(f"Pipedrive's token endpoint, api_domain: {error}") from error
    return found


def _error(answer: httpx2.Response) -> str:
    try:
        body = msgspec.json.decode(answer.content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    return str(body.get("error", "")) if isinstance(body, dict) else ""
