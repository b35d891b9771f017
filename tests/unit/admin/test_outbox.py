"""Whatever was committed is told, once at least and in order, whoever dies in between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
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
    """`after_first`: runs once, when the turn has been taken for the first time."""

    def __init__(self, mine: bool = True, after_first: Callable[[], None] | None = None) -> None:
        self.mine = mine
        self.taken = 0
        self._after_first = after_first

    def take(self) -> bool:
        self.taken += 1
        if self._after_first is not None and self.taken == 1:
            self._after_first()
        return self.mine


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return new_database(tmp_path)


def make(database: Database, broker: Broker, turn: Turn | None = None, clock: ManualClock | None = None) -> Outbox:
    settings = Settings(kafka_bootstrap_servers="nowhere:1")
    return Outbox(settings, database, cast(Any, broker), turn or Turn(), clock or ManualClock(), turn_ms=15_000)


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


async def test_who_was_stopped_for_longer_than_a_third_of_a_turn_asks_again_before_it_sends(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has read `old`; while it stood still another replica told that, and something newer."""
    clock, broker = ManualClock(), Broker()
    turn = Turn()
    box = make(database, broker, turn, clock)
    put(database, "old")
    read = box._oldest

    def then_stopped(most: int) -> Any:
        rows = read(most)
        if most == CHUNK and turn.mine:
            turn.mine = False
            clock.advance(5.001)
        return rows

    monkeypatch.setattr(box, "_oldest", then_stopped)

    assert await box.publish() is False
    assert (turn.taken, broker.took) == (2, [])


async def test_who_still_has_its_turn_after_a_halt_sends_what_is_there_by_then(database: Database) -> None:
    clock, broker = ManualClock(), Broker()
    turn = Turn(after_first=lambda: clock.advance(5.001))
    put(database, "a")

    assert await make(database, broker, turn, clock).publish() is True
    assert (turn.taken, [key for key, _ in broker.took], left(database)) == (2, ["a"], [])


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
