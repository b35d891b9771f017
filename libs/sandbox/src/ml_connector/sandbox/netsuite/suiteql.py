"""SuiteQL over the records: parsed by sqlglot, executed over rows of texts (facts/netsuite.md section 11)."""

from __future__ import annotations

from typing import Any, Final

import sqlglot
from sqlglot import exp
from sqlglot.executor import execute

from ml_connector.sandbox.netsuite.accounts import Account
from ml_connector.sandbox.netsuite.content import fields_of
from ml_connector.sandbox.netsuite.errors import NetsuiteError
from ml_connector.sandbox.netsuite.schema import TYPES
from ml_connector.sandbox.netsuite.store import Pointer, Record
from ml_connector.sandbox.web import Reply, Request, json_reply

PATH: Final = "/services/rest/query/v1/suiteql"
MAX_PAGE: Final = 1000
# Opportunities are rows of `transaction`.
_TABLES: Final = {name.lower(): name for name in TYPES if name != "opportunity"} | {"transaction": "opportunity"}


def handle(account: Account, request: Request) -> Reply:
    """`POST /services/rest/query/v1/suiteql?limit=&offset=`. Raises NetsuiteError."""
    if request.method != "POST":
        raise NetsuiteError(405, "INVALID_REQUEST", "SuiteQL needs POST.")
    if "transient" not in request.headers.get("prefer", ""):
        raise _bad("The required request header 'Prefer: transient' is missing.")
    limit, offset = _paging(request)
    try:
        rows = _rows(account, str(request.json()["q"]))
    except (ValueError, KeyError, TypeError, sqlglot.errors.SqlglotError) as error:
        raise _bad("Invalid search query. Detailed unprocessed description follows. Search error occurred.") from error
    shown = [{"links": [], **{k: v for k, v in row.items() if v is not None}} for row in rows[offset : offset + limit]]
    return json_reply(
        200,
        {
            "links": [],
            "count": len(shown),
            "hasMore": offset + limit < len(rows),
            "items": shown,
            "offset": offset,
            "totalResults": len(rows),
        },
    )


def _paging(request: Request) -> tuple[int, int]:
    try:
        limit, offset = int(request.query.get("limit", MAX_PAGE)), int(request.query.get("offset", 0))
    except ValueError:
        raise _bad("limit and offset are numbers.") from None
    if not 1 <= limit <= MAX_PAGE or offset % limit:
        raise _bad("limit is 1 to 1000, and offset must be divisible by limit.")
    return limit, offset


def _bad(detail: str) -> NetsuiteError:
    return NetsuiteError(400, "INVALID_PARAMETER", detail)


def _rows(account: Account, query: str) -> list[dict[str, Any]]:
    tree = sqlglot.parse_one(query)
    if not isinstance(tree, exp.Select):
        raise ValueError("only SELECT")  # noqa: TRY004  a bad query, whatever its type
    names = {table.name.lower() for table in tree.find_all(exp.Table)}
    tables = {name: [_row(name, record) for record in account.records.all(_TABLES[name])] for name in names}
    schema = {name: dict.fromkeys(_columns(name), "text") for name in names}
    result = execute(tree, schema=schema, tables=tables)
    return [dict(zip(result.columns, row, strict=True)) for row in result.rows]


def _columns(table: str) -> list[str]:
    names = [name.lower() for name in fields_of(_TABLES[table])]
    return list(dict.fromkeys(["id", "externalid", "type", *names]))


def _row(table: str, record: Record) -> dict[str, str | None]:
    """Values are texts, booleans 'T' and 'F', column names lower case."""
    row: dict[str, str | None] = dict.fromkeys(_columns(table))
    row.update({name.lower(): _text(value) for name, value in record.fields.items()})
    row["id"] = record.id
    row["externalid"] = record.external_id
    if table == "transaction":
        row["type"] = "Opprtnty"
    return row


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return "T" if value else "F"
    if isinstance(value, Pointer):
        return value.id
    return None if value is None or isinstance(value, list) else str(value)
