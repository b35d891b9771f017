"""What all folds share: the last message of a key, decoding that refuses and goes on, rows that any database takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Table, bindparam, delete

from ml_connector.admin.database import Row, upsert
from ml_connector.common.codec import Wire
from ml_connector.common.errors import ConnectorError
from ml_connector.common.kafka.record import Record
from ml_connector.common.logs import get_logger

log = get_logger()

IN_ONE: Final = 500  # values of one IN
# A text that is part of an index; PostgreSQL takes 2,700 bytes of one row there.
MOST_CHARS: Final = 300

T = TypeVar("T")
W = TypeVar("W", bound=Wire)


def last_by_key(records: Sequence[Record]) -> dict[str, Record]:
    """Of each key the last message, in order: what compaction would leave of them."""
    found: dict[str, Record] = {}
    for record in records:
        if record.key is not None:
            key = record.key.decode("utf-8", "replace")
            found.pop(key, None)
            found[key] = record
    return found


def read(kind: type[W], record: Record) -> W | None:
    """None: refused."""
    try:
        return kind.decode(record.value or b"")
    except ConnectorError as error:
        refuse(record, str(error))
        return None


def refuse(record: Record, problem: str) -> None:
    log.warning(
        "message_refused", topic=record.topic, partition=record.partition, offset=record.offset, problem=problem
    )


def put(connection: Connection, table: Table, rows: Sequence[Row], **how: Any) -> None:
    """`upsert` of texts without NUL, which PostgreSQL refuses."""
    upsert(connection, table, [{name: _clean(value) for name, value in row.items()} for row in rows], **how)


def drop(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Delete the rows that have these values."""
    if rows:
        same = [table.c[name] == bindparam(f"of_{name}") for name in rows[0]]
        values = [{f"of_{name}": _clean(value) for name, value in row.items()} for row in rows]
        connection.execute(delete(table).where(*same), values)


def some(values: Iterable[T]) -> Iterator[list[T]]:
    """Distinct values, as many at a time as fit one IN; in order, so that two writers lock alike."""
    distinct = sorted(set(values))  # type: ignore[type-var]  # texts, or tuples of them
    for start in range(0, len(distinct), IN_ONE):
        yield distinct[start : start + IN_ONE]


def _clean(value: Any) -> Any:
    return value.replace("\0", "\ufffd") if isinstance(value, str) and "\0" in value else value
