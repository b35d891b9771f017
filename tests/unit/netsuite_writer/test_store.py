"""The local store is a cache: resumed only where it is certainly right."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml_connector.netsuite_writer.store import OLDEST_MS, Store
from support.desired import desired, key_of, observed

STATE = desired()
NOW_MS = 1_700_000_000_000


def filled(path: Path) -> Store:
    store = Store.open(path, identity="cluster-1", now_ms=NOW_MS)
    with store.change():
        store.put_desired(key_of(STATE), STATE.encode(), trace="00-a-b-00")
        store.put_observed(STATE.record_key, observed(STATE).encode())
        store.move("netsuite.desired", 7)
    return store


def is_empty(store: Store) -> bool:
    return not list(store.all_desired()) and store.position("netsuite.desired") is None


def test_reading_resumes_where_a_clean_store_ended(tmp_path: Path) -> None:
    filled(tmp_path / "p0").close(now_ms=NOW_MS)

    store = Store.open(tmp_path / "p0", identity="cluster-1", now_ms=NOW_MS + 1)

    assert store.position("netsuite.desired") == 7
    assert store.desired(key_of(STATE)) == (key_of(STATE), "00-a-b-00", STATE.encode())
    assert store.observed(STATE.record_key) == observed(STATE)


def test_a_store_that_was_not_closed_is_rebuilt(tmp_path: Path) -> None:
    filled(tmp_path / "p0").abandon()

    assert is_empty(Store.open(tmp_path / "p0", identity="cluster-1", now_ms=NOW_MS))


def test_a_store_that_crashed_after_a_clean_life_is_rebuilt(tmp_path: Path) -> None:
    filled(tmp_path / "p0").close(now_ms=NOW_MS)
    Store.open(tmp_path / "p0", identity="cluster-1", now_ms=NOW_MS).abandon()

    assert is_empty(Store.open(tmp_path / "p0", identity="cluster-1", now_ms=NOW_MS))


def test_a_store_of_another_cluster_is_rebuilt(tmp_path: Path) -> None:
    filled(tmp_path / "p0").close(now_ms=NOW_MS)

    assert is_empty(Store.open(tmp_path / "p0", identity="cluster-2", now_ms=NOW_MS))


def test_a_store_older_than_the_tombstones_is_rebuilt(tmp_path: Path) -> None:
    filled(tmp_path / "p0").close(now_ms=NOW_MS)

    assert is_empty(Store.open(tmp_path / "p0", identity="cluster-1", now_ms=NOW_MS + OLDEST_MS))


def test_a_damaged_file_is_rebuilt(tmp_path: Path) -> None:
    (tmp_path / "p0").write_bytes(b"this is not SQLite" * 100)

    assert is_empty(Store.open(tmp_path / "p0", identity="cluster-1", now_ms=NOW_MS))


def test_a_change_that_fails_leaves_records_and_position_as_they_were(tmp_path: Path) -> None:
    store = filled(tmp_path / "p0")

    with pytest.raises(RuntimeError), store.change():
        store.put_desired(key_of(STATE), None)
        store.move("netsuite.desired", 8)
        raise RuntimeError

    assert store.desired(key_of(STATE)) is not None
    assert store.position("netsuite.desired") == 7


def test_a_position_never_goes_back() -> None:
    store = Store.in_memory()

    store.move("netsuite.observed", 9)
    store.move("netsuite.observed", 4)

    assert store.position("netsuite.observed") == 9


def test_a_former_owner_that_still_has_the_file_open_is_not_waited_for(tmp_path: Path) -> None:
    former = filled(tmp_path / "p0")

    successor = Store.open(tmp_path / "p0", identity="cluster-1", now_ms=NOW_MS)

    assert is_empty(successor)
    assert former.position("netsuite.desired") == 7
