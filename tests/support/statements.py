"""What is asked of a database while something runs, and how SQLite goes about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event

from ml_connector.admin.database import Database

Asked = list[tuple[str, Any]]  # SQL, parameters


@contextmanager
def asked(database: Database) -> Iterator[Asked]:
    """Each statement, in order; of transactions those that may write."""
    found: Asked = []

    def note(*given: Any) -> None:
        if given[2] != "BEGIN":
            found.append((given[2], given[3]))

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(database.engine, "before_cursor_execute", note)


def plans(database: Database, statements: Asked) -> list[str]:
    """The lines of EXPLAIN QUERY PLAN of all of them."""
    with database.read() as connection:
        return [
            str(row[3])
            for sql, parameters in statements
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", parameters)
        ]
