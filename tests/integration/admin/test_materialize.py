"""Topics become tables, and stay level with them: after kills, without the database, with other topics."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from sqlalchemy import func, select, text
from structlog.testing import capture_logs

from ml_connector.admin import materialize
from ml_connector.admin.database import Database
from ml_connector.admin.tables import cause, position, step
from ml_connector.common import topics
from ml_connector.common.generation import Generation
from ml_connector.common.kafka.producer import Producer
from ml_connector.common.kafka.transaction import TransactionalProducer
from ml_connector.sandbox import broker as brokers
from support import admin_messages as m
from support import postgres
from support.materializing import Environment
from support.writing import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

ONE = [
    m.flow_version(),
    m.event("1", "a"),
    m.event("1", "a"),
    m.hydrate("r1"),
    m.received("1:a", name="Acme"),
    m.resolved("1:a", generation=Generation(5)),
    m.desired("1:a", generation=Generation(5)),
    m.letter("1:a", m.record_key("deal", "8"), generation=Generation(5)),
    m.outcome("1:a", "dead_lettered", generation=Generation(5)),
    m.observed(generation=Generation(5), internal_id=None),
    m.erased(m.desired("1:a", generation=Generation(5))),
]
MORE = [m.event("1", "b"), m.received("1:b", name="Acme Inc"), m.outcome("1:b", generation=Generation(6))]


@pytest.fixture(scope="module")
def broker() -> Iterator[brokers.Broker]:
    with brokers.start() as one:
        yield one


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def producer(broker: brokers.Broker) -> AsyncIterator[Producer]:
    one = Producer({"bootstrap.servers": broker.bootstrap_servers})
    one.start()
    yield one
    await one.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds are for production."""
    monkeypatch.setattr(materialize, "LOOK_S", 0.1)
    monkeypatch.setattr(materialize, "AGAIN_S", 0.1)


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Postgres]:
    try:
        with postgres.start() as one:
            yield one
    except postgres.Missing as error:
        pytest.skip(str(error))


@pytest.fixture
def environment(
    broker: brokers.Broker, producer: Producer, tmp_path: Path, request: pytest.FixtureRequest
) -> Environment:
    return Environment(broker, producer, tmp_path, f"t{abs(hash(request.node.name))}.")


def _is(condition: Callable[[], bool]) -> Callable[[], Awaitable[bool]]:
    async def asked() -> bool:
        return condition()

    return asked


async def test_answers_say_how_far_behind_they_are_and_none_is_left(environment: Environment) -> None:
    await environment.write(ONE)

    async with environment.running() as one:
        await environment.level(one)
        await until(_is(lambda: one.ready and one.behind().messages == 0))

        assert one.behind().partitions_unread == 0
        assert (one.behind().age_s or 0.0) < 10
    tables = environment.dumped()
    assert [row[-1] for row in tables["accepted"]] == [2, 1]
    assert len(tables["dead_letter"]) == 1


async def test_ends_behind_transactions_are_reached(environment: Environment) -> None:
    """The writer's commits and aborts leave records there that nobody is given."""
    writer = TransactionalProducer(environment.settings.kafka(), environment.settings.group("w"))
    await writer.init()
    name = environment.full(topics.AUDIT)
    for given in MORE:
        async with writer.transaction() as transaction:
            transaction.send(name, key=given[1], value=given[2], partition=1)
    with pytest.raises(ZeroDivisionError):
        async with writer.transaction() as transaction:
            transaction.send(name, key=MORE[0][1], value=MORE[0][2], partition=0)
            raise ZeroDivisionError
    await writer.close()

    first = await environment.tables()
    again = await environment.tables()

    assert again == first
    assert ("audit", 1, 6) in first["position"]


async def test_goes_on_where_it_was_stopped(environment: Environment) -> None:
    await environment.write(ONE)
    await environment.tables()
    await environment.write(MORE)

    continued = await environment.tables()

    assert continued == await environment.tables(f"{environment.url}.fresh")


async def test_deleted_database_comes_back_from_the_topics(environment: Environment, tmp_path: Path) -> None:
    await environment.write([*ONE, *MORE])
    before = await environment.tables()
    _delete_all(tmp_path)

    assert await environment.tables() == before


async def test_database_deleted_under_a_running_service_comes_back(environment: Environment, tmp_path: Path) -> None:
    await environment.write(ONE)
    async with environment.running() as one:
        await environment.level(one)
        _delete_all(tmp_path)
        one._database.engine.dispose()  # as if the service had no connection open
        await environment.write(MORE)
        await until(_is(lambda: _count(environment) == 2))
        await environment.level(one)

    assert environment.dumped() == await environment.tables(f"{environment.url}.fresh")


def _delete_all(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


def _count(environment: Environment) -> int:
    database = Database(environment.url)
    try:
        with database.read() as connection:
            if connection.scalar(text("SELECT count(*) FROM sqlite_master")) == 0:
                return 0
            return connection.scalar(select(func.count()).select_from(cause)) or 0
    finally:
        database.close()


async def test_topic_made_anew_means_tables_made_anew(environment: Environment) -> None:
    await environment.write(ONE)
    await environment.tables()
    environment.delete_topic(topics.AUDIT)
    await until(_is(lambda: _made(environment)))
    await environment.write(MORE)

    rebuilt = await environment.tables()

    assert rebuilt == await environment.tables(f"{environment.url}.fresh")
    assert {row[0] for row in rebuilt["cause"]} == {"1:b"}


def _made(environment: Environment) -> bool:
    """A deletion takes its time."""
    environment.make_topics()
    described = AdminClient({**environment.settings.kafka()}).list_topics(timeout=10).topics
    return environment.full(topics.AUDIT) in described


async def test_topic_made_anew_under_a_running_service(environment: Environment) -> None:
    await environment.write(ONE)
    async with environment.running() as one:
        await environment.level(one)
        environment.delete_topic(topics.AUDIT)
        await until(_is(lambda: _made(environment)))
        await environment.write(MORE)
        await until(_is(lambda: {row[0] for row in environment.dumped()["cause"]} == {"1:b"}), every_s=0.2)
        await environment.level(one)

    assert environment.dumped() == await environment.tables(f"{environment.url}.fresh")


async def test_what_retention_took_is_passed_over_and_forgotten(environment: Environment) -> None:
    """Read or not, the tables are then what a rebuild would make of the topics."""
    await environment.write(ONE)
    await environment.tables()
    await environment.write([*MORE, m.event("1", "c")])
    gone = TopicPartition(environment.full(topics.EVENTS), 0, 3)
    client = AdminClient({**environment.settings.kafka()})
    client.delete_records([gone])[gone].result()

    tables = await environment.tables()

    assert {row[0] for row in tables["accepted"]} == {"hyd:r1", "1:c"}
    assert tables == await environment.tables(f"{environment.url}.fresh")


async def test_message_that_no_table_takes_is_left_out_alone(environment: Environment) -> None:
    await environment.write([*MORE, m.outcome("1:x", generation=Generation(2**63)), m.received("1:y")])

    tables = await environment.tables()

    assert {row[0] for row in tables["cause"]} == {"1:b", "1:y"}
    assert ("audit", 0, 4) in tables["position"]


async def test_locked_database_is_waited_for(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml_connector.admin.database.LOCK_WAIT_MS", 100)
    async with environment.running() as one:
        await environment.level(one)
        other = Database(environment.url)
        with other.write(), capture_logs() as lines:
            await environment.write(ONE)
            await until(_is(lambda: any(line["event"] == "materializing_again" for line in lines)))
        await environment.level(one)
        other.close()

    assert len(environment.dumped()["cause"]) == 1


async def test_one_of_two_replicas_folds_and_the_other_takes_over(environment: Environment) -> None:
    await environment.write(ONE)
    async with environment.running() as second_to_go:
        async with environment.running() as first_to_go:
            await environment.level(first_to_go)
            await environment.level(second_to_go)
            assert sorted((first_to_go.leads, second_to_go.leads)) == [False, True]
        await environment.write(MORE)
        await environment.level(second_to_go)
        await until(_is(lambda: second_to_go.ready))

    assert environment.dumped() == await environment.tables(f"{environment.url}.fresh")


async def test_position_that_somebody_else_moved_is_read_again(environment: Environment) -> None:
    """Two that think they have the lease: only one of them moves a position, the other goes on behind it."""
    async with environment.running() as one:
        await until(_is(lambda: one.leads))
        other = Database(environment.url)
        with other.write() as connection:
            moved = position.update().where(position.c.topic == topics.AUDIT.name, position.c.topic_partition == 0)
            connection.execute(moved.values(next_offset=1))
        other.close()
        await environment.write(MORE)
        await environment.level(one)

    tables = environment.dumped()
    assert {row[0] for row in tables["step"]} == {"1:b"}
    assert len(tables["step"]) == 1  # the first message was the other's


async def test_process_that_is_killed_leaves_nothing_out(environment: Environment, tmp_path: Path) -> None:
    """It dies without a word between two batches, again and again."""
    await environment.write(ONE)
    code = (
        "import asyncio, os, sys, threading\n"
        "from ml_connector.admin.database import Database\n"
        "from ml_connector.admin.materialize import Materializer\n"
        "from ml_connector.common.clock import SystemClock\n"
        "from ml_connector.common.settings import Settings\n"
        "from ml_connector.admin import feed\n"
        "feed.MOST = 1\n"
        "threading.Timer(float(sys.argv[2]), lambda: os._exit(9)).start()\n"
        "async def main():\n"
        "    database = Database(sys.argv[1]); database.migrate()\n"
        "    one = Materializer(Settings(), database, SystemClock(), lease_ms=300)\n"
        "    await one.start(); await one.run()\n"
        "asyncio.run(main())\n"
    )
    settings = environment.settings
    variables = {
        **os.environ,
        "MLC_KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
        "MLC_TOPIC_PREFIX": settings.topic_prefix,
        "MLC_PARTITIONS": str(settings.partitions),
    }
    for number in range(4):
        await environment.write([m.received(f"2:{number}{n}", name="x") for n in range(50)])
        life_s = str(1.6 + number * 0.15)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, environment.url, life_s, env=variables
        )
        assert await process.wait() == 9

    assert await environment.tables() == await environment.tables(f"{environment.url}.fresh")
    database = Database(environment.url)
    with database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(step)) == 203
    database.close()


async def test_postgresql_is_made_the_same_and_may_be_away_for_a_while(
    environment: Environment, server: postgres.Postgres
) -> None:
    url = server.database()
    await environment.write(ONE)
    async with environment.running(url) as one:
        await environment.level(one)
        await asyncio.to_thread(server.stop)
        await environment.write(MORE)
        await until(_is(lambda: one.behind().messages == len(MORE)))
        await asyncio.to_thread(server.run)
        await environment.level(one)

    assert environment.dumped(url) == await environment.tables()


async def test_two_replicas_on_one_postgresql_leave_nothing_out(
    environment: Environment, server: postgres.Postgres
) -> None:
    url = server.database()
    async with environment.running(url) as one, environment.running(url) as other:
        for number in range(10):
            await environment.write([m.received(f"3:{number}", name="x"), m.event("3", str(number))])
        await environment.level(one)
        await environment.level(other)
        assert one.leads != other.leads

    assert environment.dumped(url) == await environment.tables()
