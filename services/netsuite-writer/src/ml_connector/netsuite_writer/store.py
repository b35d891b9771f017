"""What one partition's owner knows, in a SQLite file: a cache of `netsuite.desired` and `netsuite.observed`.

The positions of both topics are kept in the same transaction as what was read up to there, so reading resumes from
them. A file that is foreign, was not closed cleanly, or is older than the tombstones' retention is deleted: rebuilding
from the topics is always right, only slower.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from ml_connector.common.topics import TOMBSTONE_RETENTION_MS
from ml_connector.common.wire import Attempt, BatchJob, Observed, Standing

SCHEMA_VERSION: Final = 2
# Half of the retention: the cleaner may start to drop tombstones right at its end.
OLDEST_MS: Final = TOMBSTONE_RETENTION_MS // 2

_TABLES: Final = """
CREATE TABLE desired (key TEXT PRIMARY KEY, trace TEXT NOT NULL, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE observed (record TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE attempt (record TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE job (record TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE standing (record TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE position (topic TEXT PRIMARY KEY, next INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""


class Waiting(NamedTuple):
    """A message of `netsuite.desired` that has no tombstone yet."""

    key: str
    trace: str
    body: bytes


class Store:
    """Open with `Store.open`; every change happens inside `with store.change():`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    @classmethod
    def open(cls, path: Path, *, identity: str, now_ms: int) -> Store:
        """`identity`: of the cluster and the topics; a file made from others is foreign."""
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not _usable(path, identity, now_ms):
            _delete(path)
        fresh = not path.exists()
        store = cls(_connect(path))
        with store.change():
            if fresh:
                store._make_tables()
                store._note("schema", str(SCHEMA_VERSION))
                store._note("identity", identity)
            store._note("clean", "no")
        return store

    @classmethod
    def in_memory(cls) -> Store:
        """For rules that need no file."""
        store = cls(sqlite3.connect(":memory:", isolation_level=None))
        store._make_tables()
        return store

    def close(self, *, now_ms: int) -> None:
        """Close cleanly: the next owner on this machine may resume from here."""
        with self.change():
            self._note("clean", "yes")
            self._note("closed_at_ms", str(now_ms))
        self._db.close()

    def abandon(self) -> None:
        """Close without calling it clean; it will be rebuilt."""
        self._db.close()

    @contextmanager
    def change(self) -> Iterator[None]:
        """One transaction."""
        self._db.execute("BEGIN")
        try:
            yield
        except BaseException:  # half a change must not stay, whatever ended it
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def position(self, topic: str) -> int | None:
        """The offset from which to read on; None: from the beginning."""
        row = self._db.execute("SELECT next FROM position WHERE topic = ?", (topic,)).fetchone()
        return None if row is None else int(row[0])

    def move(self, topic: str, following: int) -> None:
        self._db.execute(
            "INSERT INTO position VALUES (?, ?) ON CONFLICT (topic) DO UPDATE SET next = max(next, excluded.next)",
            (topic, following),
        )

    def put_desired(self, key: str, body: bytes | None, *, trace: str = "") -> None:
        """None: it is settled."""
        if body is None:
            self._db.execute("DELETE FROM desired WHERE key = ?", (key,))
        else:
            self._db.execute("INSERT OR REPLACE INTO desired VALUES (?, ?, ?)", (key, trace, body))

    def desired(self, key: str) -> Waiting | None:
        row = self._db.execute("SELECT key, trace, body FROM desired WHERE key = ?", (key,)).fetchone()
        return None if row is None else Waiting(*row)

    def all_desired(self) -> Iterator[Waiting]:
        """Everything unsettled; the table must not change meanwhile."""
        for row in self._db.execute("SELECT key, trace, body FROM desired"):
            yield Waiting(*row)

    def put_observed(self, record: str, body: bytes | None) -> None:
        self._put("observed", record, body)

    def observed(self, record: str) -> Observed | None:
        row = self._db.execute("SELECT body FROM observed WHERE record = ?", (record,)).fetchone()
        return None if row is None else Observed.decode(row[0])

    def put_attempt(self, record: str, body: bytes | None) -> None:
        self._put("attempt", record, body)

    def attempt(self, record: str) -> Attempt | None:
        row = self._db.execute("SELECT body FROM attempt WHERE record = ?", (record,)).fetchone()
        return None if row is None else Attempt.decode(row[0])

    def attempts(self) -> list[Attempt]:
        return [Attempt.decode(row[0]) for row in self._db.execute("SELECT body FROM attempt")]

    def put_job(self, idempotency_key: str, body: bytes | None) -> None:
        self._put("job", idempotency_key, body)

    def jobs(self) -> list[BatchJob]:
        return [BatchJob.decode(row[0]) for row in self._db.execute("SELECT body FROM job")]

    def put_standing(self, key: str, body: bytes | None) -> None:
        """`key`: as in the topic."""
        self._put("standing", key, body)

    def standing(self, key: str) -> Standing | None:
        row = self._db.execute("SELECT body FROM standing WHERE record = ?", (key,)).fetchone()
        return None if row is None else Standing.decode(row[0])

    def _put(self, table: str, record: str, body: bytes | None) -> None:
        if body is None:
            self._db.execute(f"DELETE FROM {table} WHERE record = ?", (record,))  # noqa: S608  two names from above
        else:
            self._db.execute(f"INSERT OR REPLACE INTO {table} VALUES (?, ?)", (record, body))  # noqa: S608  two names from above

    def _make_tables(self) -> None:
        for statement in _TABLES.split(";\n"):
            self._db.execute(statement)

    def _note(self, name: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", (name, value))


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = OFF")  # a cache: after a power cut it is rebuilt
    return connection


def _usable(path: Path, identity: str, now_ms: int) -> bool:
    try:
        connection = _connect(path)
        try:
            about = dict(connection.execute("SELECT name, value FROM about"))
        finally:
            connection.close()
    except sqlite3.DatabaseError:
        return False  # not ours, or damaged
    return (
        about.get("schema") == str(SCHEMA_VERSION)
        and about.get("identity") == identity
        and about.get("clean") == "yes"
        and now_ms - int(about.get("closed_at_ms", "0")) < OLDEST_MS
    )


def _delete(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
