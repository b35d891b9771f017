"""The connections of one account, each used by one request at a time.

httpx2's transports, without the client around them: what it adds (cookies, redirects, a pool that looks at every idle
connection for every request) is of no use here, and was more than a third of what a request costs. docs/performance.md.
An address is checked when a connection is opened, not for each request. Redirects are answers like any other.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from typing import Final

import httpx2

from ml_connector.common.addresses import Network
from ml_connector.common.connecting import proxy_for, transport_through

CONNECT_S: Final = 10.0
_ONE: Final = httpx2.Limits(max_connections=1, max_keepalive_connections=1)


class Connections:
    """As many as requests were ever in flight. The one used last is used next, so what is not needed goes idle."""

    def __init__(self, make: Callable[[], httpx2.AsyncBaseTransport], *, timeout_s: float) -> None:
        self._make = make
        self._timeout = {"connect": CONNECT_S, "read": timeout_s, "write": timeout_s, "pool": timeout_s}
        self._idle: list[httpx2.AsyncBaseTransport] = []
        self._all: list[httpx2.AsyncBaseTransport] = []

    async def request(
        self, method: str, url: str, *, content: bytes | None, headers: dict[str, str]
    ) -> httpx2.Response:
        """The answer with its body. Raises httpx2.HTTPError."""
        request = httpx2.Request(method, url, headers=headers, content=content, extensions={"timeout": self._timeout})
        transport = self._idle.pop() if self._idle else self._one_more()
        try:
            response = await transport.handle_async_request(request)
            response.request = request
            try:
                await response.aread()
            finally:
                await response.aclose()
        finally:
            self._idle.append(transport)
        return response

    async def close(self) -> None:
        await asyncio.gather(*(transport.aclose() for transport in self._all))

    def _one_more(self) -> httpx2.AsyncBaseTransport:
        transport = self._make()
        self._all.append(transport)
        return transport


def transport(url: str, tls: ssl.SSLContext, allowed: Sequence[Network]) -> httpx2.AsyncBaseTransport:
    """One connection, to where `url` may lead."""
    return transport_through(proxy_for(url), tls=tls, limits=_ONE, allowed=allowed)
