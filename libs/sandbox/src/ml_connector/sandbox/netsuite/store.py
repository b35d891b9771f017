"""The records of one account: by internal id, and by external id within a record group."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ml_connector.sandbox.netsuite.schema import SEED, TYPES


@dataclass(slots=True)
class Record:
    """`fields`: name -> JSON value; a reference is the internal id of its target, with its type."""

    id: str
    type: str
    external_id: str | None
    fields: dict[str, Any]
    created_ms: int
    modified_ms: int


@dataclass(frozen=True, slots=True)
class Pointer:
    """The stored form of a reference."""

    type: str
    id: str


@dataclass(slots=True)
class Records:
    """Everything one account holds."""

    by_type: dict[str, dict[str, Record]] = field(default_factory=dict)
    by_external_id: dict[str, dict[str, Record]] = field(default_factory=dict)
    next_id: Iterator[int] = field(default_factory=lambda: itertools.count(1001))

    def __post_init__(self) -> None:
        for name, rows in SEED.items():
            self.by_type[name] = {
                row["id"]: Record(row["id"], name, None, {k: v for k, v in row.items() if k != "id"}, 0, 0)
                for row in rows
            }

    def get(self, kind: str, internal_id: str) -> Record | None:
        return self.by_type.get(kind, {}).get(internal_id)

    def by_eid(self, kind: str, external_id: str) -> Record | None:
        """External ids are compared without regard to case, within the group of the record type."""
        found = self.by_external_id.get(TYPES[kind].group, {}).get(external_id.lower())
        return found if found is not None and found.type == kind else None

    def taken(self, kind: str, external_id: str) -> bool:
        """Whether any record of the group has this external id."""
        return external_id.lower() in self.by_external_id.get(TYPES[kind].group, {})

    def add(self, record: Record) -> None:
        self.by_type.setdefault(record.type, {})[record.id] = record
        if record.external_id is not None:
            self.by_external_id.setdefault(TYPES[record.type].group, {})[record.external_id.lower()] = record

    def remove(self, record: Record) -> None:
        del self.by_type[record.type][record.id]
        if record.external_id is not None:
            del self.by_external_id[TYPES[record.type].group][record.external_id.lower()]

    def dependants(self, record: Record) -> bool:
        """Whether any record refers to this one."""
        pointer = Pointer(record.type, record.id)
        return any(pointer in other.fields.values() for records in self.by_type.values() for other in records.values())

    def all(self, kind: str) -> list[Record]:
        return list(self.by_type.get(kind, {}).values())
