"""What the receiver does when the Kafka client has given up for good. (What a broker can be made to do: tests/chaos.)"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from ml_connector.common.clock import ManualClock
from ml_connector.common.credentials import BasicKey, WebhookBasic
from ml_connector.common.directory import Directory, LiveFlow
from ml_connector.common.errors import Fenced, MustStop, QueueFull, SecretUnreadable
from ml_connector.common.flows import parse_flow
from ml_connector.common.kafka.producer import Producer
from ml_connector.ingest.doors import Door, Doors
from ml_connector.ingest.publish import Publisher
from ml_connector.ingest.receive import Limits, Receiver
from ml_connector.ingest.verify import BasicProof
from support.office import DOCUMENT

PAIR = WebhookBasic(keys=(BasicKey(id="k", user="a", password="b"),))
HEADERS = [(b"authorization", b"Basic YTpi"), (b"content-length", b"2")]
DOOR = Door("f", (BasicProof.of(PAIR),), (), None, b"c", {})


class OneDoor:
    def find(self, name: str) -> Door:
        return DOOR


class FailingProducer:
    def __init__(self, error: Exception) -> None:
        self._error = error

    def send_nowait(self, *_: Any, **__: Any) -> asyncio.Future[None]:
        raise self._error


async def deliver(error: Exception) -> tuple[int, list[MustStop]]:
    """The answer's status, and what was given up for."""
    given_up: list[MustStop] = []
    publisher = Publisher(cast(Producer, FailingProducer(error)), prefix="", ack_deadline_s=1)
    receiver = Receiver(cast(Doors, OneDoor()), publisher, ManualClock(), Limits(100, 100, 1), given_up.append)
    receiver.ready = True
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await receiver({"method": "POST", "path": "/webhooks/pipedrive/f", "headers": HEADERS}, receive, send)
    return sent[0]["status"], given_up


async def test_fenced_producer_is_503_and_the_process_gives_up() -> None:
    fenced = Fenced("another producer has taken over")

    assert await deliver(fenced) == (503, [fenced])


async def test_full_queue_is_503_and_passes() -> None:
    assert await deliver(QueueFull("too many messages", after_s=1.0)) == (503, [])


class _Flows:
    """One flow; its secrets cannot be read, which would close its door."""

    def __init__(self, events: str) -> None:
        pipedrive = {**DOCUMENT["pipedrive"], "events": events}
        document = {**DOCUMENT, "pipedrive": pipedrive, "schedule": {"sync": "*/15 * * * *"}}
        self._live = LiveFlow(parse_flow(document), 1, paused=False)

    def flow(self, name: str) -> LiveFlow:
        return self._live

    def flows(self) -> list[LiveFlow]:
        return [self._live]

    def secret(self, *_: Any, **__: Any) -> Any:
        raise SecretUnreadable("there is none")

    def on_change(self, _: Any) -> None: ...


def test_flow_without_webhooks_has_no_address_and_is_no_problem() -> None:
    """A delivery for it is answered as one for a flow that nobody knows."""
    none, some = Doors(cast(Directory, _Flows("none"))), Doors(cast(Directory, _Flows("webhooks")))

    assert (none.find("f"), none.problems(), none.rotating()) == (None, [], {})
    assert some.find("f") is not None and some.problems() == ["there is none"]
