"""What stands before the replicas of a service, as a Kubernetes Service does: connections go to those that are ready."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any, Final, Self
from urllib.parse import urlsplit

import httpx2

LOOK_S: Final = 0.2
CHUNK: Final = 65_536


class Balancer:
    """`async with Balancer(urls) as balancer:`, by replica. It knows TCP only: what is cut behind it is cut before it."""

    def __init__(self, urls: Mapping[str, str]) -> None:
        self._urls = urls
        self._out: set[str] = set()
        self._ready: list[str] = []
        self._turn = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        self._http = httpx2.AsyncClient(timeout=2)
        await self._look()
        self._looking = asyncio.create_task(self._keep_looking())
        return self

    async def __aexit__(self, *error: Any) -> None:
        self._server.close()
        for task in (self._looking, *self._tasks):
            task.cancel()
        await asyncio.gather(self._looking, *self._tasks, return_exceptions=True)
        await self._http.aclose()

    def take_out(self, name: str) -> None:
        """It gets no new connection, as a pod that shall end."""
        self._out.add(name)

    def put_back(self, name: str) -> None:
        self._out.discard(name)

    async def _keep_looking(self) -> None:
        while True:
            await self._look()
            await asyncio.sleep(LOOK_S)

    async def _look(self) -> None:
        ready = []
        for name in sorted(self._urls):
            with contextlib.suppress(httpx2.HTTPError):
                if (await self._http.get(f"{self._urls[name]}/readyz")).status_code == 200:
                    ready.append(name)
        self._ready = ready

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            back_reader, back_writer = await self._connect()
            await asyncio.gather(_pass_on(reader, back_writer), _pass_on(back_reader, writer))
        except (OSError, asyncio.CancelledError):  # the latter only at the end, where nobody waits for this task
            writer.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """To the next one that takes it. Raises OSError when none does."""
        names = [name for name in self._ready if name not in self._out]
        self._turn += 1
        for step in range(len(names)):
            place = urlsplit(self._urls[names[(self._turn + step) % len(names)]])
            with contextlib.suppress(ConnectionRefusedError):
                return await asyncio.open_connection(place.hostname, place.port)
        raise ConnectionRefusedError("no replica is ready")


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while chunk := await reader.read(CHUNK):
            writer.write(chunk)
            await writer.drain()
    except OSError:
        writer.transport.abort()
    finally:
        writer.close()
