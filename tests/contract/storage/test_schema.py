"""Migrations make what `tables` declares, whoever starts them."""

from __future__ import annotations

import threading

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from ml_connector.admin.database import Database
from ml_connector.admin.tables import metadata, named


def test_migrations_make_the_declared_tables(database: Database) -> None:
    with database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_migrations_make_the_declared_indexes_and_nothing_else(database: Database) -> None:
    with database.read() as connection:
        seen = inspect(connection)
        for table in metadata.sorted_tables:
            made = {str(i["name"]) for i in seen.get_indexes(table.name) if not i.get("duplicates_constraint")}
            assert made == {index.name for index in table.indexes}
            assert seen.get_pk_constraint(table.name)["constrained_columns"] == [
                column.name for column in table.primary_key.columns
            ]


def test_several_replicas_may_start_at_once(url: str, database: Database) -> None:
    """They take turns, and what is there stays."""
    with database.write() as connection:
        row = {"folded": "x", "company": "c", "entity": "deal", "source_id": "1", "name": "X", "at_ms": 1}
        connection.execute(named.insert(), [row])
    replicas = [Database(url) for _ in range(4)]
    threads = [threading.Thread(target=replica.migrate) for replica in replicas]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    with database.write() as connection:
        assert connection.scalar(text("SELECT count(*) FROM named")) == 1
        connection.execute(named.delete())
    for replica in replicas:
        replica.close()


def test_texts_are_compared_byte_by_byte(database: Database) -> None:
    """So that a prefix is a range, and both databases sort alike."""
    names = ["a", "B", "é", "z", "Z", "ab", "a-b", "\U0001f600"]
    with database.engine.connect() as connection:
        rows = [{"folded": n, "company": "c", "entity": "deal", "source_id": "1", "name": n, "at_ms": 1} for n in names]
        connection.execute(named.insert(), rows)
        found = list(connection.scalars(named.select().with_only_columns(named.c.folded).order_by(named.c.folded)))

    assert found == sorted(names, key=str.encode)
