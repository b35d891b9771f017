"""Put what was verified into its topic; the broker's word is awaited."""

from __future__ import annotations

from ml_connector.common import topics
from ml_connector.common.headers import Headers
from ml_connector.common.kafka.producer import Done, Producer
from ml_connector.common.topics import Topic


class Publisher:
    """One produce, one path: everything that was verified goes here."""

    def __init__(self, producer: Producer, *, prefix: str, topic: Topic = topics.EVENTS) -> None:
        self._producer = producer
        self.topic = topic.full_name(prefix)

    def publish(self, key: bytes, body: bytes, headers: Headers, done: Done) -> None:
        """`done` hears when all in-sync replicas have it, or why not. Raises QueueFull, Fenced or ProducerFatal.

        Who does not wait that long must know that the event may still reach the topic, as a duplicate of what
        Pipedrive sends again.
        """
        self._producer.post(done, self.topic, key=key, value=body, headers=headers)
