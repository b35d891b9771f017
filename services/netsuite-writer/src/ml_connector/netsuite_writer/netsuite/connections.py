"""The connections to one account's NetSuite, by aiohttp: a request costs a fifth of what it costs by httpx2.

What goes wrong is told in httpx2's errors, as of all other requests of this product. Redirects are answers like any
other. Nothing is ever sent twice by itself: whether a call is repeated is decided by those who know its record.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import aiohttp
import httpx2
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from ml_connector.common.addresses import Network, literal_of, permitted
from ml_connector.common.connecting import proxy_for, resolved
from ml_connector.common.errors import AddressRefused

CONNECT_S: Final = 10.0  # name, TCP and TLS
IDLE_S: Final = 5.0  # less than servers keep a connection that nobody uses
_ADDED: Final = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")  # by aiohttp, unless it is told not to


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer with its body. `headers`: found in any case."""

    status_code: int
    headers: Mapping[str, str]
    content: bytes


class Connections:
    """As many as requests are ever in flight; the governor says how many those are."""

    def __init__(self, base_url: str, *, tls: ssl.SSLContext, allowed: Sequence[Network], timeout_s: float) -> None:
        """`timeout_s`: of one request, from its beginning to the end of its answer. On a running event loop."""
        self._proxy = proxy_for(base_url)
        self._refusal = None if self._proxy else _refusal(URL(base_url).host or "", allowed)
        resolver = None if self._proxy else _Checked(allowed)  # a proxy is the operator's own (docs/unproven.md)
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0, ssl=tls, resolver=resolver, use_dns_cache=False, keepalive_timeout=IDLE_S
            ),
            timeout=aiohttp.ClientTimeout(total=timeout_s, connect=CONNECT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=_ADDED,
            auto_decompress=False,
        )
        # No public way leads there; aiohttp's own TestClient does this, and test_connections.py sees that it works.
        self._http._retry_connection = False

    async def request(self, method: str, url: str, *, content: bytes | None, headers: Mapping[str, str]) -> Answered:
        """Raises httpx2.HTTPError; of its kinds ConnectError and ConnectTimeout when NetSuite never had the request."""
        try:
            if self._refusal is not None:
                raise self._refusal
            async with self._http.request(
                method,
                URL(url, encoded=True),
                data=content,
                headers=headers,
                proxy=self._proxy,
                allow_redirects=False,
            ) as answer:
                return Answered(answer.status, answer.headers, await answer.read())
        except aiohttp.ConnectionTimeoutError as error:
            raise httpx2.ConnectTimeout(str(error)) from error
        except (
            AddressRefused,
            aiohttp.ClientConnectorError,
            aiohttp.ClientHttpProxyError,
            aiohttp.InvalidURL,
        ) as error:
            raise httpx2.ConnectError(str(error)) from error
        except TimeoutError as error:
            raise httpx2.ReadTimeout(str(error)) from error
        except aiohttp.ClientError as error:
            raise httpx2.RemoteProtocolError(f"{type(error).__name__}: {error}") from error

    async def close(self) -> None:
        await self._http.close()


class _Checked(AbstractResolver):
    """Names lead where they may, each time that a connection is opened."""

    def __init__(self, allowed: Sequence[Network]) -> None:
        self._allowed = allowed

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Raises OSError, AddressRefused."""
        return [_result(host, address, port) for address in await resolved(host, port, self._allowed)]

    async def close(self) -> None:
        """There is nothing to close."""


def _result(host: str, address: str, port: int) -> ResolveResult:
    return ResolveResult(
        hostname=host,
        host=address,
        port=port,
        family=socket.AF_INET6 if ":" in address else socket.AF_INET,
        proto=0,
        flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
    )


def _refusal(host: str, allowed: Sequence[Network]) -> AddressRefused | None:
    """Of an address that is no name: nobody resolves it."""
    try:
        if literal_of(host) is not None:
            permitted(host, [host], allowed)
    except AddressRefused as error:
        return error
    return None
