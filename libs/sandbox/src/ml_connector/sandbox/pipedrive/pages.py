"""Cursor pages: opaque keyset markers, no total (facts/pipedrive.md section 9)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final

import msgspec

from ml_connector.sandbox.pipedrive.errors import ApiError, invalid
from ml_connector.sandbox.pipedrive.members import Item
from ml_connector.sandbox.web import Reply, Request, json_reply

MAX_PAGE: Final = 500
DEFAULT_PAGE: Final = 100
_INVALID: Final = ApiError(400, "Invalid cursor", code="ERR_SCHEMA_VALIDATION_FAILED")


@dataclass(frozen=True, slots=True)
class CursorClock:
    """Nothing tells how long a cursor lives; None: for ever."""

    now_s: float = 0.0
    lives_s: float | None = None

    def is_over(self, marker: dict[str, Any]) -> bool:
        return self.lives_s is not None and self.now_s >= float(marker.get("at", 0)) + self.lives_s


def page(
    request: Request,
    rows: Sequence[Item],
    *,
    key: str = "id",
    descending: bool = False,
    show: Callable[[Item], Item] = dict,
    clock: CursorClock = CursorClock(),
) -> Reply:
    """One page of rows in the order of `key`, then of `id` (or, for definitions, as they are)."""
    limit = _limit(request)
    after = _from_cursor(request.query.get("cursor"))
    if after is not None and clock.is_over(after):
        raise _INVALID
    if rows and "id" in rows[0]:
        place = _place_by(key)
        ordered = sorted(rows, key=place, reverse=descending)
        if after is not None:
            seen = place({key: after.get("fieldValue"), "id": int(after["id"])})
            ordered = [row for row in ordered if (place(row) < seen if descending else place(row) > seen)]
    else:
        ordered = list(rows[int(after.get("id", 0)) :] if after is not None else rows)
    shown = ordered[:limit]
    cursor = None
    if len(ordered) > limit:
        start = int(after.get("id", 0)) if after is not None else 0
        marker = _marker(shown[-1], key, descending=descending, position=start + limit)
        cursor = _to_cursor({**marker, "at": clock.now_s})
    data = [show(row) for row in shown]
    return json_reply(200, {"success": True, "data": data, "additional_data": {"next_cursor": cursor}})


def _limit(request: Request) -> int:
    try:
        limit = int(request.query.get("limit", DEFAULT_PAGE))
    except ValueError:
        raise invalid("limit must be an integer") from None
    if not 1 <= limit <= MAX_PAGE:
        raise invalid(f"limit must be 1 to {MAX_PAGE}")
    return limit


def _place_by(key: str) -> Callable[[Item], Any]:
    if key == "id":
        return itemgetter("id")
    return lambda row: (str(row.get(key)), row["id"])


def _marker(last: Item, key: str, *, descending: bool, position: int) -> dict[str, Any]:
    direction = "desc" if descending else "asc"
    number = last.get("id", position)
    return {"field": key, "fieldValue": last.get(key, number), "sortDirection": direction, "id": number}


def _to_cursor(marker: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(marker)).decode().rstrip("=")


def _from_cursor(cursor: str | None) -> dict[str, Any] | None:
    if not cursor:
        return None
    try:
        found: dict[str, Any] = msgspec.json.decode(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        int(found["id"])
    except (binascii.Error, ValueError, TypeError, KeyError, msgspec.DecodeError):
        raise _INVALID from None
    return found
