"""Find the internal ids that a record refers to: a currency by ISO code, a subsidiary by id or name, ...

Looked up in bulk by SuiteQL, one table at a time, and kept for an hour; a value that is missing is looked for
again at most once a minute. Uses the slot of the record that asks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from ml_connector.common.clock import Clock
from ml_connector.common.wire import Reference, ReferenceKind
from ml_connector.netsuite_writer.settle import Answer

FRESH_S: Final = 3600.0
LOOK_AGAIN_S: Final = 60.0

# What to ask, and which columns name a row. Internal ids always do.
_QUERIES: Final[dict[ReferenceKind, tuple[str, tuple[str, ...]]]] = {
    "currency": ("SELECT id, symbol, name FROM currency", ("symbol", "name")),
    "subsidiary": ("SELECT id, name FROM subsidiary", ("name",)),
    "employee": ("SELECT id, email FROM employee", ("email",)),
}
MOST_ROWS: Final = 1000  # of one answer (facts/netsuite.md section 11)
_ALREADY_IDS: Final = frozenset({"id", "status"})


class Queries(Protocol):
    async def query(self, suiteql: str) -> tuple[Answer, list[dict[str, Any]]]: ...


@dataclass(frozen=True, slots=True)
class Unknown:
    """NetSuite has no such record. Names the field and the kind, not the value."""

    field: str
    kind: ReferenceKind


@dataclass(slots=True)
class _Table:
    ids: dict[str, str] = field(default_factory=dict)
    read_s: float = float("-inf")


class References:
    """The look-ups of one account."""

    def __init__(self, queries: Queries, clock: Clock) -> None:
        self._queries = queries
        self._clock = clock
        self._tables: dict[ReferenceKind, _Table] = {}
        self._reading = asyncio.Lock()

    async def find(self, references: Mapping[str, Reference]) -> dict[str, str] | Unknown | Answer:
        """Body field -> internal id; or the first one that is unknown; or the answer that says why nobody knows."""
        found: dict[str, str] = {}
        for name, reference in references.items():
            internal_id = await self._one(reference)
            if isinstance(internal_id, Answer):
                return internal_id
            if internal_id is None:
                return Unknown(name, reference.kind)
            found[name] = internal_id
        return found

    async def _one(self, reference: Reference) -> str | Answer | None:
        if reference.kind in _ALREADY_IDS or (reference.kind == "subsidiary" and reference.value.isdigit()):
            return reference.value
        wanted = reference.value.casefold()
        async with self._reading:  # one question for all who wait
            table = self._tables.setdefault(reference.kind, _Table())
            age_s = self._clock.monotonic_s() - table.read_s
            if age_s > FRESH_S or (wanted not in table.ids and age_s > LOOK_AGAIN_S):
                failed = await self._read(reference.kind, table)
                if failed is not None:
                    return failed
        return table.ids.get(wanted)

    async def _read(self, kind: ReferenceKind, table: _Table) -> Answer | None:
        """All rows, by pages; of two with the same name the newer one counts."""
        suiteql, names = _QUERIES[kind]
        ids: dict[str, str] = {}
        last = 0
        while True:
            answer, rows = await self._queries.query(f"{suiteql} WHERE id > {last} ORDER BY id")
            if answer.status != 200:
                return answer
            if not all(_has_id(row) for row in rows):
                return Answer(502, detail="a row without an id")
            ids |= {str(row[name]).casefold(): str(row["id"]) for row in rows for name in names if row.get(name)}
            if len(rows) < MOST_ROWS:
                break
            last = int(rows[-1]["id"])
        table.ids, table.read_s = ids, self._clock.monotonic_s()
        return None


def _has_id(row: Mapping[str, Any]) -> bool:
    """Pages go on after the last one, so it must be a number."""
    shown = str(row.get("id"))
    return shown.isascii() and shown.isdecimal()
