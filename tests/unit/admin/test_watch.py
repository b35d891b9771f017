"""How old the oldest unsettled event is, wherever it waits."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml_connector.admin.database import Database
from ml_connector.admin.tables import accepted, parked, waiting
from ml_connector.admin.watch import oldest_unsettled
from support.letters import T0_MS, new_database, put

EVENTS, DEFERRED = ("pipedrive.events", 0), ("pipedrive.deferred", 0)
ALL_READ = {EVENTS: 1000, DEFERRED: 1000}


def accept(database: Database, name: str, at_ms: int, *, offset: int = 0, flow: str = "f") -> None:
    facts = {"account": "A", "flow": flow, "topic": EVENTS[0], "topic_partition": 0, "topic_offset": offset}
    put(database, accepted, {"cause": name, "deliveries": 1, "at_ms": at_ms, **facts})


def wait_in_desired(database: Database, name: str) -> None:
    facts = {"account": "A", "flow": "f", "lane": "live", "record_key": "r", "parent_key": ""}
    put(database, waiting, {"key": f"k/{name}", "cause": name, **facts})


def oldest(database: Database, committed: dict[tuple[str, int], int]) -> dict[tuple[str, str], int]:
    with database.read() as connection:
        return oldest_unsettled(connection, committed)


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return new_database(tmp_path)


def test_what_is_settled_has_no_age(database: Database) -> None:
    accept(database, "w:1", T0_MS)

    assert oldest(database, ALL_READ) == {}


def test_the_oldest_counts_of_those_that_wait_for_netsuite(database: Database) -> None:
    for number, name in enumerate(("w:1", "w:2", "w:3")):
        accept(database, name, T0_MS + number)
    wait_in_desired(database, "w:3")
    wait_in_desired(database, "w:2")

    assert oldest(database, ALL_READ) == {("A", "f"): T0_MS + 1}


def test_what_nobody_has_read_counts_by_its_flow(database: Database) -> None:
    accept(database, "w:1", T0_MS, offset=4)
    accept(database, "w:2", T0_MS + 1, offset=5)
    accept(database, "w:3", T0_MS + 2, offset=6, flow="g")

    assert oldest(database, {**ALL_READ, EVENTS: 5}) == {("A", "f"): T0_MS + 1, ("A", "g"): T0_MS + 2}


def test_what_was_put_aside_counts_until_it_is_committed(database: Database) -> None:
    accept(database, "w:1", T0_MS)
    put(database, parked, {"topic_partition": 0, "topic_offset": 7, "cause": "w:1", "account": "A", "flow": "f"})

    assert oldest(database, {**ALL_READ, DEFERRED: 7}) == {("A", "f"): T0_MS}
    assert oldest(database, {**ALL_READ, DEFERRED: 8}) == {}


def test_without_offsets_only_the_desired_ones_are_known_to_wait(database: Database) -> None:
    accept(database, "w:1", T0_MS)
    wait_in_desired(database, "w:1")

    assert oldest(database, {}) == {("A", "f"): T0_MS}
