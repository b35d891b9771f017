"""Access tokens by OAuth 2.0 client credentials (M2M), renewed ahead of expiry, one renewal at a time.

Source: Oracle section_162755359851 (facts/netsuite.md section 10).
There is no refresh token: a new assertion is signed. When it is refused and NetSuite's clock differs from ours, it is
signed once more with NetSuite's time, and so are the next ones until the clocks agree.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from typing import Any, Final, cast

import httpx2
import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from ml_connector.common import spans
from ml_connector.common.clock import Clock
from ml_connector.common.credentials import NetsuiteM2M
from ml_connector.common.errors import SecretUnreadable, TryLater, VendorUnavailable
from ml_connector.common.logs import get_logger
from ml_connector.netsuite_writer.netsuite.skew import agrees, ahead_s, worth_signing

log = get_logger()

TOKEN_PATH: Final = "/services/rest/auth/oauth2/v1/token"  # noqa: S105  a path
ASSERTION_LIFE_S: Final = 300  # must be less than an hour; short, since it is used at once
RENEW_AHEAD_S: Final = 300  # of 3600: a request that starts now must not outlive its token
AGAIN_FIRST_S: Final = 5.0  # after a failed renewal; doubled each time
AGAIN_LONGEST_S: Final = 60.0  # so RENEW_AHEAD_S holds some eight tries
REFUSALS: Final = frozenset({400, 401, 403})
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
        self._renew_at_s = 0.0
        self._ends_s = 0.0
        self._failures = 0  # of renewals, in a row
        self._ahead_s = 0  # of NetSuite's clock; 0 while what our own says is taken
        self._renewing = asyncio.Lock()

    async def get(self) -> str:
        """A token that is good now, for some minutes unless NetSuite does not renew it.

        Raises TokenRefused, VendorUnavailable, SecretUnreadable.
        """
        if not self._due or (self._good and self._renewing.locked()):
            return self._token
        async with self._renewing:
            if self._due:
                await self._renew()
        return self._token

    def drop(self, token: str) -> None:
        """NetSuite refused this token: the next `get` asks for a new one, unless somebody else already has."""
        if token == self._token:
            self._renew_at_s = self._ends_s = 0.0

    async def authorization(self, _method: str, _url: str) -> str:
        """The header of any request. Raises as `get`."""
        return f"Bearer {await self.get()}"

    def refused(self, authorization: str) -> None:
        self.drop(authorization.removeprefix("Bearer "))

    @property
    def _due(self) -> bool:
        return self._clock.monotonic_s() >= self._renew_at_s

    @property
    def _good(self) -> bool:
        return self._clock.monotonic_s() < self._ends_s

    async def _renew(self) -> None:
        """Or keep what is good still: that NetSuite gives no new one now says nothing about the one it gave."""
        try:
            asked_s = self._clock.monotonic_s()
            self._keep(await self._ask(), asked_s)
        except VendorUnavailable as error:
            if not self._good:
                raise
            pause_s = min(AGAIN_LONGEST_S, AGAIN_FIRST_S * 2**self._failures)
            self._failures += 1
            now_s = self._clock.monotonic_s()
            self._renew_at_s = min(now_s + pause_s, self._ends_s)
            log.warning(
                "token_not_renewed", problem=str(error), url=self._base_url, ends_in_s=int(self._ends_s - now_s)
            )

    async def _ask(self) -> httpx2.Response:
        """Raises TokenRefused, VendorUnavailable, SecretUnreadable."""
        answer = await self._signed(self._ahead_s)
        off_s = ahead_s(str(answer.headers.get("date", "")), self._clock.now_ms())
        if off_s is not None and answer.status_code in REFUSALS and worth_signing(off_s, instead_of=self._ahead_s):
            answer = await self._signed(off_s)
            if answer.status_code == 200:
                self._sign_with(off_s)
        elif off_s is not None and answer.status_code == 200 and self._ahead_s and agrees(off_s):
            self._sign_with(off_s)
        if answer.status_code in REFUSALS:
            clock = "" if off_s is None or agrees(off_s) else f", and its clock is {-off_s:+} s from ours"
            raise TokenRefused(f"NetSuite's token endpoint refused the credentials: status {answer.status_code}{clock}")
        if answer.status_code != 200:
            raise VendorUnavailable(f"NetSuite's token endpoint: status {answer.status_code}")
        return answer

    async def _signed(self, off_s: int) -> httpx2.Response:
        now_s = self._clock.now_ms() // 1000 - off_s
        form = form_for(self._credential(), base_url=self._base_url, now_s=now_s)
        with spans.request("POST", httpx2.URL(self._base_url).host, TOKEN_PATH) as span:
            try:
                answer = await self._http.post(f"{self._base_url}{TOKEN_PATH}", data=form)
            except httpx2.HTTPError as error:
                span.fail(type(error).__name__)
                raise VendorUnavailable(f"NetSuite's token endpoint: {type(error).__name__}") from error
            spans.answered(span, answer.status_code)
        return answer

    def _sign_with(self, off_s: int) -> None:
        """From now on."""
        self._ahead_s = 0 if agrees(off_s) else off_s
        if self._ahead_s:
            log.warning("clock_wrong", ahead_s=off_s, url=self._base_url)
        else:
            log.info("clock_right", url=self._base_url)

    def _keep(self, answer: httpx2.Response, asked_s: float) -> None:
        try:
            body: dict[str, Any] = answer.json()
            token, life_s = str(body["access_token"]), float(body.get("expires_in", 3600))
        except (ValueError, KeyError, TypeError) as error:
            raise VendorUnavailable("NetSuite's token endpoint answered something that is no token") from error
        self._token, self._failures = token, 0
        self._ends_s = asked_s + life_s
        self._renew_at_s = asked_s + max(life_s - RENEW_AHEAD_S, life_s / 2)


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
        return _assured(claims, credential)
    except (jwt.PyJWTError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SecretUnreadable(f"the private key does not fit {credential.algorithm}") from error


def _assured(claims: dict[str, Any], credential: NetsuiteM2M) -> str:
    """Nobody looks whether the primes of an RSA key are such: it takes 140 ms of the event loop (3,072 bits), an hour
    and account. A signature that its own public key proves is as good. Raises as both libraries do."""
    pem, algorithm = credential.private_key_pem.encode(), credential.algorithm
    key = cast(Any, load_pem_private_key(pem, password=None, unsafe_skip_rsa_key_validation=True))
    assertion = jwt.encode(claims, key, algorithm=algorithm, headers={"kid": credential.certificate_id, "typ": "JWT"})
    jwt.PyJWS().decode(assertion, key.public_key(), algorithms=[algorithm])
    return assertion
