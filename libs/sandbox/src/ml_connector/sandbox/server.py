"""Serve answers over HTTP, good ones and broken ones: a stand-in must be able to fail as networks do."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
import struct
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestHandler

from ml_connector.common.interpreter import prefer_latency
from ml_connector.common.signals import set_by_signal
from ml_connector.sandbox.web import Reply, Request

MAX_BODY_BYTES: Final = 104 * 1024 * 1024  # Oracle chapter_161251386312
_RESET: Final = struct.pack("ii", 1, 0)  # linger for 0 s: close() sends RST


@dataclass(frozen=True, slots=True)
class Broken:
    """An answer that does not arrive as it should. `reset`: nothing arrives, the connection is reset."""

    how: Literal["reset", "slow", "truncated"]
    reply: Reply
    delay_s: float = 0.0


Answer = Callable[[Request], Awaitable[Reply | Broken]]


class Server:
    """`answer` decides; this reads and writes."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    async def handle(self, incoming: web.BaseRequest) -> web.StreamResponse:
        found = await self._answer(await _read(incoming))
        if isinstance(found, Reply):
            return _response(found)
        if found.how == "reset":
            _reset(incoming)
            return web.Response()  # goes nowhere
        return await _send_broken(incoming, found)


async def serve(
    answer: Answer, *, host: str, port: int, ready_file: Path | None, name: str, tls: ssl.SSLContext | None = None
) -> None:
    """Serve until SIGTERM or SIGINT; says where, once it listens. Ends the process when the port is taken."""
    stop = set_by_signal(asyncio.Event())
    server = web.Server(Server(answer).handle, request_factory=_large_request, access_log=None)
    runner = web.ServerRunner(server)
    await runner.setup()
    site = web.TCPSite(runner, host, port, ssl_context=tls, backlog=2048, shutdown_timeout=1.0)
    try:
        await site.start()
    except OSError as error:
        await runner.cleanup()
        raise SystemExit(
            f"cannot listen on {host}:{port}: {os.strerror(error.errno or 0).lower()}; choose another port, or 0"
        ) from error
    bound = runner.addresses[0][1]
    facts = json.dumps({"name": name, "url": f"{'https' if tls else 'http'}://{host}:{bound}"})
    prefer_latency()
    sys.stdout.write(facts + "\n")
    sys.stdout.flush()
    if ready_file is not None:
        partial = ready_file.with_suffix(".partial")
        partial.write_text(facts)
        partial.rename(ready_file)
    await stop.wait()
    await runner.cleanup()


def _large_request(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: RequestHandler,
    writer: AbstractStreamWriter,
    task: asyncio.Task[None],
) -> web.BaseRequest:
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=MAX_BODY_BYTES)


async def _read(incoming: web.BaseRequest) -> Request:
    return Request(
        incoming.method,
        incoming.rel_url.path,
        dict(incoming.rel_url.query),
        {name.lower(): value for name, value in incoming.headers.items()},
        await incoming.read() if incoming.can_read_body else b"",
        f"{incoming.scheme}://{incoming.host}{incoming.raw_path}",
    )


def _response(reply: Reply) -> web.Response:
    return web.Response(status=reply.status, body=reply.body or None, headers=dict(reply.headers))


def _reset(incoming: web.BaseRequest) -> None:
    transport = incoming.transport
    if transport is None:
        return
    connection: socket.socket | None = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    transport.abort()


async def _send_broken(incoming: web.BaseRequest, broken: Broken) -> web.StreamResponse:
    """Half of the body, a pause, then the other half or never."""
    body = broken.reply.body or b"{}"
    half = len(body) // 2
    response = web.StreamResponse(
        status=broken.reply.status, headers={**broken.reply.headers, "content-length": str(len(body))}
    )
    await response.prepare(incoming)
    await response.write(body[:half])
    await asyncio.sleep(broken.delay_s)
    if broken.how == "truncated":
        _reset(incoming)
        return response
    await response.write(body[half:])
    await response.write_eof()
    return response
