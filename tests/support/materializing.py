"""Topics of a test's own, and tables made from them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from confluent_kafka.admin import AdminClient

from ml_connector.admin.database import Database
from ml_connector.admin.fold import READ
from ml_connector.admin.materialize import Materializer
from ml_connector.common import topics
from ml_connector.common.clock import Deadline, SystemClock
from ml_connector.common.kafka.admin import TopicSpec, ensure_topics
from ml_connector.common.kafka.producer import Producer
from ml_connector.common.settings import Settings
from ml_connector.sandbox import broker as brokers
from support import admin_messages as m
from support.admin_tables import Dump, dump

PARTITIONS = 2


class Environment:
    """Topics of their own, and a folder for databases."""

    def __init__(self, broker: brokers.Broker, producer: Producer, folder: Path, prefix: str) -> None:
        self.settings = Settings(
            kafka_bootstrap_servers=broker.bootstrap_servers, topic_prefix=prefix, partitions=PARTITIONS
        )
        self.url = f"sqlite:///{folder}/admin.sqlite"
        self._producer = producer
        self.make_topics()

    def make_topics(self) -> None:
        specs = [
            TopicSpec(topic.full_name(self.settings.topic_prefix), topic.partitions(PARTITIONS), topic.config)
            for topic in READ
        ]
        ensure_topics(self.settings.kafka(), specs, replication_factor=1)

    def delete_topic(self, topic: topics.Topic) -> None:
        client = AdminClient({**self.settings.kafka()})  # its futures fail once it is gone
        client.delete_topics([self.full(topic)])[self.full(topic)].result()

    def full(self, topic: topics.Topic) -> str:
        return topic.full_name(self.settings.topic_prefix)

    async def write(self, given: list[m.Given]) -> None:
        for topic, key, value, headers in given:
            await self._producer.send(self.full(topic), key=key, value=value, headers=headers, partition=0)

    @asynccontextmanager
    async def running(self, url: str = "") -> AsyncIterator[Materializer]:
        database = Database(url or self.url)
        database.migrate()
        one = Materializer(self.settings, database, SystemClock(), lease_ms=1_500)
        await one.start()
        task = asyncio.create_task(one.run())
        try:
            yield one
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await one.close()
            database.close()

    async def level(self, one: Materializer) -> None:
        await one.until_level(Deadline.after(SystemClock(), 30))

    async def tables(self, url: str = "") -> Dump:
        """Level with the topics."""
        async with self.running(url) as one:
            await self.level(one)
        return self.dumped(url)

    def dumped(self, url: str = "") -> Dump:
        database = Database(url or self.url)
        with database.read() as connection:
            found = dump(connection)
        database.close()
        return found
