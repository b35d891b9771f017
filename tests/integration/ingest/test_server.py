"""The HTTP server by itself, over real sockets: who may stay, what is kept of whom, what becomes of odd senders."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

from ml_connector.ingest.http.answer import Answer, answer
from ml_connector.ingest.http.connection import HEAD
from ml_connector.ingest.http.request import Request
from ml_connector.ingest.http.server import Limits, Server
from support.sockets import statuses
from support.writing import until

LIMITS = Limits(body_bytes=100_000, buffered_bytes=150_000, head_deadline_s=30, body_deadline_s=30, connections=100)
LARGE = 8 * 1024 * 1024


class Echo:
    """Says what it was sent; 204 at `/good`, a large text at `/large`, nothing yet at `/held`."""

    def __init__(self) -> None:
        self.held: list[Request] = []

    def admit(self, request: Request) -> Answer | None:
        return answer(404) if request.path == "/refused" else None

    def accept(self, request: Request) -> None:
        if request.path == "/held":
            self.held.append(request)
        elif request.path == "/broken":
            raise ValueError
        else:
            bodies = {"/good": b"", "/large": b"x" * LARGE}
            request.answer(answer(204 if request.path == "/good" else 200, bodies.get(request.path, request.body)))

    def answered(self, request: Request, answer: Answer, took_s: float) -> None: ...


@contextlib.asynccontextmanager
async def serving(limits: Limits = LIMITS) -> AsyncIterator[tuple[Server, Echo]]:
    echo = Echo()
    server = Server(echo, limits, host="127.0.0.1", port=0)
    server.start()
    try:
        yield server, echo
    finally:
        server.close()


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def of(cls, server: Server) -> Client:
        return cls(*await asyncio.open_connection("127.0.0.1", server.port))

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        self.writer.write(request)
        return await self.heard()

    async def heard(self) -> tuple[int, bytes]:
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 10)
        length = [line for line in head.split(b"\r\n") if line.startswith(b"content-length: ")]
        body = await self.reader.readexactly(int(length[0].split()[1])) if length else b""
        return statuses(head)[0], body

    async def is_ended(self) -> bool:
        with contextlib.suppress(ConnectionError):
            return await asyncio.wait_for(self.reader.read(), 10) == b""
        return True


def post(path: str, body: bytes = b"", *more: bytes) -> bytes:
    head = [b"POST %s HTTP/1.1" % path.encode(), b"content-length: %d" % len(body), *more, b"", b""]
    return b"\r\n".join(head) + body


async def test_whole_requests_are_answered_over_one_connection() -> None:
    async with serving() as (server, _):
        client = await Client.of(server)

        assert await client.ask(post("/", b"one")) == (200, b"one")
        assert await client.ask(post("/good")) == (204, b"")
        assert await client.ask(post("/refused", b"x" * 1000)) == (404, b"")
        assert await client.ask(post("/", b"two")) == (200, b"two")


async def test_a_request_byte_by_byte_is_the_same_request() -> None:
    async with serving() as (server, _):
        client = await Client.of(server)
        for byte in post("/", b"slowly"):
            client.writer.write(bytes([byte]))
            await client.writer.drain()
            await asyncio.sleep(0)

        assert await client.heard() == (200, b"slowly")


async def test_pipelined_requests_wait_for_the_one_before() -> None:
    async with serving() as (server, echo):
        client = await Client.of(server)
        client.writer.write(post("/held") + post("/", b"second") + post("/", b"third")[:-2])
        await until(lambda: _true(bool(echo.held)))
        client.writer.write(b"rd")
        echo.held[0].answer(answer(200, b"first"))

        assert [await client.heard() for _ in range(3)] == [(200, b"first"), (200, b"second"), (200, b"third")]


async def test_behind_a_body_in_chunks_nothing_is_answered_and_that_is_said() -> None:
    """Where it ends is known, but not where in the bytes."""
    async with serving() as (server, _):
        client = await Client.of(server)
        chunked = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"

        assert await client.ask(chunked) == (200, b"abc")
        client.writer.write(chunked + post("/"))
        head = await client.reader.readuntil(b"\r\n\r\n")
        assert b"connection: close" in head
        assert await client.reader.read() == b"abc"


async def test_who_ends_the_sending_side_still_gets_the_answer() -> None:
    async with serving() as (server, echo):
        client = await Client.of(server)
        client.writer.write(post("/held"))
        client.writer.write_eof()
        await until(lambda: _true(bool(echo.held)))
        echo.held[0].answer(answer(200, b"late"))

        assert await client.heard() == (200, b"late")
        assert await client.is_ended()


async def test_an_answer_that_is_read_slowly_is_whole() -> None:
    async with serving() as (server, _):
        client = await Client.of(server)
        client.writer.write(post("/large") + post("/", b"next"))

        assert len((await client.heard())[1]) == LARGE
        assert await client.heard() == (200, b"next")


async def test_a_handler_that_fails_is_503_for_that_request_alone() -> None:
    async with serving() as (server, _):
        broken, other = await Client.of(server), await Client.of(server)

        assert (await broken.ask(post("/broken")))[0] == 503
        assert await broken.is_ended()
        assert await other.ask(post("/", b"x")) == (200, b"x")


async def test_when_there_is_no_room_the_stranger_that_came_first_goes() -> None:
    """Who has sent a good request stays."""
    async with serving(replace(LIMITS, connections=3)) as (server, _):
        good, first, second = [await Client.of(server) for _ in range(3)]
        await good.ask(post("/good"))
        await first.ask(post("/refused"))
        third = await Client.of(server)

        assert (await third.ask(post("/good")))[0] == 204
        assert await first.is_ended()
        assert (await second.ask(post("/good")))[0] == 204
        assert (await good.ask(post("/good")))[0] == 204


async def test_when_nobody_can_go_newcomers_wait_until_somebody_does() -> None:
    async with serving(replace(LIMITS, connections=2)) as (server, echo):
        busy: list[Client] = []
        while not server._full:
            busy.append(await Client.of(server))
            busy[-1].writer.write(post("/held"))
            await until(lambda: _true(len(echo.held) == len(busy)))
        newcomer = await Client.of(server)
        newcomer.writer.write(post("/", b"patient"))
        assert len(server._connections) == len(busy)

        for request in echo.held:
            request.answer(answer(204))
        for client in busy:
            client.writer.close()
        assert await newcomer.heard() == (200, b"patient")


async def test_heads_that_are_not_whole_have_a_bound_together() -> None:
    """Of 300 that have begun 20 KB each, the first are ended; a head that comes whole is not kept from it."""
    begun = b"POST / HTTP/1.1\r\nx: " + b"y" * 20_000
    async with serving(replace(LIMITS, connections=1000)) as (server, _):
        strangers = [await Client.of(server) for _ in range(300)]
        for stranger in strangers:
            stranger.writer.write(begun)
        assert await strangers[0].is_ended()

        assert (await (await Client.of(server)).ask(post("/good")))[0] == 204
        assert await strangers[-1].ask(b"\r\ncontent-length: 2\r\n\r\nok") == (200, b"ok")


async def test_bodies_have_a_bound_together() -> None:
    async with serving() as (server, _):
        clients = [await Client.of(server) for _ in range(2)]
        for client in clients:
            client.writer.write(post("/", b"x" * 90_000)[:-1])

        refused = await asyncio.wait(
            [asyncio.create_task(client.heard()) for client in clients], return_when=asyncio.FIRST_COMPLETED
        )

        assert [task.result()[0] for task in refused[0]] == [503]
        for task in refused[1]:
            task.cancel()


async def test_deadlines_end_who_does_not_go_on() -> None:
    limits = replace(LIMITS, head_deadline_s=0.1, body_deadline_s=0.1)
    async with serving(limits) as (server, _):
        silent, begun, slow = [await Client.of(server) for _ in range(3)]
        begun.writer.write(b"POST / HT")
        slow.writer.write(post("/", b"body")[:-1])

        assert (await slow.heard())[0] == 408
        assert [await client.is_ended() for client in (silent, begun, slow)] == [True] * 3


async def test_between_requests_only_the_socket_is_kept() -> None:
    async with serving() as (server, _):
        client = await Client.of(server)
        for _ in range(3):
            await client.ask(post("/", b"x" * 50_000))

        (connection,) = server._connections.values()
        assert connection.phase == HEAD
        assert (connection._parser, connection._request, connection._came, server.buffered) == (None, None, b"", 0)


async def _true(value: bool) -> bool:
    return value
