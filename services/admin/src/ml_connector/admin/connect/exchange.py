"""Exchange an authorization code for a grant: one request, one try, since a code is good once.

Sources: facts/pipedrive.md section 7 (form-encoded, HTTP Basic, `api_domain`); RFC 6749 sections 4.1.3 and 5.2.
"""

from __future__ import annotations

import asyncio
from typing import Final

import httpx2
import msgspec

from ml_connector.admin.connect.pages import Ending
from ml_connector.admin.connect.states import Asked
from ml_connector.common.addresses import host_of
from ml_connector.common.clock import Clock
from ml_connector.common.connecting import proxy_for, transport_through
from ml_connector.common.credentials import OAuthClient, OAuthGrant
from ml_connector.common.errors import AddressRefused, ConnectorError
from ml_connector.common.settings import Settings

DEADLINE_S: Final = 10.0  # somebody waits at a browser; the code lives 5 minutes
MAX_ANSWER_BYTES: Final = 64 * 1024  # tokens of 768 characters are a few KiB
_ONE: Final = httpx2.Limits(max_connections=1, max_keepalive_connections=0)


class NotGranted(ConnectorError):
    """There is no grant; `ending` is what to tell."""

    def __init__(self, ending: Ending, problem: str) -> None:
        super().__init__(problem)
        self.ending = ending


class _Answer(msgspec.Struct, frozen=True):
    access_token: str
    refresh_token: str
    expires_in: int
    api_domain: str


class Exchange:
    """Addresses, certificates and proxies as for every client of a vendor; a redirect is an answer like any other."""

    def __init__(self, settings: Settings, clock: Clock, *, deadline_s: float = DEADLINE_S) -> None:
        self._settings = settings
        self._clock = clock
        self._deadline_s = deadline_s

    async def grant(self, asked: Asked, code: str, client: OAuthClient) -> OAuthGrant:
        """Raises NotGranted."""
        began_ms = self._clock.now_ms()
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": asked.redirect_uri}
        try:
            async with asyncio.timeout(self._deadline_s):
                status, body = await self._post(asked.token_url, form, client)
        except (httpx2.HTTPError, TimeoutError) as error:
            raise NotGranted(Ending.unreachable, f"the token endpoint: {type(error).__name__}") from error
        if status != 200:
            raise _refused(status, body)
        answer = _read(body)
        return OAuthGrant(
            refresh_token=answer.refresh_token,
            access_token=answer.access_token,
            expires_at_ms=began_ms + answer.expires_in * 1000,
            api_domain=answer.api_domain,
        )

    async def _post(self, url: str, form: dict[str, str], client: OAuthClient) -> tuple[int, bytes]:
        """Nothing is unpacked: some KiB could become gigabytes."""
        tls = await asyncio.to_thread(self._settings.tls)
        transport = transport_through(proxy_for(url), tls=tls, limits=_ONE, allowed=self._settings.allowed_networks)
        headers = {"accept": "application/json", "accept-encoding": "identity"}
        body = bytearray()
        async with (
            httpx2.AsyncClient(transport=transport, timeout=self._deadline_s, follow_redirects=False) as http,
            http.stream("POST", url, data=form, headers=headers, auth=(client.client_id, client.client_secret)) as got,
        ):
            async for chunk in got.aiter_raw():
                body += chunk
                if len(body) > MAX_ANSWER_BYTES:
                    raise NotGranted(Ending.unreachable, f"the token endpoint answers over {MAX_ANSWER_BYTES} bytes")
            return got.status_code, bytes(body)


def _refused(status: int, body: bytes) -> NotGranted:
    """Neither its words nor ours are repeated."""
    said = _error(body)
    if status == 401 or said == "invalid_client":
        return NotGranted(Ending.client_refused, "the token endpoint does not accept the client")
    if status == 400:
        return NotGranted(Ending.code_refused, "the token endpoint does not accept the code")
    return NotGranted(Ending.unreachable, f"the token endpoint: status {status}")


def _read(body: bytes) -> _Answer:
    try:
        found = msgspec.json.decode(body, type=_Answer)
        host_of(found.api_domain)
    except (msgspec.DecodeError, UnicodeDecodeError, AddressRefused):
        problem = "the token endpoint answers something that is no grant, or does not name the company"
        raise NotGranted(Ending.unreachable, problem) from None
    return found


def _error(body: bytes) -> str:
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    return str(found.get("error", "")) if isinstance(found, dict) else ""
