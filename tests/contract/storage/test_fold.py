"""The same messages make the same tables on either database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings

from ml_connector.admin.database import Database
from ml_connector.admin.fold import READ, fold, prune
from ml_connector.admin.tables import metadata
from ml_connector.common.generation import Generation
from ml_connector.common.kafka.record import Record
from support import admin_messages as m
from support.admin_history import Lane, histories
from support.admin_tables import Dump, dump

BY_NAME = {topic.name: topic for topic in READ}


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    one = Database(f"sqlite:///{tmp_path_factory.mktemp('other')}/other.sqlite")
    yield one
    one.close()


def folded(database: Database, lanes: Mapping[Lane, list[Record]]) -> Dump:
    """From nothing; leaves nothing."""
    with database.engine.connect() as connection:
        metadata.create_all(connection)
        for (name, _), records in lanes.items():
            fold(connection, BY_NAME[name], records)
        return dump(connection)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(lanes=histories())
def test_tables_do_not_depend_on_the_database(
    database: Database, other: Database, lanes: dict[Lane, list[Record]]
) -> None:
    assert folded(database, lanes) == folded(other, lanes)


def test_texts_that_people_type_are_kept(database: Database) -> None:
    """Other scripts, signs beyond the basic plane, and NUL, which PostgreSQL refuses."""
    names = ["Größe & Söhne", "株式会社", "😀", "a\0b", "x" * 200]
    places = m.Places()
    records = [places.put(m.received(f"1:{number}", name=name)) for number, name in enumerate(names)]

    found = folded(database, {("audit", 0): records})["named"]

    assert {row[4] for row in found} == {name.replace("\0", "\ufffd") for name in names}


def test_what_is_longer_than_an_index_takes_is_cut(database: Database) -> None:
    """Pipedrive may call what we do not map anything."""
    strange = m.outcome("1:a", "ignored", "\u00e9" * 5000, "9" * 5000)

    found = folded(database, {("audit", 0): [m.Places().put(strange)]})

    assert [len(value) for value in found["cause"][0][4:6]] == [300, 300]


def test_large_entries_are_kept_whole(database: Database) -> None:
    body = msgspec.Raw(b'{"data":"%s"}' % (b"x" * 1_000_000))
    entry = m.received("1:a", body=body)

    found = folded(database, {("audit", 0): [m.Places().put(entry)]})

    assert found["step"][0][-1] == entry[2]


@pytest.mark.parametrize("count", [1_200])
def test_batches_may_be_larger_than_one_statement_takes(database: Database, count: int) -> None:
    places = m.Places()
    failed = [
        [
            m.letter(f"rpl:j:{n}", m.record_key("deal", str(n)), generation=Generation(1)),
            m.outcome(f"rpl:j:{n}", "dead_lettered", source_id=str(n), generation=Generation(1)),
        ]
        for n in range(1, count + 1)
    ]
    written = [places.put(m.outcome(f"2:{n}", source_id=str(n), generation=Generation(2))) for n in range(1, count + 1)]
    lanes = {
        ("dead-letters", 0): [places.put(letter) for letter, _ in failed],
        ("audit", 0): [places.put(ended) for _, ended in failed] + written,
    }

    found = folded(database, lanes)

    assert {row[-4] for row in found["dead_letter"]} == {"resolved"}
    assert len(found["dead_letter"]) == count


def test_what_has_left_its_topic_is_forgotten(database: Database) -> None:
    """Offsets 0 and 1 of partitions 0 and 1, of each topic that is not compacted."""
    places = m.Places()
    with database.engine.connect() as connection:
        for partition in (0, 1):
            for number in ("a", "b"):
                name = f"{partition}{number}"
                given_ = [m.event("1", name), m.hydrate(name), m.deferred(m.hydrate(name)), m.letter(f"1:{name}")]
                for one in given_:
                    fold(connection, one[0], [places.put(one, partition)])
        firsts = {(topic.name, 0): 0 for topic in READ} | {(topic.name, 1): 1 for topic in READ}
        prune(connection, firsts | {("pipedrive.requests", 1): 0})
        found = dump(connection)

    assert {row[0] for row in found["accepted"]} == {"1:0a", "1:0b", "1:1b", "hyd:0a", "hyd:0b", "hyd:1a", "hyd:1b"}
    assert {row[:2] for row in found["parked"]} == {(0, 0), (0, 1), (1, 1)}
    assert {row[1] for row in found["dead_letter"]} == {"1:0a", "1:0b", "1:1b"}
