"""The records of one account, in a SQLite database in memory: small enough for a million, and SuiteQL can read it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from ml_connector.sandbox.netsuite.schema import SEED, TYPES

FIRST_ID: Final = 1001
_TABLES: Final = """
CREATE TABLE record (
    type TEXT NOT NULL, id INTEGER NOT NULL, "group" TEXT NOT NULL, external_id TEXT, entity_id TEXT,
    fields TEXT NOT NULL, created_ms INTEGER NOT NULL, modified_ms INTEGER NOT NULL, PRIMARY KEY (type, id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX by_external_id ON record ("group", lower(external_id)) WHERE external_id IS NOT NULL;
CREATE INDEX by_exact_external_id ON record (type, external_id) WHERE external_id IS NOT NULL;
CREATE INDEX by_entity_id ON record (entity_id, type) WHERE entity_id IS NOT NULL;
"""
_COLUMNS: Final = "type, id, external_id, fields, created_ms, modified_ms"
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


@dataclass(slots=True)
class Record:
    """`fields`: name -> JSON value. A reference is stored as `{"type": ..., "id": ...}`, a sublist as its lines."""

    id: str
    type: str
    external_id: str | None
    fields: dict[str, Any]
    created_ms: int
    modified_ms: int


class Records:
    """Everything that one account holds."""

    def __init__(self) -> None:
        self.db = sqlite3.connect(":memory:", isolation_level=None)
        self.db.executescript(_TABLES)
        self.views_of: object = None  # what the views for SuiteQL were made for, once they are made
        self._next_id = FIRST_ID
        self.add_all(
            Record(row["id"], kind, None, {name: value for name, value in row.items() if name != "id"}, 0, 0)
            for kind, rows in SEED.items()
            for row in rows
        )

    def next_id(self) -> str:
        self._next_id += 1
        return str(self._next_id - 1)

    def get(self, kind: str, internal_id: str) -> Record | None:
        if not internal_id.lstrip("-").isdigit():
            return None
        return self._one("type = ? AND id = ?", (kind, int(internal_id)))

    def by_eid(self, kind: str, external_id: str) -> Record | None:
        """External ids are compared without regard to case, within the group of the record type."""
        found = self._holder(kind, external_id)
        return found if found is not None and found.type == kind else None

    def taken(self, kind: str, external_id: str) -> bool:
        """Whether any record of the group has this external id."""
        return self._holder(kind, external_id) is not None

    def named(self, kind: str, entity_id: str) -> Record | None:
        """The record with this entity id, whatever its case. `+`: else SQLite walks all records of the type."""
        return self._one("entity_id = ? AND +type = ?", (entity_id.lower(), kind))

    def add(self, record: Record) -> None:
        self.db.execute("INSERT INTO record VALUES (?, ?, ?, ?, ?, ?, ?, ?)", _row(record))

    def add_all(self, records: Iterable[Record]) -> None:
        self.db.execute("BEGIN")
        try:
            self.db.executemany("INSERT INTO record VALUES (?, ?, ?, ?, ?, ?, ?, ?)", map(_row, records))
        except sqlite3.IntegrityError:
            self.db.execute("ROLLBACK")
            raise
        self.db.execute("COMMIT")

    def change(self, record: Record) -> None:
        """An index whose column stays as it was is not touched."""
        kind, internal_id, _, external_id, entity_id, fields, _, modified_ms = _row(record)
        self.db.execute(
            "UPDATE record SET external_id = ?, entity_id = ?, fields = ?, modified_ms = ? WHERE type = ? AND id = ?",
            (external_id, entity_id, fields, modified_ms, kind, internal_id),
        )

    def remove(self, record: Record) -> None:
        self.db.execute("DELETE FROM record WHERE type = ? AND id = ?", (record.type, int(record.id)))

    def dependants(self, record: Record) -> bool:
        """Whether any record refers to this one."""
        pointer = f"%{_encode(pointer_to(record.type, record.id)).decode()}%"
        return self.db.execute("SELECT 1 FROM record WHERE fields LIKE ? LIMIT 1", (pointer,)).fetchone() is not None

    def count(self, kind: str) -> int:
        found: int = self.db.execute("SELECT count(*) FROM record WHERE type = ?", (kind,)).fetchone()[0]
        return found

    def all(self, kind: str) -> Iterator[Record]:
        """By internal id."""
        rows = self.db.execute(f"SELECT {_COLUMNS} FROM record WHERE type = ? ORDER BY id", (kind,))  # noqa: S608  a constant
        return map(_record, rows)

    def page(self, kind: str, *, limit: int, offset: int) -> list[str]:
        """Internal ids only."""
        rows = self.db.execute(
            "SELECT id FROM record WHERE type = ? ORDER BY id LIMIT ? OFFSET ?", (kind, limit, offset)
        )
        return [str(row[0]) for row in rows]

    def _holder(self, kind: str, external_id: str) -> Record | None:
        return self._one(
            '"group" = ? AND lower(external_id) = ? AND external_id IS NOT NULL',
            (TYPES[kind].group, external_id.lower()),
        )

    def _one(self, where: str, values: tuple[str | int, ...]) -> Record | None:
        row = self.db.execute(f"SELECT {_COLUMNS} FROM record WHERE {where}", values).fetchone()  # noqa: S608  constants
        return None if row is None else _record(row)


def pointer_to(kind: str, internal_id: str) -> dict[str, str]:
    """The stored form of a reference."""
    return {"type": kind, "id": internal_id}


def _row(record: Record) -> tuple[Any, ...]:
    entity_id = record.fields.get("entityId")
    return (
        record.type, int(record.id), TYPES[record.type].group, record.external_id,
        None if entity_id is None else str(entity_id).lower(),
        _encode(record.fields).decode(), record.created_ms, record.modified_ms,
    )  # fmt: skip


def _record(row: tuple[Any, ...]) -> Record:
    kind, internal_id, external_id, fields, created_ms, modified_ms = row
    return Record(str(internal_id), kind, external_id, _decode(fields), created_ms, modified_ms)
