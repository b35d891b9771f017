"""Whatever was committed is told, once at least and in order, whoever dies in between."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import insert, select

from ml_connector.admin.database import Database
from ml_connector.admin.outbox import CHUNK, Outbox, put_message
from ml_connector.admin.tables import outbox
from ml_connector.common import topics
from ml_connector.common.clock import ManualClock
from ml_connector.common.errors import DeliveryFailed
from ml_connector.common.settings import Settings
from support.letters import new_database


class Broker:
    """`while_sending` runs once, before the first acknowledgement."""

    def __init__(self, *, fails: bool = False, while_sending: Any = None) -> None:
        self.took: list[tuple[str, bytes]] = []
        self.fails = fails
        self._while_sending = while_sending

    def send_nowait(self, topic: str, *, key: bytes, value: bytes, **_: Any) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._while_sending is not None:
            self._while_sending, act = None, self._while_sending
            act()
        if self.fails:
            future.set_exception(DeliveryFailed("the broker did not take the message"))
        else:
            self.took.append((key.decode(), value))
            future.set_result(None)
        return future


class Turn:
    def __init__(self, mine: bool = True) -> None:
        self.mine = mine

    def take(self) -> bool:
        return self.mine


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return new_database(tmp_path)


def make(database: Database, broker: Broker, turn: Turn | None = None) -> Outbox:
    settings = Settings(kafka_bootstrap_servers="nowhere:1")
    return Outbox(settings, database, cast(Any, broker), turn or Turn(), ManualClock())


def put(database: Database, *keys: str) -> None:
    with database.write() as connection:
        for key in keys:
            put_message(connection, topics.JOBS, partition_key=key, key=key, value=key.encode())


def left(database: Database) -> list[str]:
    with database.read() as connection:
        return list(connection.scalars(select(outbox.c.key).order_by(outbox.c.id)))


async def test_what_was_committed_is_told_in_order_and_forgotten(database: Database) -> None:
    broker = Broker()
    keys = [f"k{number}" for number in range(CHUNK + 3)]
    put(database, *keys)

    assert await make(database, broker).publish() is True

    assert ([key for key, _ in broker.took], left(database)) == (keys, [])


async def test_what_the_broker_did_not_take_stays(database: Database) -> None:
    broker = Broker(fails=True)
    put(database, "a", "b")
    box = make(database, broker)

    first = await box.publish()
    broker.fails = False
    second = await box.publish()

    assert (first, second, [key for key, _ in broker.took], left(database)) == (False, True, ["a", "b"], [])


async def test_what_is_rolled_back_is_not_told(database: Database) -> None:
    broker = Broker()
    with pytest.raises(RuntimeError), database.write() as connection:
        put_message(connection, topics.JOBS, partition_key="a", key="a", value=b"a")
        raise RuntimeError

    await make(database, broker).publish()

    assert broker.took == []


async def test_replica_whose_turn_it_is_not_writes_nothing(database: Database) -> None:
    broker = Broker()
    put(database, "a")

    assert await make(database, broker, Turn(mine=False)).publish() is False
    assert (broker.took, left(database)) == ([], ["a"])


async def test_smaller_number_that_is_committed_later_is_not_forgotten(database: Database) -> None:
    """PostgreSQL gives numbers out before the commit: another transaction may bring a smaller one meanwhile."""

    def another() -> None:
        row = {"id": 1, "topic": topics.JOBS.name, "partition_key": "late", "key": "late", "value": b"late"}
        with database.write() as connection:
            connection.execute(insert(outbox), [row])

    broker = Broker(while_sending=another)
    with database.write() as connection:
        row = {"id": 5, "topic": topics.JOBS.name, "partition_key": "early", "key": "early", "value": b"early"}
        connection.execute(insert(outbox), [row])

    await make(database, broker).publish()

    assert [key for key, _ in broker.took] == ["early", "late"]
