"""accepted = written + superseded + ignored + dead-lettered + waiting; each way to break it is found and named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ml_connector.admin.books import Books, Sum, sums
from ml_connector.admin.database import Database
from ml_connector.admin.tables import accepted, cause, outcome, parked, waiting
from ml_connector.common.clock import Deadline, ManualClock
from support.letters import T0_MS, new_database, put

EVENTS = "pipedrive.events"
NOTHING_READ = {(EVENTS, 0): 0, ("pipedrive.requests", 0): 0, ("pipedrive.deferred", 0): 0}
ALL_READ = {(EVENTS, 0): 1000, ("pipedrive.requests", 0): 1000, ("pipedrive.deferred", 0): 1000}


def accept(database: Database, name: str, *, offset: int = 0, deliveries: int = 1) -> None:
    facts = {"account": "A", "flow": "f", "topic": EVENTS, "topic_partition": 0, "topic_offset": offset, "at_ms": T0_MS}
    put(database, accepted, {"cause": name, "deliveries": deliveries, **facts})


def end(database: Database, name: str, how: str, *, record: str = "r", received_at_ms: int = T0_MS) -> None:
    put(database, outcome, {"cause": name, "record_key": record, "account": "A", "outcome": how})
    empty = dict.fromkeys(("flow", "company", "entity", "source_id", "external_id", "trace", "replay_of"), "")
    if record == "r":
        facts = {"account": "A", "record_key": record, "received_at_ms": received_at_ms, **empty}
        put(database, cause, {"cause": name, **facts})


def total(database: Database, done: dict[tuple[str, int], int] | None = None) -> Sum:
    with database.read() as connection:
        return sums(connection, ALL_READ if done is None else done, now_ms=T0_MS + 60_000)["A"]


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return new_database(tmp_path)


def test_each_cause_has_one_fate_and_deliveries_are_counted_apart(database: Database) -> None:
    for number, how in enumerate(("written", "superseded", "ignored", "dead_lettered", "written")):
        accept(database, f"w:{number}", deliveries=1 + number)
        end(database, f"w:{number}", how)

    found = total(database)

    assert (found.accepted, found.written, found.superseded, found.ignored, found.dead_lettered) == (5, 2, 1, 1, 1)
    assert (found.waiting, found.duplicates, found.differences) == (0, 10, 0)


def wait_in_desired(database: Database) -> None:
    facts = {"account": "A", "flow": "f", "lane": "live", "record_key": "r", "parent_key": ""}
    put(database, waiting, {"key": "k", "cause": "w:1", **facts})


def wait_aside(database: Database) -> None:
    put(database, parked, {"topic_partition": 0, "topic_offset": 1000, "cause": "w:1", "account": "A", "flow": "f"})


@pytest.mark.parametrize("where", [wait_in_desired, wait_aside])
def test_unsettled_or_put_aside_is_waiting(database: Database, where: Any) -> None:
    accept(database, "w:1")
    where(database)

    found = total(database)

    assert (found.accepted, found.waiting, found.differences) == (1, 1, 0)


def test_event_that_nobody_has_taken_yet_is_waiting(database: Database) -> None:
    accept(database, "w:1", offset=7)

    assert total(database, {**ALL_READ, (EVENTS, 0): 7}).waiting == 1
    assert total(database, {**ALL_READ, (EVENTS, 0): 8}).lost == ["w:1"]


def test_lost_event_is_named(database: Database) -> None:
    """Taken, put aside once, but done with there: and nowhere else."""
    accept(database, "w:1")
    put(database, parked, {"topic_partition": 0, "topic_offset": 999, "cause": "w:1", "account": "A", "flow": "f"})

    assert (total(database).lost, total(database, NOTHING_READ).lost) == (["w:1"], [])


def test_outcome_that_nobody_accepted_is_named_while_it_can_be_checked(database: Database) -> None:
    day_ms = 24 * 3600 * 1000
    end(database, "w:1", "written")
    end(database, "w:2", "written", received_at_ms=T0_MS - 31 * day_ms)
    end(database, "hyd:3", "written", received_at_ms=T0_MS - 8 * day_ms)
    end(database, "hyd:4", "written")

    assert sorted(total(database).unexplained) == ["hyd:4", "w:1"]


def test_two_outcomes_of_one_cause_contradict_each_other(database: Database) -> None:
    accept(database, "w:1")
    end(database, "w:1", "written")
    end(database, "w:1", "ignored", record="another")

    assert total(database).contradicting == ["w:1"]


class Moving:
    """Whenever everything has been read once more, `on_level` has happened."""

    def __init__(self, *on_level: Any) -> None:
        self._on_level = list(on_level)

    async def until_level(self, deadline: Deadline) -> None:
        if self._on_level:
            self._on_level.pop(0)()


@pytest.mark.parametrize("arrives", [True, False])
async def test_cause_on_its_way_is_no_difference_a_lost_one_is(database: Database, arrives: bool) -> None:
    """Between two topics it is in neither as they have been read: its outcome comes with the next reading."""
    accept(database, "w:1")
    level = Moving(lambda: None, lambda: end(database, "w:1", "written") if arrives else None)
    books = Books(settings(), database, level, ManualClock(T0_MS))
    books._committed = lambda: ALL_READ  # type: ignore[method-assign]  # no broker in a unit test

    closing = await books.check()

    assert closing.accounts["A"].lost == ([] if arrives else ["w:1"])
    assert closing is books.last


def settings() -> Any:
    from ml_connector.common.settings import Settings

    return Settings(kafka_bootstrap_servers="nowhere:1")
