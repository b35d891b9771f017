"""Put a verified event into `pipedrive.events`; the broker's word is awaited."""

from __future__ import annotations

import asyncio

from ml_connector.common import topics
from ml_connector.common.errors import DeliveryFailed
from ml_connector.common.headers import Headers
from ml_connector.common.kafka.producer import Delivered, Producer
from ml_connector.common.timeouts import Overdue


class Publisher:
    """One produce, one path: everything that was verified goes here."""

    def __init__(self, producer: Producer, *, prefix: str, ack_deadline_s: float) -> None:
        self._producer = producer
        self._topic = topics.EVENTS.full_name(prefix)
        self._overdue = Overdue(ack_deadline_s, _not_acknowledged)

    def publish(self, key: bytes, body: bytes, headers: Headers) -> asyncio.Future[Delivered]:
        """Done once all in-sync replicas have it.

        Raises TryLater, or the future does; the event may then still reach the topic, as a duplicate of what Pipedrive
        sends again.
        """
        sent = self._producer.send_nowait(self._topic, key=key, value=body, headers=headers)
        self._overdue.watch(sent)
        return sent


def _not_acknowledged() -> DeliveryFailed:
    return DeliveryFailed("the broker did not acknowledge in time", after_s=1.0)
