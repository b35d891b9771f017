"""The Kafka of the local overlay, as its manifest configures it, and the Job that makes its topics."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer
from typer.testing import CliRunner

from ml_connector.cli.main import app
from ml_connector.common import topics
from ml_connector.common.kafka.admin import partition_counts
from ml_connector.common.ports import free_ports
from ml_connector.sandbox import broker
from ml_connector.sandbox.jars import BrokerFailed
from support.kustomize import built

PORTS = ("9092", "9093", "9094")
READY_WITHIN_S = 90.0


def container(kind: str, name: str) -> Any:
    workload = next(one for one in built("local") if (one["kind"], one["metadata"]["name"]) == (kind, name))
    return workload["spec"]["template"]["spec"]["containers"][0]


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """As its image does: `KAFKA_A_B` is the property `a.b`. Only where it listens and keeps its data is another place."""
    home = tmp_path_factory.mktemp("kafka")
    given = {
        one["name"][6:].lower().replace("_", "."): one["value"] for one in container("StatefulSet", "kafka")["env"]
    }
    heap = given.pop("heap.opts").split()
    text = "".join(f"{name}={value}\n" for name, value in given.items())
    ports = dict(zip(PORTS, map(str, free_ports(len(PORTS))), strict=True))
    for old, new in {
        **ports,
        "/var/lib/kafka": str(home),
        "//kafka:": "//127.0.0.1:",
        "//0.0.0.0:": "//127.0.0.1:",
    }.items():
        assert old in text
        text = text.replace(old, new)
    (home / "server.properties").write_text(text)
    try:
        command = broker.kafka_command(home / "server.properties", home / "data", memory=heap)
    except BrokerFailed as error:
        pytest.skip(str(error))
    address = f"127.0.0.1:{ports['9092']}"
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=home)
    try:
        _wait(address, process, home / "log")
        yield address
    finally:
        process.terminate()
        process.wait(30)


def _wait(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline_s = time.monotonic() + READY_WITHIN_S
    while not broker.answers(address):
        assert process.poll() is None, log.read_text(errors="replace")[-2000:]
        assert time.monotonic() < deadline_s, "the broker does not answer"
        time.sleep(0.1)


def test_job_makes_the_topics_and_a_transaction_is_read(kafka: str) -> None:
    """A transaction's end is something that the broker says to itself."""
    common = next(
        one for one in built("local") if one["kind"] == "ConfigMap" and one["metadata"]["name"].startswith("common")
    )
    environment = {**common["data"], "MLC_KAFKA_BOOTSTRAP_SERVERS": kafka}
    arguments = container("Job", "topics")["args"]

    first = CliRunner().invoke(app, arguments, env=environment)
    again = CliRunner().invoke(app, arguments, env=environment)

    count = len(topics.ALL)
    assert (first.output, again.output) == (
        f"made {count} topics, 0 were there\n",
        f"made 0 topics, {count} were there\n",
    )
    have = partition_counts({"bootstrap.servers": kafka})
    assert {topic.name: have[topic.name] for topic in topics.ALL} == {t.name: t.partitions(4) for t in topics.ALL}

    assert through_a_transaction(kafka, topics.AUDIT.name, b"value") == b"value"


def through_a_transaction(kafka: str, topic: str, value: bytes) -> bytes | None:
    """What a reader of committed messages gets."""
    producer = Producer({"bootstrap.servers": kafka, "transactional.id": "t"})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(topic, value, b"key", 0)
    producer.commit_transaction(30)
    reader = Consumer({"bootstrap.servers": kafka, "group.id": "g", "auto.offset.reset": "earliest"})
    reader.subscribe([topic])
    try:
        found = reader.poll(30)
    finally:
        reader.close()
    return found.value() if found is not None else None
