"""What is not the hot route is an ASGI application's: it gets whole requests, and its answers are sent whole."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from ml_connector.common.logs import get_logger
from ml_connector.ingest.http.answer import Answer, answer
from ml_connector.ingest.http.connection import BROKEN
from ml_connector.ingest.http.request import Request

log = get_logger()

Message = MutableMapping[str, Any]
Application = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]

VERSION: Final = {"version": "3.0", "spec_version": "2.4"}


class Asgi:
    """A handler for `Server`."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._tasks: set[asyncio.Task[None]] = set()

    def admit(self, request: Request) -> Answer | None:
        return None

    def accept(self, request: Request) -> None:
        task = asyncio.get_running_loop().create_task(self._answer(request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, request: Request) -> None:
        exchange = _Exchange(request)
        try:
            await self._application(exchange.scope(), exchange.receive, exchange.send)
        except Exception as error:  # one request is no reason to end the process
            log.exception("not_handled", kind=type(error).__name__)
        request.answer(exchange.answer())


class _Exchange:
    def __init__(self, request: Request) -> None:
        self._request = request
        self._given = False
        self._start: Message | None = None
        self._pieces: list[bytes] = []

    def scope(self) -> Message:
        request = self._request
        return {
            "type": "http", "asgi": VERSION, "http_version": request.version, "method": request.method,
            "scheme": "http", "path": request.path, "raw_path": request.path.encode(), "root_path": "",
            "query_string": request.query, "headers": request.headers, "client": (request.peer(), 0), "server": None,
        }  # fmt: skip

    async def receive(self) -> Message:
        if self._given:
            await asyncio.Event().wait()  # it will not hear of a disconnection; its answer is dropped then
        self._given = True
        return {"type": "http.request", "body": self._request.body, "more_body": False}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
        else:
            self._pieces.append(message.get("body", b""))

    def answer(self) -> Answer:
        if self._start is None:
            return BROKEN
        return answer(self._start["status"], b"".join(self._pieces), self._start.get("headers", ()))
