"""What travels to NetSuite and back, over a real socket: each request once, as it was made, for a bounded time."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import httpx2
import pytest

from ml_connector.common.connecting import transport_through
from ml_connector.netsuite_writer.accounts import TOKEN_LIMITS
from ml_connector.netsuite_writer.netsuite.connections import Connections

LOOPBACK: Final = "127.0.0.1"
OK: Final = b"HTTP/1.1 200 OK\r\nLocation: /customer/7\r\ncontent-length: 2\r\n\r\n{}"

Serve = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


class Vendor:
    """`serve` gets each request's head, and writes the answer."""

    def __init__(self, serve: Serve) -> None:
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.connections = 0
        self._serve = serve

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                self.heads.append(head)
                length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
                self.bodies.append(await reader.readexactly(int(length or b"0")))
                await self._serve(head, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


@asynccontextmanager
async def connected(serve: Serve, *, timeout_s: float = 5.0) -> AsyncIterator[tuple[Vendor, Connections, str]]:
    vendor = Vendor(serve)
    server = await asyncio.start_server(vendor.connected, LOOPBACK, 0)
    url = f"http://{LOOPBACK}:{server.sockets[0].getsockname()[1]}"
    connections = Connections(url, tls=ssl.create_default_context(), allowed=(), timeout_s=timeout_s)
    try:
        yield vendor, connections, url
    finally:
        await connections.close()
        server.close()


async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(OK)


async def test_a_request_travels_as_it_was_made() -> None:
    """A colon in the path, nothing added to the headers but Host and the length; answers' headers in any case."""
    async with connected(answer) as (vendor, connections, url):
        path = "/services/rest/record/v1/customer/eid:pd-org-1?x=%7E"
        reply = await connections.request("PUT", f"{url}{path}", content=b'{"a":1}', headers={"x-one": "1"})

        assert (reply.status_code, reply.headers.get("location"), reply.content) == (200, "/customer/7", b"{}")
        first, *lines = vendor.heads[0].decode().strip().split("\r\n")
        assert first == f"PUT {path} HTTP/1.1"
        assert sorted(line.lower() for line in lines) == [
            "content-length: 7", f"host: {url.removeprefix('http://')}", "x-one: 1",
        ]  # fmt: skip
        assert vendor.bodies == [b'{"a":1}']


async def test_requests_one_after_the_other_share_a_connection() -> None:
    async with connected(answer) as (vendor, connections, url):
        for _ in range(3):
            await connections.request("GET", url, content=None, headers={})

        assert (len(vendor.heads), vendor.connections) == (3, 1)


@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "PATCH"])
async def test_a_request_whose_connection_breaks_is_not_sent_again_by_itself(method: str) -> None:
    """aiohttp repeats what is idempotent on a connection that was used before. NetSuite may be executing it: whether
    and when it is repeated is the schedule's to say (DESIGN rule 3)."""

    async def once(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(OK) if len(vendor.heads) == 1 else writer.close()

    async with connected(once) as (vendor, connections, url):
        await connections.request("GET", url, content=None, headers={})
        with pytest.raises(httpx2.HTTPError) as raised:
            await connections.request(method, url, content=b"{}", headers={})

        assert not isinstance(raised.value, httpx2.ConnectError | httpx2.ConnectTimeout)  # it may have been executed
        assert len(vendor.heads) == 2


async def test_an_answer_that_trickles_does_not_keep_its_slot() -> None:
    async def trickle(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b" ")
            await asyncio.sleep(0.01)

    async with connected(trickle, timeout_s=0.1) as (_, connections, url):
        with pytest.raises(httpx2.ReadTimeout):
            await asyncio.wait_for(connections.request("GET", url, content=None, headers={}), 5)


async def test_nobody_listens_means_never_sent() -> None:
    async with connected(answer) as (_, connections, _url):
        with pytest.raises(httpx2.ConnectError):
            await connections.request("GET", f"http://{LOOPBACK}:1", content=None, headers={})


async def test_no_connection_to_the_token_endpoint_stays_open_for_an_hour() -> None:
    """A thousand accounts would keep a thousand."""
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await reader.read()  # until the other side closes
        ended.set()
        writer.close()

    async with await asyncio.start_server(serve, LOOPBACK, 0) as server:
        made = transport_through(None, tls=ssl.create_default_context(), limits=TOKEN_LIMITS, allowed=())
        async with httpx2.AsyncClient(transport=made) as http:
            await http.get(f"http://{LOOPBACK}:{server.sockets[0].getsockname()[1]}")

            await asyncio.wait_for(ended.wait(), 5)
