"""The topics that are folded, as the broker has them: who they are, where they begin and end. Blocking."""

from __future__ import annotations

import time
from functools import cached_property
from typing import Final

from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec

from ml_connector.admin.fold import READ
from ml_connector.common.errors import DeliveryFailed
from ml_connector.common.kafka.admin import identity
from ml_connector.common.kafka.producer import client_config
from ml_connector.common.settings import Settings
from ml_connector.common.topics import Topic

TIMEOUT_S: Final = 10.0
AGAIN_S: Final = 0.1
CLUSTER: Final = "cluster"

Place = tuple[str, int]  # a topic without its prefix, a partition


class BrokerTopics:
    """Asked by several threads."""

    def __init__(self, settings: Settings) -> None:
        self._kafka = settings.kafka()
        self._full = {topic.name: topic.full_name(settings.topic_prefix) for topic in READ}
        self.places: Final[list[Place]] = [
            (topic.name, partition) for topic in READ for partition in range(topic.partitions(settings.partitions))
        ]

    @cached_property
    def _client(self) -> AdminClient:
        return AdminClient(client_config(self._kafka))

    def full_name(self, topic: Topic) -> str:
        return self._full[topic.name]

    def identity(self) -> dict[str, str]:
        """Of the cluster, and of each topic; a topic that was made anew has another. Raises DeliveryFailed."""
        try:
            cluster, *found = identity(self._client, self._full.values()).split(" ")
        except DeliveryFailed:
            self._forget_client()
            raise
        return {CLUSTER: cluster, **dict(one.split("=", 1) for one in found)}

    def firsts(self) -> dict[Place, int]:
        """The oldest offset of each partition. Raises DeliveryFailed."""
        return self._offsets(OffsetSpec.earliest())  # type: ignore[no-untyped-call]  # the client declares no types

    def ends(self) -> dict[Place, int]:
        """The offset after the newest committed message. Raises DeliveryFailed."""
        return self._offsets(OffsetSpec.latest())  # type: ignore[no-untyped-call]  # as above

    def _forget_client(self) -> None:
        """It keeps to the leaders it knows, minutes after there are others."""
        self.__dict__.pop("_client", None)

    def _offsets(self, which: OffsetSpec) -> dict[Place, int]:
        """Right after a topic was made, or its leader changed, nobody knows the leader: asked again."""
        deadline_s = time.monotonic() + TIMEOUT_S
        while True:
            try:
                return self._ask(which)
            except KafkaException as error:
                self._forget_client()
                if time.monotonic() > deadline_s:
                    name = error.args[0].name()
                    raise DeliveryFailed(f"the broker does not say where topics end: {name}") from error
            time.sleep(AGAIN_S)

    def _ask(self, which: OffsetSpec) -> dict[Place, int]:
        wanted = {place: TopicPartition(self._full[place[0]], place[1]) for place in self.places}
        found = self._client.list_offsets(
            dict.fromkeys(wanted.values(), which),
            isolation_level=IsolationLevel.READ_COMMITTED,
            request_timeout=TIMEOUT_S,
        )
        return {place: found[where].result().offset for place, where in wanted.items()}
