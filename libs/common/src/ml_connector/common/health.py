"""Liveness and readiness over HTTP for services that have no web framework of their own.

`/livez`: the process makes progress; never asks the broker (a broker outage must not restart everything).
`/readyz`: it may be given work. 200 `ok` or 503 with the reason; anything else is 404.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

# None: fine. A text: what is missing.
Check = Callable[[], str | None]

READ_DEADLINE_S: Final = 5.0  # a probe sends its few bytes at once


class HealthServer:
    """Answers two paths on one port, one request per connection."""

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
            writer.write(self._answer(head))
            await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            pass  # a probe that does not speak HTTP, or has gone: nothing to answer
        finally:
            writer.close()

    def _answer(self, head: bytes) -> bytes:
        parts = head.split(b" ", 2)
        check = self._checks.get(parts[1].decode("ascii", "replace")) if len(parts) == 3 else None
        if check is None:
            return _response(HTTPStatus.NOT_FOUND, "not found")
        problem = check()
        return _response(HTTPStatus.OK, "ok") if problem is None else _response(HTTPStatus.SERVICE_UNAVAILABLE, problem)


def _response(status: HTTPStatus, text: str) -> bytes:
    body = f"{text}\n".encode()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: text/plain; charset=utf-8\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body
