"""Access tokens by OAuth 2.0 client credentials (M2M), renewed ahead of expiry, one renewal at a time.

Source: Oracle section_162755359851 (facts/netsuite.md section 10).
There is no refresh token: a new assertion is signed.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from typing import Any, Final

import httpx2
import jwt

from ml_connector.common.clock import Clock
from ml_connector.common.credentials import NetsuiteM2M
from ml_connector.common.errors import SecretUnreadable, TryLater, VendorUnavailable

TOKEN_PATH: Final = "/services/rest/auth/oauth2/v1/token"  # noqa: S105  a path
ASSERTION_LIFE_S: Final = 300  # must be less than an hour; short, since it is used at once
RENEW_AHEAD_S: Final = 300  # of 3600: a request that starts now must not outlive its token
ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class TokenRefused(TryLater):
    """NetSuite does not know these credentials; trying again helps only once somebody has changed them."""


class Tokens:
    """The access token of one account."""

    def __init__(
        self, http: httpx2.AsyncClient, base_url: str, *, credential: Callable[[], NetsuiteM2M], clock: Clock
    ) -> None:
        self._http = http
        self._base_url = base_url
        self._credential = credential
        self._clock = clock
        self._token = ""
        self._expires_s = 0.0
        self._renewing = asyncio.Lock()

    async def get(self) -> str:
        """A token that is good for some minutes. Raises TokenRefused, VendorUnavailable, SecretUnreadable."""
        if self._clock.monotonic_s() < self._expires_s - RENEW_AHEAD_S:
            return self._token
        async with self._renewing:
            if self._clock.monotonic_s() >= self._expires_s - RENEW_AHEAD_S:
                await self._renew()
        return self._token

    def drop(self, token: str) -> None:
        """NetSuite refused this token: the next `get` asks for a new one, unless somebody else already has."""
        if token == self._token:
            self._expires_s = 0.0

    async def _renew(self) -> None:
        form = form_for(self._credential(), base_url=self._base_url, now_s=self._clock.now_ms() // 1000)
        try:
            answer = await self._http.post(f"{self._base_url}{TOKEN_PATH}", data=form)
        except httpx2.HTTPError as error:
            raise VendorUnavailable(f"NetSuite's token endpoint: {type(error).__name__}") from error
        if answer.status_code in {400, 401, 403}:
            raise TokenRefused(f"NetSuite's token endpoint refused the credentials: status {answer.status_code}")
        if answer.status_code != 200:
            raise VendorUnavailable(f"NetSuite's token endpoint: status {answer.status_code}")
        self._keep(answer)

    def _keep(self, answer: httpx2.Response) -> None:
        try:
            body: dict[str, Any] = answer.json()
            self._token = str(body["access_token"])
            self._expires_s = self._clock.monotonic_s() + float(body.get("expires_in", 3600))
        except (ValueError, KeyError, TypeError) as error:
            raise VendorUnavailable("NetSuite's token endpoint answered something that is no token") from error


def form_for(credential: NetsuiteM2M, *, base_url: str, now_s: int) -> dict[str, str]:
    """What the token endpoint is sent. Raises SecretUnreadable."""
    return {
        "grant_type": "client_credentials",
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": _assertion(credential, f"{base_url}{TOKEN_PATH}", now_s),
    }


def _assertion(credential: NetsuiteM2M, audience: str, now_s: int) -> str:
    claims = {
        "iss": credential.client_id,
        "scope": "rest_webservices",
        "aud": audience,
        "iat": now_s,
        "exp": now_s + ASSERTION_LIFE_S,
        "jti": uuid.uuid4().hex,
    }
    try:
        return jwt.encode(
            claims,
            credential.private_key_pem,
            algorithm=credential.algorithm,
            headers={"kid": credential.certificate_id, "typ": "JWT"},
        )
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        raise SecretUnreadable(f"the private key does not fit {credential.algorithm}") from error
