"""What the receiver does when the Kafka client has given up for good. (What a broker can be made to do: tests/chaos.)"""

from __future__ import annotations

from typing import Any, cast

from ml_connector.common.clock import ManualClock
from ml_connector.common.credentials import BasicKey, WebhookBasic
from ml_connector.common.errors import DeliveryFailed, Fenced, MustStop, QueueFull
from ml_connector.common.kafka.producer import Done, Producer
from ml_connector.ingest.doors import Door, Doors
from ml_connector.ingest.http.answer import Answer
from ml_connector.ingest.http.connection import Connection
from ml_connector.ingest.http.request import Request
from ml_connector.ingest.publish import Publisher
from ml_connector.ingest.receive import Receiver
from ml_connector.ingest.verify import BasicProof

PAIR = WebhookBasic(keys=(BasicKey(id="k", user="a", password="b"),))
HEADERS = [(b"authorization", b"Basic YTpi"), (b"content-length", b"2")]


class OneDoor:
    def __init__(self) -> None:
        self.door = Door("f", (BasicProof.of(PAIR),), (), None, b"c", {})

    def find(self, name: str) -> Door:
        return self.door


class Answers:
    """The connection: what it was given to send."""

    def __init__(self) -> None:
        self.statuses: list[int] = []

    def answer(self, _: Request, answer: Answer) -> None:
        self.statuses.append(answer.status)

    def answer_within(self, _: float) -> None: ...


class SomeProducer:
    """Raises what it is given at once, or says later what becomes of a message."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error
        self.done: list[Done] = []

    def post(self, done: Done, *_: Any, **__: Any) -> None:
        if self._error is not None:
            raise self._error
        self.done.append(done)


class Delivering:
    def __init__(self, producer: SomeProducer) -> None:
        self.given_up: list[MustStop] = []
        self.doors = OneDoor()
        self.answers = Answers()
        self.producer = producer
        publisher = Publisher(cast(Producer, producer), prefix="")
        receiver = Receiver(cast(Doors, self.doors), publisher, ManualClock(), self.given_up.append, ack_deadline_s=1)
        receiver.ready = True
        path = "/webhooks/pipedrive/f"
        self.request = Request(cast(Connection, self.answers), "POST", path, HEADERS)
        assert receiver.admit(self.request) is None
        self.request.body = b"{}"
        receiver.accept(self.request)


async def test_fenced_producer_is_503_and_the_process_gives_up() -> None:
    fenced = Fenced("another producer has taken over")

    delivering = Delivering(SomeProducer(fenced))

    assert delivering.answers.statuses == [503]
    assert delivering.given_up == [fenced]


async def test_full_queue_is_503_and_passes() -> None:
    delivering = Delivering(SomeProducer(QueueFull("too many messages", after_s=1.0)))

    assert delivering.answers.statuses == [503]
    assert delivering.given_up == []


async def test_nothing_is_answered_before_the_broker_has_it() -> None:
    delivering = Delivering(SomeProducer())
    before = list(delivering.answers.statuses)

    delivering.producer.done[0](None, cast(Any, None))

    assert (before, delivering.answers.statuses) == ([], [204])
    assert delivering.doors.door.counts.accepted == 1


async def test_what_the_broker_says_too_late_changes_nothing() -> None:
    """Pipedrive was told to send it again; that delivery is counted when it is stored."""
    delivering = Delivering(SomeProducer())
    assert delivering.request.late is not None

    delivering.request.late()
    delivering.producer.done[0](None, cast(Any, None))
    delivering.producer.done[0](DeliveryFailed("no", after_s=1.0), cast(Any, None))

    assert delivering.answers.statuses == [503]
    assert (delivering.doors.door.counts.accepted, delivering.doors.door.counts.unavailable) == (0, 1)
