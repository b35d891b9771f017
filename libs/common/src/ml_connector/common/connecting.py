"""Connect only to where a configured address may lead (`addresses.py`): for every client of a vendor or an issuer.

httpx2 over a network of ours, which checks what a name resolves to and connects to that very address.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterable, Sequence
from contextlib import suppress
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpcore2
import httpx2

from ml_connector.common.addresses import Network, permitted
from ml_connector.common.errors import AddressRefused
from ml_connector.common.logs import get_logger

log = get_logger()


def proxy_for(url: str) -> str | None:
    """The proxy that the environment names for this address."""
    parts = urlsplit(url)
    return None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)


def transport_through(
    proxy: str | None, *, tls: ssl.SSLContext, limits: httpx2.Limits, allowed: Sequence[Network]
) -> httpx2.AsyncBaseTransport:
    """A proxy is the operator's own: it resolves names, and decides where they may lead (docs/unproven.md)."""
    if proxy is not None:
        return httpx2.AsyncHTTPTransport(verify=tls, limits=limits, proxy=proxy)
    return CheckedTransport(tls=tls, limits=limits, allowed=allowed)


async def resolved(host: str, port: int, allowed: Sequence[Network]) -> list[str]:
    """Where a name leads now, if it may. Raises OSError, AddressRefused."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    try:
        return permitted(host, [str(address[0]) for *_, address in found], allowed)
    except AddressRefused as error:
        log.error("address_refused", problem=str(error))
        raise


class CheckedNetwork(httpcore2.AnyIOBackend):
    """Connects to the very address that was checked: a name may resolve to another one a moment later."""

    def __init__(self, allowed: Sequence[Network]) -> None:
        self._allowed = allowed

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  httpcore2's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Raises httpcore2.ConnectError, ConnectTimeout."""
        addresses = await self._resolve(host, port, timeout)
        share_s = timeout / len(addresses) if timeout is not None else None
        for address in addresses[:-1]:
            with suppress(httpcore2.ConnectError, httpcore2.ConnectTimeout):
                return await super().connect_tcp(address, port, share_s, local_address, socket_options)
        return await super().connect_tcp(addresses[-1], port, share_s, local_address, socket_options)

    async def _resolve(self, host: str, port: int, timeout_s: float | None) -> list[str]:
        try:
            async with asyncio.timeout(timeout_s):
                return await resolved(host, port, self._allowed)
        except AddressRefused as error:
            raise httpcore2.ConnectError(str(error)) from error
        except TimeoutError as error:
            raise httpcore2.ConnectTimeout(f"{host} does not resolve in time") from error
        except OSError as error:
            raise httpcore2.ConnectError(f"{host} does not resolve") from error


class CheckedTransport(httpx2.AsyncHTTPTransport):
    """httpx2's own, over a CheckedNetwork; its constructor does not take one."""

    def __init__(self, *, tls: ssl.SSLContext, limits: httpx2.Limits, allowed: Sequence[Network]) -> None:
        super().__init__(verify=tls, limits=limits)
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=tls,
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=CheckedNetwork(allowed),
        )
