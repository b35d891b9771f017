"""SuiteQL: parsed by sqlglot as Oracle's dialect, executed by SQLite on the account's records
(facts/netsuite.md section 11)."""

from __future__ import annotations

import functools
import re
import sqlite3
from collections.abc import Iterator
from typing import Any, Final

import sqlglot
from sqlglot import exp

from ml_connector.sandbox.netsuite import views
from ml_connector.sandbox.netsuite.accounts import Account
from ml_connector.sandbox.netsuite.collection import page_links, paging
from ml_connector.sandbox.netsuite.errors import NetsuiteError, invalid_parameter, not_allowed
from ml_connector.sandbox.web import Reply, Request, json_reply

PATH: Final = "/services/rest/query/v1/suiteql"
MAX_ROWS: Final = 100_000  # without SuiteAnalytics Connect (Oracle section_156414087576)


def handle(account: Account, request: Request) -> Reply:
    """`POST /services/rest/query/v1/suiteql?limit=&offset=`. Raises NetsuiteError."""
    if request.method != "POST":
        raise not_allowed("SuiteQL needs POST.")
    if "transient" not in request.headers.get("prefer", ""):
        detail = "The required request header 'Prefer: transient' is missing."
        raise NetsuiteError(400, "INVALID_HEADER", detail, where={"o:errorHeader": "Prefer"})
    limit, offset = paging(request, account.switches.max_query_page)
    if offset + limit > MAX_ROWS:
        raise invalid_parameter(f"Only the first {MAX_ROWS} rows can be read.", parameter="offset")
    query, parameters = _asked(request)
    try:
        rows, total = _run(account, query, parameters, limit, offset)
    except (sqlglot.errors.SqlglotError, sqlite3.Error, ValueError) as error:
        raise _refused() from error
    keep_null = account.switches.null_columns == "null"
    items: list[dict[str, Any]] = [
        {"links": [], **{k: v for k, v in row.items() if keep_null or v is not None}} for row in rows
    ]
    base = f"https://{account.host}{PATH}"
    return json_reply(
        200,
        {
            "links": page_links(base, limit, offset, total),
            "count": len(items),
            "hasMore": offset + len(items) < total,
            "items": items,
            "offset": offset,
            "totalResults": total,
        },
    )


def _asked(request: Request) -> tuple[str, list[Any]]:
    try:
        body = request.json()
        return str(body["q"]), list(body.get("params") or [])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _refused() from error


def _refused() -> NetsuiteError:
    detail = "Invalid search query. Detailed unprocessed description follows. Search error occurred: Invalid query."
    return invalid_parameter(detail, parameter="q")


def _run(
    account: Account, query: str, parameters: list[Any], limit: int, offset: int
) -> tuple[list[dict[str, str | None]], int]:
    query_sql, dates = translated(query)
    db = views.database(account)
    paged = f"SELECT * FROM ({query_sql}) LIMIT ? OFFSET ?"  # noqa: S608  made by sqlglot from a parsed query
    cursor = db.execute(paged, [*parameters, limit, offset])
    names = [str(column[0]).lower() for column in cursor.description]
    rows = [
        {name: _text(value, is_date=name in dates) for name, value in zip(names, row, strict=True)} for row in cursor
    ]
    if offset == 0 and len(rows) < limit:
        return rows, len(rows)
    total: int = db.execute(f"SELECT count(*) FROM ({query_sql})", parameters).fetchone()[0]  # noqa: S608  as above
    return rows, total


def _text(value: Any, *, is_date: bool) -> str | None:
    """All values are texts; a bare date column comes in the account's display format."""
    if value is None:
        return None
    if is_date and re.match(r"\d{4}-\d\d-\d\d", str(value)):
        return f"{int(value[5:7])}/{int(value[8:10])}/{value[:4]}"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


@functools.lru_cache(maxsize=1000)
def translated(query: str) -> tuple[str, frozenset[str]]:
    """The query for SQLite, and which of its columns are bare dates. Raises SqlglotError and ValueError."""
    tree = sqlglot.parse_one(query, read="oracle")
    if not isinstance(tree, exp.Query):
        raise ValueError("only SELECT")  # noqa: TRY004  a bad query, whatever its type
    known = {common.alias.lower() for common in tree.find_all(exp.CTE)}
    for table in tree.find_all(exp.Table):
        if table.name.lower() not in {*views.TABLES, views.CUSTOM_FIELD_TABLE, *known}:
            raise ValueError(f"Record '{table.name}' was not found.")
        table.this.set("quoted", True)  # `transaction` is a word of SQLite's; a quoted column would be taken for a text
    dates = frozenset(_bare_dates(tree))
    tree = _without_rownum(tree).transform(_function)
    return tree.sql("sqlite", unsupported_level=sqlglot.ErrorLevel.IGNORE), dates


def _bare_dates(tree: exp.Query) -> Iterator[str]:
    for column in tree.selects:
        if isinstance(column, exp.Star):
            yield from views.DATES
        elif isinstance(column.unalias(), exp.Column) and column.unalias().name.lower() in views.DATES:
            yield column.alias_or_name.lower()


def _without_rownum(tree: exp.Query) -> exp.Query:
    """`WHERE ROWNUM <= n` is a limit."""
    where = tree.args.get("where")
    for test in list(where.find_all(exp.LTE, exp.LT)) if where is not None else []:
        if test.this.name.upper() == "ROWNUM":
            most = int(test.expression.name) - isinstance(test, exp.LT)
            test.replace(exp.true())
            tree = tree.limit(most)
    return tree


def _function(node: exp.Expression) -> exp.Expression:
    """What SQLite calls otherwise; the functions are in `views`."""
    match node:
        case exp.ToChar():
            return _call("ns_to_char", node.this, node.args.get("format") or exp.Literal.string("YYYY-MM-DD"))
        case exp.StrToTime() | exp.StrToDate() | exp.TsOrDsToDate():
            return _call("ns_parse", node.this, node.args.get("format") or exp.Literal.string("%m/%d/%Y"))
        case exp.Lower():
            return _call("ns_lower", node.this)
        case exp.Upper():
            return _call("ns_upper", node.this)
        case exp.CurrentTimestamp() | exp.CurrentDate():
            return _call("ns_now")
        case exp.Dot(this=builtin, expression=exp.Anonymous(this=name, expressions=[column])) if (
            builtin.name.upper() == "BUILTIN" and str(name).upper() == "DF"
        ):
            return _call("ns_display", exp.Literal.string(column.name.lower()), column)
    return node


def _call(name: str, *arguments: exp.Expression) -> exp.Expression:
    return exp.Anonymous(this=name, expressions=[argument.transform(_function) for argument in arguments])
