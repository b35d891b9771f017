"""Who the topics are and where they end, also after the broker has come back: then every partition has a leader of a new epoch."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ml_connector.admin.broker_topics import BrokerTopics
from ml_connector.common import topics
from ml_connector.common.kafka.admin import TopicSpec, ensure_topics
from ml_connector.common.settings import Settings
from ml_connector.sandbox import broker as brokers


@pytest.fixture
def broker() -> Iterator[brokers.Broker]:
    with brokers.start() as one:
        yield one


def test_ends_and_names_are_told_after_a_restart_of_the_broker(broker: brokers.Broker) -> None:
    settings = Settings(kafka_bootstrap_servers=broker.bootstrap_servers, partitions=4)
    specs = [TopicSpec(name, count, config) for name, count, config in topics.with_prefix("", 4)]
    ensure_topics(settings.kafka(), specs, replication_factor=1)
    asked = BrokerTopics(settings)
    before = asked.ends(), asked.identity()

    broker.kill()
    broker.restart()

    assert (asked.ends(), asked.identity()) == before
