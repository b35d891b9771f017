"""Liveness, readiness and metrics over HTTP, beside whatever else a service serves.

`/livez`: the process makes progress; never asks the broker (a broker outage must not restart everything).
`/readyz`: it may be given work. 200 `ok` or 503 with the reason. `/metrics`: for Prometheus. Anything else is 404.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final

from ml_connector.common import measuring
from ml_connector.common.logs import get_logger
from ml_connector.common.settings import Settings

log = get_logger()

# None: fine. A text: what is missing.
Check = Callable[[], str | None]

READ_DEADLINE_S: Final = 5.0  # a probe sends its few bytes at once


class HealthServer:
    """Answers three paths on one port, one request per connection."""

    def __init__(self, host: str, port: int, *, live: Check, ready: Check) -> None:
        self._host = host
        self._port = port
        self._checks = {"/livez": live, "/readyz": ready}
        self._server: asyncio.Server | None = None

    async def start(self) -> int:
        """Listen; the port, which differs from the given one if that was 0."""
        self._server = await asyncio.start_server(self._serve, self._host, self._port, limit=8192)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), READ_DEADLINE_S)
            writer.write(await self._answer(head))
            await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            pass  # a probe that does not speak HTTP, or has gone: nothing to answer
        finally:
            writer.close()

    async def _answer(self, head: bytes) -> bytes:
        parts = head.split(b" ", 2)
        path = parts[1].decode("ascii", "replace") if len(parts) == 3 else ""
        if path == "/metrics":
            return _response(HTTPStatus.OK, await asyncio.to_thread(measuring.exposition), measuring.CONTENT_TYPE)
        check = self._checks.get(path)
        if check is None:
            return _response(HTTPStatus.NOT_FOUND, b"not found\n")
        problem = check()
        if problem is None:
            return _response(HTTPStatus.OK, b"ok\n")
        return _response(HTTPStatus.SERVICE_UNAVAILABLE, f"{problem}\n".encode())


@asynccontextmanager
async def serving_metrics(settings: Settings, *, ready: Check) -> AsyncIterator[None]:
    """On a port of their own, for who serves strangers on the other; nothing where none is set."""
    if settings.metrics_port is None:
        yield
        return
    server = HealthServer(settings.http_host, settings.metrics_port, live=lambda: None, ready=ready)
    log.info("serving_metrics", host=settings.http_host, port=await server.start())
    try:
        yield
    finally:
        await server.close()


def _response(status: HTTPStatus, body: bytes, content_type: str = "text/plain; charset=utf-8") -> bytes:
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: {content_type}\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body
