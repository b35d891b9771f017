"""`upsert` and the lease mean the same on either database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, select

from ml_connector.admin.database import Database, upsert
from ml_connector.admin.lease import Lease
from ml_connector.admin.tables import accepted, act_target, cause, newest
from ml_connector.common.clock import ManualClock

CAUSE = {
    "cause": "1:a",
    **dict.fromkeys(
        ("account", "flow", "company", "entity", "source_id", "record_key", "external_id", "trace", "replay_of"), ""
    ),
    "received_at_ms": 0,
}
STATE: dict[str, Any] = {
    "record_key": "r",
    "source_version": 5,
    "revision": 1,
    "cause": "1:b",
    "outcome": "written",
    "at_ms": 1,
}


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    """Rolled back."""
    with database.engine.connect() as one:
        yield one


def test_row_is_replaced(connection: Connection) -> None:
    upsert(connection, newest, [STATE])
    upsert(connection, newest, [STATE | {"outcome": "ignored"}, STATE | {"outcome": "dead_lettered"}])

    assert connection.scalars(select(newest.c.outcome)).all() == ["dead_lettered"]


def test_empty_values_fill_nothing(connection: Connection) -> None:
    fill = ["account", "flow", "received_at_ms"]
    upsert(connection, cause, [CAUSE | {"account": "1", "received_at_ms": 7}], fill=fill)
    upsert(connection, cause, [CAUSE | {"flow": "f"}], fill=fill)

    row = connection.execute(select(cause)).one()
    assert (row.account, row.flow, row.received_at_ms) == ("1", "f", 7)


@pytest.mark.parametrize(
    ("newer", "counts"),
    [
        ({"source_version": 6, "revision": 0}, True),
        ({"revision": 2}, True),
        ({"revision": 1}, False),
        ({"source_version": 4, "revision": 9}, False),
    ],
)
def test_only_what_is_newer_counts(connection: Connection, newer: dict[str, Any], counts: bool) -> None:
    upsert(connection, newest, [STATE])
    upsert(connection, newest, [STATE | newer | {"outcome": "ignored"}], only_newer=["source_version", "revision"])

    assert connection.scalar(select(newest.c.outcome)) == ("ignored" if counts else "written")


def test_numbers_are_added_up_once_for_each_place(connection: Connection) -> None:
    row = {"cause": "1:a", "account": "1", "flow": "", "topic": "t", "topic_partition": 0, "at_ms": 1, "deliveries": 1}
    for offset in (3, 4, 4, 3, 9):
        upsert(connection, accepted, [row | {"topic_offset": offset}], add=["deliveries"], only_newer=["topic_offset"])

    assert connection.scalar(select(accepted.c.deliveries)) == 3


def test_row_that_is_only_a_key_may_be_put_twice(connection: Connection) -> None:
    for _ in range(2):
        upsert(connection, act_target, [{"target": "l", "act_id": "a"}, {"target": "m", "act_id": "a"}])

    assert len(connection.execute(select(act_target)).all()) == 2


def test_nothing_is_nothing(connection: Connection) -> None:
    upsert(connection, act_target, [])

    assert connection.execute(select(act_target)).all() == []


def test_lease_is_held_by_one_until_it_ends_or_is_released(database: Database) -> None:
    clock = ManualClock()
    ann, ben = (Lease(database, "materialize", owner, clock, 1_000) for owner in ("ann", "ben"))

    assert ann.take()
    assert not ben.take()
    clock.advance(0.9)
    assert ann.take()
    clock.advance(0.9)
    assert not ben.take()
    clock.advance(0.1)
    assert ben.take()
    assert not ann.take()
    ann.release()
    assert not ann.take()
    ben.release()
    assert ann.take()
    ann.release()
