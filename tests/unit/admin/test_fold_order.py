"""The tables are a function of what the topics hold: the order of reading, repetitions and compaction make no difference."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ml_connector.admin.database import Database
from ml_connector.admin.fold import READ, fold
from ml_connector.admin.tables import metadata
from ml_connector.common.kafka.record import Record
from support.admin_history import Lane, histories
from support.admin_tables import Dump, dump

BY_NAME = {topic.name: topic for topic in READ}


def _in_any_order(draw: st.DrawFn, lanes: dict[Lane, list[Record]]) -> Iterator[tuple[str, list[Record]]]:
    """Batches; now and then a partition is read again from an earlier place on."""
    at = dict.fromkeys(lanes, 0)
    again = 3
    while open_ := sorted(lane for lane, done in at.items() if done < len(lanes[lane])):
        lane = draw(st.sampled_from(open_))
        size = draw(st.sampled_from([2, 5, 100]))
        yield lane[0], lanes[lane][at[lane] : at[lane] + size]
        at[lane] += size
        if again and draw(st.integers(0, 5)) == 0:
            again -= 1
            at[lane] = draw(st.integers(0, min(at[lane], len(lanes[lane]))))


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    one = Database(f"sqlite:///{tmp_path_factory.mktemp('admin')}/admin.sqlite")
    metadata.create_all(one.engine)
    yield one
    one.close()


def folded(database: Database, batches: Iterable[tuple[str, list[Record]]]) -> Dump:
    """From nothing; leaves nothing."""
    with database.engine.connect() as connection:
        for name, records in batches:
            fold(connection, BY_NAME[name], records)
        return dump(connection)


def _compacted(lanes: dict[Lane, list[Record]], *, tombstones: bool) -> dict[Lane, list[Record]]:
    found = {}
    for (name, partition), records in lanes.items():
        kept = records
        if "compact" in BY_NAME[name].config["cleanup.policy"]:
            last = {record.key: record.offset for record in records}
            kept = [r for r in records if last[r.key] == r.offset and (tombstones or r.value is not None)]
        found[(name, partition)] = kept
    return found


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_order_of_topics_any_batches_and_repetitions_end_in_the_same_tables(
    database: Database, data: st.DataObject
) -> None:
    lanes = data.draw(histories())
    in_order = folded(database, ((name, records) for (name, _), records in lanes.items()))

    draw: Any = data.draw
    otherwise = folded(database, _in_any_order(draw, lanes))

    assert otherwise == in_order


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_what_compaction_leaves_gives_the_same_tables(database: Database, data: st.DataObject) -> None:
    lanes = data.draw(histories())
    live = folded(database, ((name, records) for (name, _), records in lanes.items()))

    for tombstones in (True, False):
        left = _compacted(lanes, tombstones=tombstones)
        draw: Any = data.draw
        assert folded(database, _in_any_order(draw, left)) == live
