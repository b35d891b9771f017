"""Lists of records: `GET /{type}?q=&limit=&offset=` (Oracle section_156414087576, section_1545222128)."""

from __future__ import annotations

from typing import Any, Final

from ml_connector.sandbox.netsuite.accounts import Account
from ml_connector.sandbox.netsuite.conditions import Condition, parse
from ml_connector.sandbox.netsuite.errors import invalid_parameter
from ml_connector.sandbox.netsuite.schema import FIELDS
from ml_connector.sandbox.netsuite.shown import RECORD_PATH, href, links, moment
from ml_connector.sandbox.netsuite.store import Record
from ml_connector.sandbox.web import Reply, Request, json_reply

MAX_PAGE: Final = 1000
COLLECTION: Final = "application/vnd.oracle.resource+json; type=collection"


def page(account: Account, request: Request, kind: str) -> Reply:
    """Ids and links only, never field values (Oracle subsect_1544786455)."""
    limit, offset = paging(request, MAX_PAGE)
    ids, total = _ids(account, kind, request.query.get("q", ""), limit, offset)
    base = f"https://{account.host}{RECORD_PATH}{kind}"
    body: dict[str, Any] = {
        "links": page_links(base, limit, offset, total),
        "count": len(ids),
        "hasMore": offset + len(ids) < total,
        "items": [{"links": links(href(account, kind, internal_id)), "id": internal_id} for internal_id in ids],
        "offset": offset,
        "totalResults": total,
    }
    return json_reply(200, body, {"content-type": COLLECTION})


def paging(request: Request, largest: int) -> tuple[int, int]:
    """`limit` and `offset`. Raises NetsuiteError."""
    try:
        limit, offset = int(request.query.get("limit", largest)), int(request.query.get("offset", 0))
    except ValueError:
        raise invalid_parameter("limit and offset are numbers.", parameter="limit") from None
    if not 1 <= limit <= largest:
        raise invalid_parameter(f"limit is 1 to {largest}.", parameter="limit")
    if offset < 0 or offset % limit:
        raise invalid_parameter("offset must be divisible by limit.", parameter="offset")
    return limit, offset


def page_links(base: str, limit: int, offset: int, total: int) -> list[dict[str, str]]:
    def link(rel: str, at: int) -> dict[str, str]:
        return {"rel": rel, "href": f"{base}?limit={limit}&offset={at}"}

    last = max(0, (total - 1) // limit * limit)
    found = [] if offset == 0 else [link("first", 0), link("previous", offset - limit)]
    if offset + limit < total:
        found += [link("next", offset + limit), link("last", last)]
    return [*found, link("self", offset)]


def _ids(account: Account, kind: str, q: str, limit: int, offset: int) -> tuple[list[str], int]:
    if not q:
        return account.records.page(kind, limit=limit, offset=offset), account.records.count(kind)
    try:
        condition = parse(q)
    except ValueError as error:
        raise invalid_parameter(f"Invalid query parameter q: {error}", parameter="q") from None
    unknown = sorted(
        condition.names - {name.lower() for name in FIELDS[kind]} - {"id", "datecreated", "lastmodifieddate"}
    )
    if unknown:
        raise invalid_parameter(f"Invalid query parameter q: unknown field {unknown[0]}.", parameter="q")
    found = [record.id for record in account.records.all(kind) if _fits(condition, record)]
    return found[offset : offset + limit], len(found)


def _fits(condition: Condition, record: Record) -> bool:
    values = {name.lower(): _plain(value) for name, value in record.fields.items()}
    values |= {
        "id": record.id,
        "externalid": record.external_id,
        "datecreated": moment(record.created_ms),
        "lastmodifieddate": moment(record.modified_ms),
    }
    return condition.fits(values)


def _plain(value: Any) -> Any:
    return value.get("id") if isinstance(value, dict) else value
