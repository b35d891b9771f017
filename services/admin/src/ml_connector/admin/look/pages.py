"""Lists by time, newest first, page by page. A cursor is opaque: where the next page begins."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Select, and_, or_

from ml_connector.common.errors import BadInput

T = TypeVar("T")
Query = TypeVar("Query", bound=Select[Any])


def newest_first(
    wanted: Query, at: ColumnElement[int], key: ColumnElement[str], *, cursor: str | None, limit: int
) -> Query:
    """The rows of the page that `cursor` begins, and one more if another follows. Raises BadInput for a foreign cursor.

    `key` tells apart what has the same time.
    """
    if cursor is not None:
        at_ms, after = read_cursor(cursor)
        wanted = wanted.where(or_(at < at_ms, and_(at == at_ms, key < after)))
    return wanted.order_by(at.desc(), key.desc()).limit(limit + 1)


def cut(found: Sequence[T], limit: int, place: Callable[[T], tuple[int, str]]) -> tuple[Sequence[T], str | None]:
    """What `newest_first` found: the page, and the cursor of the next one, None on the last. `place`: time and key."""
    shown = found[:limit]
    return shown, make_cursor(*place(shown[-1])) if len(found) > limit else None


def make_cursor(at_ms: int, key: str) -> str:
    return base64.urlsafe_b64encode(f"{at_ms}/{key}".encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> tuple[int, str]:
    """Raises BadInput."""
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        at_ms, _, key = text.partition("/")
        return int(at_ms), key
    except (binascii.Error, UnicodeError, ValueError) as error:
        raise BadInput("cursor: not one of ours; take `next` of the page before") from error
