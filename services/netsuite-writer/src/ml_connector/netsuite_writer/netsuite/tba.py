"""Sign each request by token-based authentication (OAuth 1.0a, HMAC-SHA256), for accounts that still have such tokens.

Oracle makes no new integrations of this kind from 2027.1 on, and means to end support in 2028.1 (section_0525020842).
The query belongs into the signature, a JSON body does not (facts/netsuite.md section 10). The time that is signed is
ours.
"""

from __future__ import annotations

from collections.abc import Callable

from oauthlib.oauth1 import SIGNATURE_HMAC_SHA256, Client

from ml_connector.common.clock import Clock
from ml_connector.common.credentials import NetsuiteTba


class Signing:
    """Of one account, as NetSuite writes it."""

    def __init__(self, account: str, *, credential: Callable[[], NetsuiteTba], clock: Clock) -> None:
        self._account = account
        self._credential = credential
        self._clock = clock

    async def authorization(self, method: str, url: str) -> str:
        """Raises SecretUnreadable."""
        return authorization_for(self._credential(), self._account, method, url, now_s=self._clock.now_ms() // 1000)

    def refused(self, _: str) -> None:
        """There is nothing to renew: each request has a signature of its own."""


def authorization_for(credential: NetsuiteTba, account: str, method: str, url: str, *, now_s: int) -> str:
    """Good for this one request, once."""
    client = Client(
        credential.consumer_key,
        client_secret=credential.consumer_secret,
        resource_owner_key=credential.token_id,
        resource_owner_secret=credential.token_secret,
        signature_method=SIGNATURE_HMAC_SHA256,
        realm=account.upper(),
        timestamp=str(now_s),
    )
    _, headers, _ = client.sign(url, http_method=method)  # type: ignore[arg-type]  # any method
    return str(headers["Authorization"])
