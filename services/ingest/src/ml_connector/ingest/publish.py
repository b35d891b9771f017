"""Put a verified event into `pipedrive.events`, and wait for the broker's word."""

from __future__ import annotations

from ml_connector.common import topics
from ml_connector.common.errors import DeliveryFailed
from ml_connector.common.headers import Headers
from ml_connector.common.kafka.producer import Producer
from ml_connector.common.timeouts import Overdue


class Publisher:
    """One produce, one path: everything that was verified goes here."""

    def __init__(self, producer: Producer, *, prefix: str, ack_deadline_s: float) -> None:
        self._producer = producer
        self._topic = topics.EVENTS.full_name(prefix)
        self._overdue = Overdue(ack_deadline_s)

    async def publish(self, key: bytes, body: bytes, headers: Headers) -> None:
        """Returns once all in-sync replicas have it.

        Raises TryLater; the event may then still reach the topic, as a duplicate of what Pipedrive sends again.
        """
        sent = self._producer.send_nowait(self._topic, key=key, value=body, headers=headers)
        self._overdue.watch(sent)
        try:
            await sent
        except TimeoutError as error:
            raise DeliveryFailed("the broker did not acknowledge in time", after_s=1.0) from error
