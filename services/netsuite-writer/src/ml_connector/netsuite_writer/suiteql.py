"""Take what SuiteQL answers: rows, their columns named in small letters, or that NetSuite refuses the query."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from ml_connector.netsuite_writer.settle import Answer

Row = Mapping[str, Any]


class Refused(Exception):
    """NetSuite does not answer the query."""


class Queries(Protocol):
    async def query(self, suiteql: str) -> tuple[Answer, list[dict[str, Any]]]:
        """Raises TryLater."""
        ...


async def rows_of(queries: Queries, suiteql: str) -> list[dict[str, Any]]:
    """Raises Refused, TryLater."""
    answer, rows = await queries.query(suiteql)
    refuse_failed(answer)
    return [lower_names(row) for row in rows]


def refuse_failed(answer: Answer) -> None:
    """Raises Refused."""
    if answer.status != 200:
        raise Refused(f"NetSuite refuses the query: {answer.status} {answer.code} {answer.detail}")


def lower_names(row: Row) -> dict[str, Any]:
    """Oracle warns that the case of column names may change (section_156257796125)."""
    return {name.lower(): value for name, value in row.items()}


def by_external_id(rows: Iterable[Row]) -> dict[str, list[dict[str, Any]]]:
    """In small letters, as NetSuite compares them."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in map(lower_names, rows):
        found.setdefault(str(row.get("externalid") or "").lower(), []).append(row)
    return found
