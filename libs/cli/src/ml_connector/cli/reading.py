"""Read topics from a developer's machine: from the beginning to the end, or on and on."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Final

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException, TopicPartition

from ml_connector.common import topics
from ml_connector.common.directory import FlowBook
from ml_connector.common.errors import DeliveryFailed, TopicsDiffer
from ml_connector.common.kafka.admin import watermarks
from ml_connector.common.kafka.producer import client_config
from ml_connector.common.kafka.record import Record, of_message

IDLE_S: Final = 20.0  # no answer from the broker for this long is an error


def read_topic(
    kafka: Mapping[str, str], topic: str, *, follow: bool = False, from_beginning: bool = True
) -> Iterator[Record]:
    """Committed messages, in order within a partition. Without `follow` it ends at the end that it found."""
    consumer = Consumer(
        {
            **client_config(kafka),
            "group.id": "mlc",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 10,  # an empty partition answers at once: this is a person waiting
        }
    )
    count = _partitions(consumer, topic)
    start = OFFSET_BEGINNING if from_beginning else OFFSET_END
    consumer.assign([TopicPartition(topic, partition, start) for partition in range(count)])
    ends = {} if follow else _ends(consumer, topic, count)
    try:
        yield from _poll(consumer, ends, follow=follow)
    finally:
        consumer.close()


def _partitions(consumer: Consumer, topic: str) -> int:
    try:
        found = consumer.list_topics(timeout=IDLE_S).topics.get(topic)
    except KafkaException as error:
        raise DeliveryFailed("the broker does not answer: is MLC_KAFKA_BOOTSTRAP_SERVERS right?") from error
    if found is None:
        raise TopicsDiffer(f"topic {topic} does not exist: run `mlc topics apply`")
    return len(found.partitions)


def _ends(consumer: Consumer, topic: str, partitions: int) -> dict[int, int]:
    """The end of each partition now: under steady traffic there never is another one."""
    found = {number: watermarks(consumer, topic, number, IDLE_S) for number in range(partitions)}
    return {number: end for number, (start, end) in found.items() if end > start}


def _poll(consumer: Consumer, ends: dict[int, int], *, follow: bool) -> Iterator[Record]:
    """`ends`: emptied as they are reached, by a message or by the client's word (the last offsets may be gaps)."""
    heard_s = time.monotonic()
    while follow or ends:
        message = consumer.poll(0.2)
        if message is None:
            if not follow and time.monotonic() - heard_s > IDLE_S:
                raise DeliveryFailed("the broker does not answer: is MLC_KAFKA_BOOTSTRAP_SERVERS right?")
            continue
        heard_s = time.monotonic()
        error = message.error()
        if error is None:
            record = of_message(message)
            if record.offset + 1 >= ends.get(record.partition, record.offset + 2):
                del ends[record.partition]
            yield record
        elif error.code() == KafkaError._PARTITION_EOF:
            ends.pop(message.partition() or 0, None)


def newest_by_key(kafka: Mapping[str, str], topic: str) -> dict[str, bytes]:
    """The newest value of each key; deleted ones left out."""
    found: dict[str, bytes] = {}
    for record in read_topic(kafka, topic):
        key = (record.key or b"").decode("utf-8", "replace")
        if record.value is None:
            found.pop(key, None)
        else:
            found[key] = record.value
    return found


def flow_book(kafka: Mapping[str, str], prefix: str) -> FlowBook:
    """All flows, as `connector.flows` has them now."""
    book = FlowBook()
    for key, value in newest_by_key(kafka, topics.FLOWS.full_name(prefix)).items():
        book.fold(key, value)
    return book
