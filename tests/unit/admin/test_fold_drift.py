"""What drift checks found, as it comes into the tables: open until a later comparison finds the record as it should be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection

from ml_connector.admin.database import Database
from ml_connector.admin.drift.look import Wanted, incidents
from ml_connector.admin.fold import fold
from ml_connector.admin.tables import metadata
from ml_connector.common import topics
from ml_connector.common.comparing import Did, Difference, Found
from ml_connector.common.covering import pack
from support import admin_messages as m

MS = m.START_MS


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    database = Database(f"sqlite:///{tmp_path}/admin.sqlite")
    metadata.create_all(database.engine)
    with database.engine.connect() as one:
        yield one
    database.close()


def told(job_id: str, at_ms: int, found: Found | None = None, *, drift: bool = True) -> m.Given:
    """Of organization 7."""
    did: Did = "asserted" if found == "missing" else "reported"
    differences = () if found is None else (Difference("7", "pd-org-7", found, did=did),)
    return m.compared(job_id, at_ms=at_ms, differences=differences, covered=pack([7, 8]), drift=drift)


def states(connection: Connection, *given: m.Given) -> list[tuple[str, str]]:
    places = m.Places()
    for one in given:
        fold(connection, topics.AUDIT, [places.put(one)])
    found, _ = incidents(connection, Wanted(m.FLOW), limit=10, cursor=None)
    return [(one.difference.found, one.state) for one in found]


@pytest.mark.parametrize("drift", [True, False])
def test_it_ends_when_a_later_comparison_finds_it_as_it_should_be(connection: Connection, drift: bool) -> None:
    """Of whatever kind: also a reconcile."""
    assert states(connection, told("push-1", MS, "different")) == [("different", "open")]
    assert states(connection, told("j2", MS + 1, drift=drift)) == [("different", "ended")]


def test_what_is_found_anew_takes_the_place_of_what_was_found_before(connection: Connection) -> None:
    found = states(connection, told("push-1", MS, "different"), told("push-2", MS + 1, "missing"))

    assert found == [("missing", "asserted"), ("different", "ended")]


def test_what_says_nothing_yet_ends_nothing(connection: Connection) -> None:
    found = states(connection, told("push-1", MS, "different"), told("push-2", MS + 1, "waiting"))

    assert found == [("different", "open")]


def test_a_part_that_is_told_again_is_one_finding(connection: Connection) -> None:
    found = states(connection, told("push-1", MS, "different"), told("push-1", MS + 1, "different"))

    assert found == [("different", "open")]


def test_a_reconcile_is_no_drift_check(connection: Connection) -> None:
    assert states(connection, told("r1", MS, "different", drift=False)) == []
