"""What was compared with NetSuite, as it comes into the tables: parts that count, whatever their order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, func, select

from ml_connector.admin.database import Database
from ml_connector.admin.fold import fold
from ml_connector.admin.fold.compared import valid
from ml_connector.admin.tables import compared, difference, metadata, outbox
from ml_connector.common import topics
from ml_connector.common.comparing import Difference, Unmapped
from support import admin_messages as m


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    path: Path = tmp_path_factory.mktemp("compared")
    one = Database(f"sqlite:///{path}/admin.sqlite")
    metadata.create_all(one.engine)
    yield one
    one.close()


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    """What is written is taken back."""
    with database.engine.connect() as one:
        yield one


def folded(connection: Connection, *given_: m.Given) -> None:
    places = m.Places()
    fold(connection, topics.AUDIT, [places.put(one) for one in given_])


def counted(connection: Connection) -> tuple[list[tuple[int, int]], int]:
    """The parts that count, and their records."""
    rows = connection.execute(select(compared.c.page, compared.c.part).where(valid("r1"))).all()
    records = connection.scalar(select(func.sum(compared.c.records)).where(valid("r1")))
    return sorted((row.page, row.part) for row in rows), records or 0


def test_each_difference_is_a_row_and_equal_ones_are_counted(connection: Connection) -> None:
    edited = Difference("7", "pd-org-7", "different", causes=("edited",))
    told = m.compared(equal=498, differences=(edited,), unmapped=(Unmapped("8", "no stage"),))

    folded(connection, told)

    rows = connection.execute(select(difference.c.source_id, difference.c.found).order_by(difference.c.number)).all()
    assert [tuple(row) for row in rows] == [("7", "different"), ("8", "unmapped")]
    part = connection.execute(select(compared)).one()
    assert (part.records, part.equal, part.unmapped, part.flow) == (499, 498, 1, m.FLOW)


def test_part_that_comes_again_replaces_what_it_told(connection: Connection) -> None:
    folded(connection, m.compared(different=2))
    folded(connection, m.compared(different=1))

    assert connection.execute(select(difference.c.source_id)).scalars().all() == ["110"]
    assert counted(connection) == ([(1, 1)], 2)


def test_parts_of_an_earlier_reading_of_the_page_do_not_count(connection: Connection) -> None:
    """It was cut into three; when it was read again, into one."""
    folded(connection, *(m.compared(part=part, parts=3) for part in (1, 2, 3)), m.compared(part=1, parts=1))

    assert counted(connection) == ([(1, 1)], 1)


def test_pages_before_the_last_beginning_do_not_count(connection: Connection) -> None:
    folded(connection, m.compared(page=4, first_page=3), m.compared(page=1), m.compared(page=2), m.compared(page=3))

    assert counted(connection)[0] == [(3, 1), (4, 1)]


def test_what_was_found_beside_the_walk_counts(connection: Connection) -> None:
    folded(
        connection, m.compared(page=4, first_page=3), m.compared(page=0, parts=2, part=1), m.compared(page=0, part=2)
    )

    assert counted(connection)[0] == [(0, 1), (0, 2), (4, 1)]


def test_erased_part_takes_its_differences_along(connection: Connection) -> None:
    told = m.compared(different=2)
    folded(connection, told, m.compared(page=2, different=1))

    folded(connection, m.erased(told))

    assert connection.execute(select(difference.c.page)).scalars().all() == [2]
    assert counted(connection) == ([(2, 1)], 2)


def test_erasing_an_object_deletes_what_names_it_from_the_audit(connection: Connection) -> None:
    """The parts, and no other; here they stay until the audit says that they are deleted."""
    received = m.received("1:a", "organization", "110")
    folded(
        connection, received, m.compared(different=2), m.compared(page=2, different=1), m.compared("r2", different=1)
    )

    folded(connection, m.erased(received))

    told = connection.execute(select(outbox).order_by(outbox.c.key)).all()
    assert [(row.topic, row.partition_key, row.key, row.value) for row in told] == [
        ("audit", m.ACCOUNT, "r1/compared/organization/1/1", None),
        ("audit", m.ACCOUNT, "r2/compared/organization/1/1", None),
    ]
    assert counted(connection)[0] == [(1, 1), (2, 1)]


def test_other_jobs_and_entities_are_left_alone(connection: Connection) -> None:
    folded(connection, m.compared(), m.compared("other", page=9, first_page=9), m.compared(entity="deal", page=5))

    assert counted(connection)[0] == [(1, 1), (5, 1)]


def _reading(page: int, parts: int, first_page: int) -> list[m.Given]:
    return [m.compared(page=page, part=part, parts=parts, first_page=first_page, equal=page * 7) for part in
            range(1, parts + 1)]  # fmt: skip


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_parts_may_come_in_any_order_and_repeatedly(database: Database, data: st.DataObject) -> None:
    """The newest telling of each part, in any order, tells the same as all of them in order."""
    steps = data.draw(st.lists(st.tuples(st.sampled_from(["next", "again", "anew"]), st.integers(1, 3)), max_size=6))
    page = first = 1
    told: list[m.Given] = []
    counts: dict[int, int] = {}
    for step, parts in steps:
        page += step != "again"
        first = page if step == "anew" else first
        told += _reading(page, parts, first)
        counts = {one: many for one, many in counts.items() if one >= first} | {page: parts}
    newest = list({one[1]: one for one in told}.values())
    shuffled: Sequence[m.Given] = data.draw(st.permutations(newest + newest[:3]))
    expected = sorted((one, part) for one, many in counts.items() for part in range(1, many + 1))

    with database.engine.connect() as connection:
        for one in shuffled:
            folded(connection, one)
        assert counted(connection) == (expected, sum(one * 7 for one, _ in expected))
