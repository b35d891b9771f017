"""Judge one delivery and answer it: the hot route.

Never: decoding the body, answering 2xx before the broker has it, answering 401 for a fault of ours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from confluent_kafka import Message

from ml_connector.common import spans
from ml_connector.common.clock import Clock
from ml_connector.common.errors import ConnectorError, DeliveryFailed, MustStop, TryLater
from ml_connector.common.kafka.record import place_of
from ml_connector.common.logs import get_logger
from ml_connector.common.telemetry import Carried
from ml_connector.common.traceparent import trace_id
from ml_connector.ingest.address import FORWARDED_FOR, Network, client_address
from ml_connector.ingest.doors import Door, Doors
from ml_connector.ingest.http.answer import Answer, answer, refusal
from ml_connector.ingest.http.request import Request
from ml_connector.ingest.publish import Publisher
from ml_connector.ingest.stamp import incoming_trace, stamp
from ml_connector.ingest.verify import refused_for, verified_by

log = get_logger()

PATH: Final = "/webhooks/pipedrive/"
PUSH_PATH: Final = "/webhooks/netsuite/"
RETRY_AFTER: Final = (b"retry-after", b"5")

ACCEPTED: Final = answer(204)
UNPROVED: Final = refusal(401, "not signed as this flow demands")
UNKNOWN: Final = refusal(404, "no such flow")
NO_POST: Final = refusal(405, "use POST", (b"allow", b"POST"))
NO_LENGTH: Final = refusal(411, "send a content-length")
LARGE: Final = refusal(413, "the body is too large")
ENCODED: Final = refusal(415, "send the body as it is, without a content-encoding")
STARTING: Final = refusal(503, "starting", RETRY_AFTER)
NOT_READY: Final = refusal(503, "this flow is not ready", RETRY_AFTER)
NOT_STORED: Final = refusal(503, "not stored, please send again", RETRY_AFTER)


class Receiver:
    """`POST <path>{flow}`, a handler for the HTTP server."""

    def __init__(
        self,
        doors: Doors,
        publisher: Publisher,
        clock: Clock,
        give_up: Callable[[MustStop], None],
        *,
        ack_deadline_s: float,
        trusted_proxies: tuple[Network, ...] = (),
        path: str = PATH,
        most_bytes: int | None = None,
    ) -> None:
        """`give_up`: hears that this process will not publish any more. `most_bytes`: fewer than the server takes."""
        self._path = path
        self._route = f"{path}{{flow}}"
        self._most_bytes = most_bytes
        self._give_up = give_up
        self._clock = clock
        self._publisher = publisher
        self._ack_deadline_s = ack_deadline_s
        self._doors = doors
        self._trusted = trusted_proxies
        self.ready = False

    def admit(self, request: Request) -> Answer | None:
        if request.method != "POST":
            return NO_POST
        if not self.ready:
            return STARTING
        door = self._doors.find(request.path[len(self._path) :])
        if door is None or not self._may_come(door, request):  # a stranger does not learn which flows there are
            return UNKNOWN
        measured = False
        for name, value in request.headers:
            if name in (b"content-length", b"transfer-encoding"):
                measured = True
            elif name == b"content-encoding" and value != b"identity":
                return ENCODED
        return None if measured else NO_LENGTH

    def accept(self, request: Request) -> None:
        received_at_ms = self._clock.now_ms()
        door = self._doors.find(request.path[len(self._path) :])
        if door is None:
            request.answer(UNKNOWN)
        elif self._most_bytes is not None and len(request.body) > self._most_bytes:
            request.answer(LARGE)
        elif door.problem is not None:
            door.counts.turn_away(received_at_ms)
            request.answer(NOT_READY)
        elif (proof := verified_by(door.proofs, request.headers, request.body)) is None:
            door.counts.refuse(refused_for(door.proofs, request.headers, request.body), received_at_ms)
            request.answer(UNPROVED)
        else:
            self._publish(request, door, proof, received_at_ms)

    def _publish(self, request: Request, door: Door, proof: str, received_at_ms: int) -> None:
        span = spans.webhook(self._route, door.flow, incoming_trace(request.headers))
        sending = spans.sending(self._publisher.topic, parent=span.traceparent)
        stamped = stamp(
            door,
            verified_by=proof,
            received_at_ms=received_at_ms,
            content_type=request.header(b"content-type") or b"",
            traceparent=sending.traceparent,
        )
        delivery = Delivery(request, door, (span, sending), received_at_ms, self._give_up)
        request.wait(self._ack_deadline_s, delivery.late)
        try:
            self._publisher.publish(door.key, request.body, stamped, delivery.stored)
        except (TryLater, MustStop) as error:
            delivery.failed(error)

    def _may_come(self, door: Door, request: Request) -> bool:
        if not door.allow_from:
            return True
        forwarded = [value for name, value in request.headers if name == FORWARDED_FOR]
        address = client_address(request.peer(), forwarded, self._trusted)
        if address is not None and any(address in network for network in door.allow_from):
            return True
        door.counts.refuse("address", self._clock.now_ms())
        return False


class Delivery:
    """A verified one on its way to the broker. It ends once; what the broker says later changes nothing."""

    __slots__ = ("_door", "_give_up", "_received_at_ms", "_request", "_sending", "_span")

    def __init__(
        self,
        request: Request,
        door: Door,
        traced: tuple[Carried, Carried],
        received_at_ms: int,
        give_up: Callable[[MustStop], None],
    ) -> None:
        self._request: Request | None = request
        self._door = door
        self._span, self._sending = traced
        self._received_at_ms = received_at_ms
        self._give_up = give_up

    def stored(self, error: ConnectorError | None, message: Message) -> None:
        if error is not None:
            self.failed(error)
        elif self._request is not None:
            counts = self._door.counts
            counts.accepted += 1
            counts.accepted_ms = self._received_at_ms
            if self._sending.recording:
                spans.sent(self._sending, *place_of(message)[1:])
            self._end(self._request, ACCEPTED)

    def late(self) -> None:
        self.failed(DeliveryFailed("the broker did not acknowledge in time", after_s=1.0))

    def failed(self, error: ConnectorError) -> None:
        if self._request is None:
            return
        self._door.counts.turn_away(self._received_at_ms)
        if isinstance(error, MustStop):
            self._give_up(error)
        trace = trace_id(self._span.traceparent)
        log.warning("not_published", flow=self._door.flow, problem=str(error), trace_id=trace)
        self._sending.fail(type(error).__name__)
        self._end(self._request, NOT_STORED)

    def _end(self, request: Request, answered: Answer) -> None:
        self._request = None
        self._sending.end()
        spans.told(self._span, answered.status)
        self._span.end()
        request.answer(answered)
