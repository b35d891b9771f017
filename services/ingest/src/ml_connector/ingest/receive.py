"""Read one delivery within its limits and answer it: the hot route, raw ASGI.

Never: decoding the body, answering 2xx before the broker has it, answering 401 for a fault of ours.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, Final

from opentelemetry.trace import SpanKind

from ml_connector.common import measuring, metrics, telemetry
from ml_connector.common.clock import Clock
from ml_connector.common.errors import MustStop, TryLater
from ml_connector.common.logs import get_logger
from ml_connector.common.timeouts import Timeouts
from ml_connector.ingest.address import FORWARDED_FOR, Network, client_address
from ml_connector.ingest.doors import Door, Doors
from ml_connector.ingest.publish import Publisher
from ml_connector.ingest.stamp import incoming_trace, stamp
from ml_connector.ingest.verify import refused_for, verified_by

log = get_logger()

RequestHeaders = dict[bytes, bytes]  # of a doubled one the last: what proves something is looked up in the list
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

PATH: Final = "/webhooks/pipedrive/"
RETRY_AFTER_S: Final = 5
LISTENED: Final = 4  # times the largest body: as much of a body that is too large is read, and dropped
LISTENED_S: Final = 0.5


class Refusal(Exception):
    """An answer that is not 204; the text says what, never quoting the request."""

    def __init__(self, status: int, text: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.headers = headers


SILENT: Final = (b"server", b"")  # else the server names itself
CLOSE: Final = ((b"connection", b"close"),)
ACCEPTED: Final = {"type": "http.response.start", "status": 204, "headers": [SILENT]}
LAST_ACCEPTED: Final = {"type": "http.response.start", "status": 204, "headers": [SILENT, *CLOSE]}
NO_BODY: Final = {"type": "http.response.body", "body": b""}
UNAVAILABLE_HEADERS: Final = ((b"retry-after", b"%d" % RETRY_AFTER_S),)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes and seconds. `buffered`: of all bodies that are being received together."""

    body_bytes: int
    buffered_bytes: int
    body_deadline_s: float
    trusted_proxies: tuple[Network, ...] = ()


class Receiver:
    """`POST /webhooks/pipedrive/{flow}`."""

    def __init__(
        self, doors: Doors, publisher: Publisher, clock: Clock, limits: Limits, give_up: Callable[[MustStop], None]
    ) -> None:
        """`give_up`: hears that this process will not publish any more."""
        self._give_up = give_up
        self._doors = doors
        self._publisher = publisher
        self._clock = clock
        self._limits = limits
        self._body_timeouts = Timeouts(limits.body_deadline_s)
        self._buffered = 0
        self.in_flight = 0
        self.answering_s = 0.0  # of all requests together
        self.ready = False
        self.stopping = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.in_flight += 1
        began_s = self._clock.monotonic_s()
        try:
            await self._accept(scope, receive)
            measuring.count(metrics.ANSWERS, "204")
            await send(LAST_ACCEPTED if self.stopping else ACCEPTED)
            await send(NO_BODY)
        except Refusal as refusal:
            measuring.count(metrics.ANSWERS, str(refusal.status))
            await _answer(send, refusal.status, refusal.text, (*refusal.headers, *self._farewell()))
        finally:
            self.in_flight -= 1
            self.answering_s += self._clock.monotonic_s() - began_s

    def _farewell(self) -> tuple[tuple[bytes, bytes], ...]:
        """Once it is stopping, no second request shall come over a connection that will be closed."""
        return CLOSE if self.stopping else ()

    async def _accept(self, scope: Scope, receive: Receive) -> None:
        received_at_ms = self._clock.now_ms()
        door = self._door(scope)
        headers: RequestHeaders = dict(scope["headers"])
        body = await self._body(headers, receive)
        if door.problem is not None:
            door.counts.turn_away(received_at_ms)
            raise Refusal(503, "this flow is not ready", UNAVAILABLE_HEADERS)
        proof = verified_by(door.proofs, scope["headers"], body)
        if proof is None:
            door.counts.refuse(refused_for(door.proofs, scope["headers"], body), received_at_ms)
            raise Refusal(401, "not signed as this flow demands")
        trace = incoming_trace(scope["headers"]) if b"traceparent" in headers else None
        with telemetry.span("receive webhook", SpanKind.SERVER, parent=trace) as span:
            stamped = stamp(
                door,
                verified_by=proof,
                received_at_ms=received_at_ms,
                content_type=headers.get(b"content-type", b""),
                traceparent=span.traceparent,
            )
            try:
                await self._publisher.publish(door.key, body, stamped)
            except (TryLater, MustStop) as error:
                door.counts.turn_away(received_at_ms)
                if isinstance(error, MustStop):
                    self._give_up(error)
                log.warning("not_published", flow=door.flow, problem=str(error))
                raise Refusal(503, "not stored, please send again", UNAVAILABLE_HEADERS) from error
        door.counts.accepted += 1
        door.counts.accepted_ms = received_at_ms

    def _door(self, scope: Scope) -> Door:
        if scope["method"] != "POST":
            raise Refusal(405, "use POST", ((b"allow", b"POST"),))
        if not self.ready:
            raise Refusal(503, "starting", UNAVAILABLE_HEADERS)
        door = self._doors.find(scope["path"][len(PATH) :])
        if door is None or not self._may_come(door, scope):  # a stranger does not learn which flows there are
            raise Refusal(404, "no such flow")
        return door

    def _may_come(self, door: Door, scope: Scope) -> bool:
        if not door.allow_from:
            return True
        forwarded = [value for name, value in scope["headers"] if name == FORWARDED_FOR]
        address = client_address(scope["client"][0], forwarded, self._limits.trusted_proxies)
        if address is not None and any(address in network for network in door.allow_from):
            return True
        door.counts.refuse("address", self._clock.now_ms())
        return False

    async def _body(self, headers: RequestHeaders, receive: Receive) -> bytes:
        """The whole body, while it stays within size and time."""
        declared = _declared_length(headers)
        if headers.get(b"content-encoding", b"identity") != b"identity":
            raise Refusal(415, "send the body as it is, without a content-encoding")
        try:
            with self._body_timeouts.limit():
                if declared is not None and declared > self._limits.body_bytes:
                    await self._refuse_large(receive, 0)
                return await self._read(receive)
        except TimeoutError:
            raise Refusal(408, "the body took too long", CLOSE) from None

    async def _read(self, receive: Receive) -> bytes:
        chunks: list[bytes] = []
        size = 0
        try:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Refusal(400, "the body ended early")
                chunk = message.get("body", b"")
                size += len(chunk)
                self._buffered += len(chunk)
                if size > self._limits.body_bytes:
                    chunks.clear()
                    await self._refuse_large(receive, size)
                if self._buffered > self._limits.buffered_bytes:
                    raise Refusal(503, "too many bodies at once, please send again", (*UNAVAILABLE_HEADERS, *CLOSE))
                if not message.get("more_body"):
                    return b"".join([*chunks, chunk]) if chunks else chunk
                chunks.append(chunk)
        finally:
            self._buffered -= size

    async def _refuse_large(self, receive: Receive, size: int) -> None:
        """413, after some more of the body: a sender that is still writing would not see the answer."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LISTENED_S):
                while size < LISTENED * self._limits.body_bytes:
                    message = await receive()
                    size += len(message.get("body", b""))
                    if message["type"] == "http.disconnect" or not message.get("more_body"):
                        break
        raise Refusal(413, "the body is too large", CLOSE)


def _declared_length(headers: RequestHeaders) -> int | None:
    """None: the body comes in chunks. (With both headers the server has dropped the length, as RFC 9112 says.)"""
    length = headers.get(b"content-length", b"")
    if not length and b"transfer-encoding" not in headers:
        raise Refusal(411, "send a content-length")
    return int(length) if length.isdigit() else None


async def _answer(send: Send, status: int, text: str, headers: tuple[tuple[bytes, bytes], ...]) -> None:
    body = f"{text}\n".encode()
    content = ((b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": [SILENT, *content, *headers]})
    await send({"type": "http.response.body", "body": body})
