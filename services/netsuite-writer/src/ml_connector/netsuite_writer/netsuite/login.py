"""Log in at one account as its flows say: by OAuth 2.0, or token-based authentication on the way there."""

from __future__ import annotations

from collections.abc import Iterable

from ml_connector.common.flows import NetsuiteAuth, NetsuiteSide
from ml_connector.netsuite_writer.netsuite.client import Login


class Logins:
    """`use` whenever flows change: the next request logs in so."""

    def __init__(self, ways: dict[NetsuiteAuth, Login]) -> None:
        self._ways = ways
        self._way = ways["oauth2-m2m"]

    def use(self, auth: NetsuiteAuth) -> None:
        self._way = self._ways[auth]

    async def authorization(self, method: str, url: str) -> str:
        """Raises TokenRefused, VendorUnavailable, SecretUnreadable."""
        return await self._way.authorization(method, url)

    def refused(self, authorization: str) -> None:
        self._way.refused(authorization)


def agreed(sides: Iterable[NetsuiteSide]) -> NetsuiteAuth:
    """Of flows that write to one account; the way that stays when they differ, as when they are changed one by one."""
    ways = {side.auth for side in sides}
    return "tba" if ways == {"tba"} else "oauth2-m2m"
