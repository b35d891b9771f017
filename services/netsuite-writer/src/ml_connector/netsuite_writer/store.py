"""What one partition's owner knows, in a SQLite file: a cache of `netsuite.desired` and `netsuite.observed`.

The positions of both topics are kept in the same transaction as what was read up to there, so reading resumes from
them. A file that is foreign, was not closed cleanly, or is older than the tombstones' retention is deleted: rebuilding
from the topics is always right, only slower.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from ml_connector.common.errors import Malformed, UnknownSchema
from ml_connector.common.topics import TOMBSTONE_RETENTION_MS
from ml_connector.common.wire import Attempt, BatchJob, Observed, Standing

SCHEMA_VERSION: Final = 3
# Half of the retention: the cleaner may start to drop tombstones right at its end.
OLDEST_MS: Final = TOMBSTONE_RETENTION_MS // 2

RECENT: Final = 10_000  # observed entries kept decoded
SEEN_MS: Final = 3 * 24 * 3600 * 1000  # longer than any poll looks back by itself

_TABLES: Final = """
CREATE TABLE desired (key TEXT PRIMARY KEY, trace TEXT NOT NULL, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE observed (record TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE open (kind TEXT NOT NULL, key TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (kind, key)) WITHOUT ROWID;
CREATE TABLE seen (record TEXT PRIMARY KEY, modified TEXT NOT NULL, at_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX seen_by_time ON seen (at_ms);
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
        self._recent: dict[str, Observed | None] = {}
        self.unreadable: set[str] = set()  # keys of `netsuite.observed` whose values were found to be so
        self._attempts: dict[str, Attempt] = {}
        self._attempts_of: defaultdict[str, dict[str, Attempt]] = defaultdict(dict)  # the same, by account
        self._jobs: dict[str, BatchJob] = {}
        self._standings: dict[str, Standing] = {}

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
            store._load()
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
            self._save()
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

    def waits(self, record: str) -> bool:
        """Whether some state of this record is unsettled, or a call of it may yet be executed."""
        if self.attempt(record) is not None:
            return True
        query = "SELECT 1 FROM desired WHERE key > ? AND key < ? LIMIT 1"  # `$` follows `#`, which ends the record key
        return self._db.execute(query, (f"{record}#", f"{record}$")).fetchone() is not None

    def seen(self, record: str) -> str:
        """`lastmodifieddate`, as NetSuite showed it, of the record's last comparison. Only here: lost with the file."""
        row = self._db.execute("SELECT modified FROM seen WHERE record = ?", (record,)).fetchone()
        return "" if row is None else str(row[0])

    def see(self, modified: Mapping[str, str], *, now_ms: int) -> None:
        self._db.executemany(
            "INSERT OR REPLACE INTO seen VALUES (?, ?, ?)", [(record, one, now_ms) for record, one in modified.items()]
        )
        self._db.execute("DELETE FROM seen WHERE at_ms < ?", (now_ms - SEEN_MS,))

    def all_desired(self) -> Iterator[Waiting]:
        """Everything unsettled; the table must not change meanwhile."""
        for row in self._db.execute("SELECT key, trace, body FROM desired"):
            yield Waiting(*row)

    def desired_of(self, account: str) -> list[Waiting]:
        """What is unsettled of one account; its name in small letters."""
        query = "SELECT key, trace, body FROM desired WHERE key > ? AND key < ?"  # `0` follows `/`, which ends the name
        return [Waiting(*row) for row in self._db.execute(query, (f"{account}/", f"{account}0"))]

    def put_observed(self, record: str, body: bytes | None) -> None:
        self._recent.pop(record, None)
        self.unreadable.discard(record)
        if body is None:
            self._db.execute("DELETE FROM observed WHERE record = ?", (record,))
        else:
            self._db.execute("INSERT OR REPLACE INTO observed VALUES (?, ?)", (record, body))

    def put_all_observed(self, entries: Mapping[str, bytes | None]) -> None:
        """Many at once, as they are read from the topic."""
        for record in entries:
            self._recent.pop(record, None)
        gone = [(record,) for record, body in entries.items() if body is None]
        known = [(record, body) for record, body in entries.items() if body is not None]
        self._db.executemany("DELETE FROM observed WHERE record = ?", gone)
        self._db.executemany("INSERT OR REPLACE INTO observed VALUES (?, ?)", known)

    def observed(self, record: str) -> Observed | None:
        """Asked several times for each record that is written: the last ones are kept decoded.

        Raises Malformed: nobody knows which generation NetSuite holds, so none may be written (DESIGN rule 3).
        """
        if record in self._recent:
            return self._recent[record]
        row = self._db.execute("SELECT body FROM observed WHERE record = ?", (record,)).fetchone()
        try:
            found = None if row is None else Observed.decode(row[0])
        except Malformed as error:
            self.unreadable.add(record)
            raise Malformed(f"what is stored of {record} cannot be read: {error}") from error
        if len(self._recent) >= RECENT:
            self._recent.clear()
        self._recent[record] = found
        return found

    def internal_id(self, record: str) -> str | None:
        """Once NetSuite holds the record."""
        observed = self.observed(record)
        return None if observed is None else observed.internal_id

    # Of these there are few at a time, and they change often: they are in memory, and in the file once it is closed.

    def put_attempt(self, record: str, attempt: Attempt | None) -> None:
        _put(self._attempts, record, attempt)
        _put(self._attempts_of[record.partition("/")[0]], record, attempt)

    def attempt(self, record: str) -> Attempt | None:
        return self._attempts.get(record)

    def in_doubt(self, record: str) -> bool:
        """Whether a call of it was never answered, and NetSuite may still execute it."""
        attempt = self.attempt(record)
        return attempt is not None and bool(attempt.doubts)

    def attempts(self) -> list[Attempt]:
        return list(self._attempts.values())

    def attempts_of(self, account: str) -> list[Attempt]:
        """`account`: its name in small letters."""
        return list(self._attempts_of[account].values())

    def put_job(self, idempotency_key: str, job: BatchJob | None) -> None:
        _put(self._jobs, idempotency_key, job)

    def jobs(self) -> list[BatchJob]:
        return list(self._jobs.values())

    def put_standing(self, key: str, standing: Standing | None) -> None:
        """`key`: as in the topic."""
        _put(self._standings, key, standing)

    def standing(self, key: str) -> Standing | None:
        return self._standings.get(key)

    def standings(self) -> list[str]:
        """Keys of what is suspended or halted."""
        return list(self._standings)

    def _load(self) -> None:
        for kind, key, body in self._db.execute("SELECT kind, key, body FROM open"):
            into, decode = self._open_tables()[kind]
            into[key] = decode(body)
        for record, attempt in self._attempts.items():
            self._attempts_of[record.partition("/")[0]][record] = attempt

    def _save(self) -> None:
        self._db.execute("DELETE FROM open")
        for kind, (values, _) in self._open_tables().items():
            rows = [(kind, key, value.encode()) for key, value in values.items()]
            self._db.executemany("INSERT INTO open VALUES (?, ?, ?)", rows)

    def _open_tables(self) -> dict[str, tuple[dict[str, Any], Callable[[bytes], Any]]]:
        return {
            "attempt": (self._attempts, Attempt.decode),
            "job": (self._jobs, BatchJob.decode),
            "standing": (self._standings, Standing.decode),
        }

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
            Store(connection)._load()
        finally:
            connection.close()
    except (sqlite3.DatabaseError, Malformed, UnknownSchema):
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


def _put(values: dict[str, Any], key: str, value: Any) -> None:
    if value is None:
        values.pop(key, None)
    else:
        values[key] = value
