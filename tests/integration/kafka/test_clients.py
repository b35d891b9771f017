"""Our Kafka clients against a real broker."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Mapping, MutableMapping
from contextlib import suppress
from typing import Any

import pytest
import pytest_asyncio
from confluent_kafka import OFFSET_BEGINNING
from structlog.testing import capture_logs

from ml_connector.common.clock import Deadline, SystemClock
from ml_connector.common.errors import DeliveryFailed, Fenced, QueueFull, TopicsDiffer
from ml_connector.common.kafka.admin import TopicSpec, ensure_topics
from ml_connector.common.kafka.consumer import AssignedConsumer, GroupConsumer
from ml_connector.common.kafka.partition import partition_for
from ml_connector.common.kafka.producer import Producer
from ml_connector.common.kafka.table import CompactedTable
from ml_connector.common.kafka.transaction import TransactionalProducer
from ml_connector.sandbox import broker as brokers
from support.writing import until

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def broker() -> Iterator[brokers.Broker]:
    with brokers.start() as one:
        yield one


@pytest.fixture(scope="module")
def kafka(broker: brokers.Broker) -> dict[str, str]:
    return {"bootstrap.servers": broker.bootstrap_servers}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def producer(kafka: dict[str, str]) -> AsyncIterator[Producer]:
    one = Producer(kafka)
    one.start()
    yield one
    await one.close()


def topic(kafka: dict[str, str], name: str, partitions: int = 1, **config: str) -> str:
    ensure_topics(kafka, [TopicSpec(name, partitions, config)], replication_factor=1)
    return name


async def _told(logged: list[MutableMapping[str, Any]], event: str) -> bool:
    return any(line["event"] == event for line in logged)


async def test_acknowledged_message_is_where_murmur2_says(kafka: dict[str, str], producer: Producer) -> None:
    name = topic(kafka, "placed", 4)
    keys = [f"company-{number}".encode() for number in range(40)]

    places = [await producer.send(name, key=key, value=b"x", headers={"a": b"b"}) for key in keys]

    assert [place.partition for place in places] == [partition_for(key, 4) for key in keys]


async def test_full_queue_is_an_error_at_once_not_a_wait(kafka: dict[str, str]) -> None:
    name = topic(kafka, "full")
    small = Producer({**kafka, "linger.ms": "1000"}, linger_ms=1000, queue_messages=10)
    small.start()

    with pytest.raises(QueueFull):
        for _ in range(100):
            small.send_nowait(name, value=b"x")
    await small.close()


async def test_unknown_topic_is_a_delivery_failure(kafka: dict[str, str]) -> None:
    quick = Producer(kafka, message_timeout_s=2)
    quick.start()

    with pytest.raises(DeliveryFailed):
        await quick.send("nobody-made-this", value=b"x")
    await quick.close()


async def test_former_owner_of_a_transactional_id_can_record_nothing(kafka: dict[str, str]) -> None:
    name = topic(kafka, "fenced", 1, **{"cleanup.policy": "compact"})
    former, owner = TransactionalProducer(kafka, "writer-0"), TransactionalProducer(kafka, "writer-0")
    await former.init()
    await owner.init()

    with pytest.raises(Fenced):
        async with former.transaction() as transaction:
            transaction.send(name, key=b"k", value=b"former")
    async with owner.transaction() as transaction:
        transaction.send(name, key=b"k", value=b"owner")

    table = CompactedTable[bytes](kafka, name, decode=bytes)
    await table.load(Deadline.after(SystemClock(), 20))
    assert table.get("k") == b"owner"
    for client in (table, former, owner):
        await client.close()


async def test_transaction_of_which_the_broker_refuses_a_message_records_nothing(kafka: dict[str, str]) -> None:
    """Nobody hears of single messages; the commit does. The next one may fail, too: the client begins a new sequence."""
    name = topic(kafka, "narrow", 1, **{"cleanup.policy": "compact", "max.message.bytes": "1000"})
    one = TransactionalProducer(kafka, "narrow-0")
    await one.init()

    with pytest.raises(DeliveryFailed):
        async with one.transaction() as transaction:
            transaction.send(name, key=b"small", value=b"x")
            transaction.send(name, key=b"large", value=os.urandom(2000))

    async def sent() -> bool:
        with suppress(DeliveryFailed):
            async with one.transaction() as transaction:
                transaction.send(name, key=b"after", value=b"x")
            return True
        return False

    await until(sent, within_s=20)
    table = CompactedTable[bytes](kafka, name, decode=bytes)
    await table.load(Deadline.after(SystemClock(), 20))
    assert [table.get(key) for key in ("small", "large", "after")] == [None, None, b"x"]
    for client in (table, one):
        await client.close()


async def test_end_is_reached_behind_the_gaps_that_transactions_leave(kafka: dict[str, str]) -> None:
    """Control records and aborted messages take offsets that nobody is given."""
    name = topic(kafka, "gaps")
    one = TransactionalProducer(kafka, "gaps-0")
    await one.init()
    for number in range(3):
        async with one.transaction() as transaction:
            transaction.send(name, value=b"%d" % number)

    consumer = AssignedConsumer(kafka, topic=name)
    consumer.start()
    await consumer.assign({0: OFFSET_BEGINNING})
    values, ended = [], False
    while not ended:
        records, ends = await asyncio.wait_for(consumer.next(), 20)
        values += [record.value for record in records]
        ended = 0 in ends

    assert values == [b"0", b"1", b"2"]
    await consumer.close()
    await one.close()


async def test_end_is_reached_while_messages_keep_coming(kafka: dict[str, str], producer: Producer) -> None:
    """Under steady traffic the client never finds the partition empty; a new owner must start all the same."""
    name = topic(kafka, "steady")
    await producer.send(name, value=b"before")
    stop = asyncio.Event()

    async def keep_sending() -> None:
        while not stop.is_set():
            await producer.send(name, value=b"more")

    sending = asyncio.create_task(keep_sending())
    consumer = AssignedConsumer(kafka, topic=name)
    consumer.start()
    await consumer.assign({0: OFFSET_BEGINNING})
    ended = False
    while not ended:
        _, ends = await asyncio.wait_for(consumer.next(), 20)
        ended = 0 in ends

    assert not stop.is_set()
    stop.set()
    await sending
    await consumer.close()


async def test_table_follows_changes_and_tombstones(kafka: dict[str, str], producer: Producer) -> None:
    name = topic(kafka, "table", 2, **{"cleanup.policy": "compact"})
    await producer.send(name, key=b"a", value=b"1")
    table = CompactedTable[bytes](kafka, name, decode=bytes)
    await table.load(Deadline.after(SystemClock(), 20))
    loaded = dict(table.items())

    await producer.send(name, key=b"a", value=None)
    await producer.send(name, key=b"b", value=b"2")

    async def followed() -> bool:
        return dict(table.items()) == {"b": b"2"}

    await until(followed)
    assert loaded == {"a": b"1"}
    await table.close()


async def test_other_partition_count_is_refused(kafka: dict[str, str]) -> None:
    name = topic(kafka, "counted", 2)

    with pytest.raises(TopicsDiffer, match="has 2 partitions, MLC_PARTITIONS says 4"):
        ensure_topics(kafka, [TopicSpec(name, 4, {})], replication_factor=1)


class Member:
    """Takes records and commits only when partitions are taken away."""

    def __init__(self, kafka: dict[str, str], name: str) -> None:
        self.following: dict[int, int] = {}
        self.taken: list[tuple[int, int]] = []
        self.consumer = GroupConsumer(kafka, topic=name, group=f"{name}-group", session_timeout_s=10, assignment=self)
        self.consumer.start()
        self.task = asyncio.create_task(self.run())

    async def run(self) -> None:
        while True:
            records, _ = await self.consumer.next()
            for record in records:
                self.taken.append((record.partition, record.offset))
                self.following[record.partition] = record.offset + 1

    async def assigned(self, partitions: frozenset[int]) -> Mapping[int, int]:
        return {}

    async def revoked(self, partitions: frozenset[int]) -> Mapping[int, int]:
        return {number: self.following.pop(number) for number in partitions if number in self.following}

    async def lost(self, partitions: frozenset[int]) -> None:
        for number in partitions:
            self.following.pop(number, None)

    async def close(self) -> None:
        await self.consumer.close()
        self.task.cancel()


async def test_graceful_hand_over_loses_and_repeats_nothing(kafka: dict[str, str], producer: Producer) -> None:
    name = topic(kafka, "shared", 4)
    first = Member(kafka, name)
    for number in range(200):
        await producer.send(name, key=b"%d" % number, value=b"x")

    async def all_taken() -> bool:
        return len(first.taken) == 200

    await until(all_taken)
    second = Member(kafka, name)

    async def is_shared() -> bool:
        return len(first.consumer.owned) == len(second.consumer.owned) == 2

    await until(is_shared)
    for number in range(200):
        await producer.send(name, key=b"%d" % number, value=b"y")

    async def taken_by_both() -> bool:
        return len(first.taken) + len(second.taken) == 400

    await until(taken_by_both)
    assert len({*first.taken, *second.taken}) == 400
    assert second.taken
    await first.close()
    await second.close()


async def test_producer_and_consumer_survive_a_broker_that_is_killed(
    broker: brokers.Broker, kafka: dict[str, str]
) -> None:
    if broker.kind == "external":
        pytest.skip("somebody else's broker is not ours to kill")
    name = topic(kafka, "survives")
    patient = Producer(kafka, message_timeout_s=60)
    patient.start()
    consumer = AssignedConsumer(kafka, topic=name, group="survives")
    consumer.start()
    await consumer.assign({0: OFFSET_BEGINNING})
    await patient.send(name, value=b"before")

    broker.kill()
    sending = patient.send_nowait(name, value=b"after")
    with capture_logs() as logged:
        asking = asyncio.create_task(consumer.committed([0], timeout_s=0.2))
        await until(lambda: _told(logged, "committed_offsets_asked_again"))
        await asyncio.to_thread(broker.restart)
        assert await asyncio.wait_for(asking, 60) == {0: OFFSET_BEGINNING}
    await asyncio.wait_for(sending, 60)

    values: list[bytes | None] = []
    while b"after" not in values:
        records, _ = await asyncio.wait_for(consumer.next(), 60)
        values += [record.value for record in records]
    assert values[0] == b"before"
    await consumer.close()
    await patient.close()
