"""Topics and offsets as the broker has them. Blocking calls: from the event loop use `asyncio.to_thread`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from ml_connector.common.errors import DeliveryFailed, TopicsDiffer
from ml_connector.common.kafka.producer import client_config

TIMEOUT_S: Final = 30.0
AGAIN_S: Final = 0.1


class TopicSpec(NamedTuple):
    """A topic as it should be."""

    name: str
    partitions: int
    config: Mapping[str, str]


def silent(error: KafkaException) -> DeliveryFailed:
    return DeliveryFailed(f"the broker does not answer ({error.args[0].name()}): is MLC_KAFKA_BOOTSTRAP_SERVERS right?")


def partition_count(kafka: Mapping[str, str], topic: str, timeout_s: float = TIMEOUT_S) -> int:
    """How many partitions a topic has; 0 when it does not exist. Raises DeliveryFailed when nobody answers."""
    return partition_counts(kafka, timeout_s).get(topic, 0)


def partition_counts(kafka: Mapping[str, str], timeout_s: float = TIMEOUT_S) -> dict[str, int]:
    """The partitions of every topic."""
    try:
        found = AdminClient(client_config(kafka)).list_topics(timeout=timeout_s).topics
    except KafkaException as error:
        raise silent(error) from error
    return {name: len(topic.partitions) for name, topic in found.items()}


def ensure_topics(kafka: Mapping[str, str], specs: Iterable[TopicSpec], *, replication_factor: int) -> list[str]:
    """Make what is missing, and wait until the broker tells of it; the names of what was made.

    Raises TopicsDiffer on another partition count, DeliveryFailed when the broker does not make one or does not answer.
    """
    specs = list(specs)
    refuse_other_partitions(kafka, specs, missing_is_fine=True)
    have = partition_counts(kafka)
    missing = [
        NewTopic(spec.name, spec.partitions, replication_factor, config=dict(spec.config))
        for spec in specs
        if spec.name not in have
    ]
    if not missing:
        return []
    client = AdminClient(client_config(kafka))  # its futures fail once it is gone
    for name, made in client.create_topics(missing, operation_timeout=TIMEOUT_S).items():
        try:
            made.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # somebody else was faster
                raise DeliveryFailed(f"topic {name} was not made: {error.args[0].name()}") from error
    names = [topic.topic for topic in missing]
    _until_told(kafka, names)
    return names


def _until_told(kafka: Mapping[str, str], names: Iterable[str]) -> None:
    """The controller has made them; the broker that clients ask learns of it a moment later."""
    deadline_s = time.monotonic() + TIMEOUT_S
    while unknown := set(names) - partition_counts(kafka).keys():
        if time.monotonic() > deadline_s:
            raise DeliveryFailed(
                f"the broker does not tell of topics that were just made: {', '.join(sorted(unknown))}"
            )
        time.sleep(AGAIN_S)


def refuse_other_partitions(
    kafka: Mapping[str, str], specs: Iterable[TopicSpec], *, missing_is_fine: bool = False
) -> None:
    """Raises TopicsDiffer: keys would go elsewhere, and two owners would write one record."""
    have = partition_counts(kafka)
    for spec in specs:
        count = have.get(spec.name, 0)
        if count == 0 and not missing_is_fine:
            raise TopicsDiffer(f"topic {spec.name} does not exist: run `mlc topics apply`")
        if count not in {0, spec.partitions}:
            raise TopicsDiffer(
                f"topic {spec.name} has {count} partitions, MLC_PARTITIONS says {spec.partitions}: "
                "the count never changes in an environment's life"
            )


def identity(client: AdminClient, topics: Iterable[str]) -> str:
    """Names this cluster and these very topics; a topic that was deleted and made again differs. Raises
    DeliveryFailed."""
    try:
        cluster = client.list_topics(timeout=TIMEOUT_S).cluster_id
        found = client.describe_topics(TopicCollection(list(topics)), request_timeout=TIMEOUT_S)
        ids = [f"{name}={topic.result().topic_id}" for name, topic in sorted(found.items())]
    except KafkaException as error:
        raise silent(error) from error
    return " ".join([str(cluster), *ids])


def watermarks(consumer: Consumer, topic: str, partition: int, timeout_s: float) -> tuple[int, int]:
    """The first offset and the one after the last; right after a topic was made its leader is not known at once."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        try:
            found = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout_s)
        except KafkaException as error:
            if time.monotonic() > deadline_s:
                raise DeliveryFailed(f"{topic}: nobody says where it ends: {error.args[0].name()}") from error
            time.sleep(AGAIN_S)
        else:
            if found is not None:
                return found


def end_offsets(kafka: Mapping[str, str], topic: str, partitions: Iterable[int]) -> dict[int, int]:
    """The offset after the newest committed message of each partition."""
    consumer = _reader(kafka, "offsets")
    try:
        return {p: watermarks(consumer, topic, p, TIMEOUT_S)[1] for p in partitions}
    finally:
        consumer.close()


def committed_offsets(kafka: Mapping[str, str], group: str, topic: str, partitions: Iterable[int]) -> dict[int, int]:
    """The committed next offset of each partition; 0 where the group has none."""
    consumer = _reader(kafka, group)
    try:
        found = consumer.committed([TopicPartition(topic, p) for p in partitions], TIMEOUT_S)
        return {place.partition: max(0, place.offset) for place in found}
    finally:
        consumer.close()


def _reader(kafka: Mapping[str, str], group: str) -> Consumer:
    return Consumer({**kafka, "group.id": group, "enable.auto.commit": False, "isolation.level": "read_committed"})
