"""How a request shows who we are: where it goes and which headers it carries."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from ml_connector.common.credentials import ApiToken
from ml_connector.resolver.pipedrive.grant import Grant


class Signed(NamedTuple):
    """What a request begins with."""

    base_url: str
    headers: dict[str, str]


class Login(Protocol):
    """Of one company. `base_url`: for requests that carry no credential."""

    base_url: str

    async def signed(self) -> Signed:
        """Raises SecretUnreadable, VendorUnavailable, GrantRevoked."""
        ...

    def refused(self, signed: Signed) -> bool:
        """Pipedrive answered 401: whether it may go better, signed anew."""
        ...


class TokenLogin:
    """By the API token of one of the company's users."""

    def __init__(self, base_url: str, credential: Callable[[], ApiToken]) -> None:
        self.base_url = base_url
        self._credential = credential

    async def signed(self) -> Signed:
        return Signed(self.base_url, {"x-api-token": self._credential().token})

    def refused(self, signed: Signed) -> bool:
        """Another try has the same token."""
        return False


class OAuthLogin:
    """By OAuth 2.0. `given`: the flow's own base URL, which wins over what Pipedrive's answer names."""

    def __init__(self, base_url: str, given: str | None, grant: Grant) -> None:
        self.base_url = base_url
        self._given = given
        self._grant = grant

    async def signed(self) -> Signed:
        token = await self._grant.token()
        base_url = self._given or token.api_domain.rstrip("/") or self.base_url
        return Signed(base_url, {"authorization": f"Bearer {token.access_token}"})

    def refused(self, signed: Signed) -> bool:
        self._grant.drop(signed.headers["authorization"].removeprefix("Bearer "))
        return True
