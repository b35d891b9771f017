"""What holds for every request and every answer, whatever the routes do: sizes, headers, no CORS, no word of a fault.

Raw ASGI, around the whole application. Never: reading a body, deciding who may do what.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ml_connector.common.logs import get_logger

log = get_logger()

# OWASP REST Security Cheat Sheet: nothing here is a page, so nothing may be framed, run, guessed at or kept.
SECURITY_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"strict-transport-security", b"max-age=31536000"),  # a year, in seconds; ignored over plain HTTP
)
_OURS: Final = frozenset(name for name, _ in SECURITY_HEADERS)
MAX_DIGITS: Final = 15  # of a content-length; Python refuses to read thousands of them
LISTENED: Final = 4  # times the largest body: as much of one that is too large is read, and dropped
LISTENED_S: Final = 0.5


class Guard:
    """`Guard(app, max_body_bytes=...)` is the application that is served."""

    def __init__(self, app: ASGIApp, *, max_body_bytes: int) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(receive, send, self._max_body_bytes)
        refusal = self._refusal(scope)
        if refusal is None:
            refusal = await self._run(scope, exchange)
        if refusal is not None:
            if refusal.status_code == 413:
                await exchange.listen()
            await refusal(scope, receive, exchange.send_guarded)

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        if scope["method"] == "OPTIONS":
            return _problem(405, "this API is not for pages of other origins: there is no CORS, and no OPTIONS")
        for name, value in scope["headers"]:
            if name == b"content-length":
                if not value.isdigit():
                    return _problem(400, "content-length is not a number")
                if len(value) > MAX_DIGITS or int(value) > self._max_body_bytes:
                    return self._too_large()
        return None

    async def _run(self, scope: Scope, exchange: _Exchange) -> JSONResponse | None:
        """What must be answered in the application's place, if anything."""
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except ClientDisconnect:
            pass  # no fault of ours; also what a body that is too large looks like
        except Exception as error:  # the top of a request: its fault must not end the others, nor be told outside
            log.error("request_failed", path=scope["path"], exc_info=error)
            if exchange.started:
                raise  # only so does the server cut the answer off, rather than pass half of it for the whole
        if exchange.started:
            return None
        return self._too_large() if exchange.too_large else _problem(500, "a fault of this service; its log says more")

    def _too_large(self) -> JSONResponse:
        return _problem(413, f"the request is larger than {self._max_body_bytes} bytes")


class _Exchange:
    """One request and its answer. An answer to a body that was cut off, and any 500, are held back: ours are sent."""

    def __init__(self, receive: Receive, send: Send, max_body_bytes: int) -> None:
        self._receive = receive
        self._send = send
        self._max_body_bytes = max_body_bytes
        self._read_bytes = 0
        self._at_end = False
        self._held_back = False
        self.too_large = False
        self.started = False

    async def receive(self) -> Message:
        """To the application, a body that is too large looks like a client that went away."""
        message = await self._next()
        if self._read_bytes > self._max_body_bytes:
            self.too_large = True
            return {"type": "http.disconnect"}
        return message

    async def listen(self) -> None:
        """Some more of a body that is too large: a sender that is still writing would not see the answer."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LISTENED_S):
                while not self._at_end and self._read_bytes < LISTENED * self._max_body_bytes:
                    await self._next()

    async def _next(self) -> Message:
        message = await self._receive()
        self._read_bytes += len(message.get("body", b""))
        self._at_end = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._held_back = self.too_large or message["status"] == 500
            self.started = not self._held_back
        if not self._held_back:
            await self.send_guarded(message)

    async def send_guarded(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            kept = [(name, value) for name, value in message.get("headers", ()) if not _replaced(name.lower())]
            message = {**message, "headers": [*kept, *SECURITY_HEADERS]}
        await self._send(message)


def _replaced(name: bytes) -> bool:
    return name in _OURS or name.startswith(b"access-control-")


def _problem(status: int, text: str) -> JSONResponse:
    return JSONResponse({"problem": text, "details": []}, status_code=status)
