"""SQLite or PostgreSQL, the same to everybody else: transactions, upserts, the schema brought up to date.

SQLite has one writer at a time: a write transaction begins with the lock, so that it never fails in its middle.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, cast

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import (
    Connection,
    Engine,
    Executable,
    Integer,
    Table,
    case,
    create_engine,
    event,
    make_url,
    text,
    tuple_,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql import ColumnElement

LOCK_WAIT_MS: Final = 30_000
_POOL: Final[dict[str, Any]] = {
    "pool_size": 16,
    "max_overflow": 16,
    "hide_parameters": True,  # an error's text must not hold a customer's values
}
_ONE_MIGRATION: Final = threading.Lock()  # alembic keeps what it is at in its module
MIGRATION_LOCK: Final = 0x6D6C63  # any numbers, the same for all replicas
FOLD_LOCK: Final = 0x6D6C66

Row = Mapping[str, Any]


class Database:
    """`read` and `write` give connections; both block, so the event loop calls them in threads."""

    def __init__(self, url: str) -> None:
        where = make_url(url)
        self.on_sqlite = where.get_backend_name() == "sqlite"
        if self.on_sqlite and where.database:
            Path(where.database).parent.mkdir(parents=True, exist_ok=True)
        self.engine = _sqlite(url) if self.on_sqlite else create_engine(url, **_POOL)

    def migrate(self) -> None:
        """Bring the schema up to date. Replicas that start together take turns."""
        with _ONE_MIGRATION, self.engine.connect().execution_options(writes=True) as connection:
            if not self.on_sqlite:
                connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": MIGRATION_LOCK})
            try:
                command.upgrade(_alembic(connection), "head")
                connection.commit()
            finally:
                if not self.on_sqlite:
                    connection.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": MIGRATION_LOCK})

    def migrated(self) -> bool:
        """Whether the schema is as new as this release knows it, or newer."""
        with self.read() as connection:
            at = MigrationContext.configure(connection).get_current_revision()
            return at is not None and at >= (ScriptDirectory.from_config(_alembic(connection)).get_current_head() or "")

    @contextmanager
    def read(self) -> Iterator[Connection]:
        with self.engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Committed at the end, rolled back when anything is raised."""
        with self.engine.connect().execution_options(writes=True) as connection, connection.begin():
            yield connection

    def close(self) -> None:
        self.engine.dispose()


def lock_folding(connection: Connection) -> None:
    """One at a time, over all replicas: each must see what the one before it has written. SQLite has one writer."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": FOLD_LOCK})


def upsert(
    connection: Connection,
    table: Table,
    rows: Sequence[Row],
    *,
    fill: Sequence[str] = (),
    add: Sequence[str] = (),
    only_newer: Sequence[str] = (),
    where: ColumnElement[bool] | None = None,
) -> None:
    """Insert, or replace what is there under the same primary key.

    `fill`: columns that keep what they have when the new value is empty (or 0). `add`: columns that are added up.
    `only_newer`: a row stays as it is unless the new one is greater in these columns, compared in order.
    `where`: what must hold of the row that is there.
    """
    if not rows:
        return
    how = (tuple(rows[0]), tuple(fill), tuple(add), tuple(only_newer))
    if where is None:
        statement: Executable = _kept_upsert(connection.dialect.name, table, *how)
    else:
        statement = _upsert(connection.dialect.name, table, *how, where=where)
    connection.execute(statement, list(rows))


def _upsert(
    dialect: str,
    table: Table,
    columns: tuple[str, ...],
    fill: tuple[str, ...],
    add: tuple[str, ...],
    only_newer: tuple[str, ...],
    where: ColumnElement[bool] | None = None,
) -> Executable:
    insert: Any = (sqlite if dialect == "sqlite" else postgresql).insert(table)
    key = list(table.primary_key.columns)
    new: dict[str, ColumnElement[Any]] = {
        column.name: insert.excluded[column.name] for column in table.c if column not in key and column.name in columns
    }
    for name in fill:
        empty = 0 if isinstance(table.c[name].type, Integer) else ""
        new[name] = case((insert.excluded[name] == empty, table.c[name]), else_=insert.excluded[name])
    for name in add:
        new[name] = table.c[name] + insert.excluded[name]
    if only_newer:
        where = tuple_(*(insert.excluded[n] for n in only_newer)) > tuple_(*(table.c[n] for n in only_newer))
    if not new:
        return cast(Executable, insert.on_conflict_do_nothing(index_elements=key))
    return cast(Executable, insert.on_conflict_do_update(index_elements=key, set_=new, where=where))


# Making a statement costs more than executing it.
_kept_upsert: Final = lru_cache(_upsert)


def _sqlite(url: str) -> Engine:
    engine = create_engine(url, connect_args={"timeout": LOCK_WAIT_MS / 1000}, **_POOL)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # SQLAlchemy's own BEGIN below, not the driver's
        for setting in ("journal_mode=WAL", "synchronous=NORMAL", "cache_size=-65536", "mmap_size=1073741824"):
            connection.execute(f"PRAGMA {setting}").fetchall()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _alembic(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config
