"""Which dead letters are meant, page by page, and what they have in common."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from sqlalchemy import ColumnElement, Connection, RowMapping, case, func, select

from ml_connector.admin.explain import suggested_fix
from ml_connector.admin.look.pages import cut, newest_first
from ml_connector.admin.tables import dead_letter as letter
from ml_connector.admin.tables import waiting
from ml_connector.common.keys import Entity
from ml_connector.common.wire import Stage

LetterState = Literal["open", "resolved", "discarded"]
LetterId = Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
GroupId = Annotated[str, Field(pattern=r"^[0-9a-f]{10}$")]

MOST_IDS: Final = 10_000


class LetterFilter(BaseModel):
    """All that is given must hold."""

    model_config = ConfigDict(extra="forbid")

    state: LetterState | Literal["all"] = "open"
    account: Annotated[str | None, Field(max_length=100)] = None
    flow: Annotated[str | None, Field(max_length=100)] = None
    entity: Entity | None = None
    stage: Stage | None = None
    code: Annotated[str | None, Field(max_length=200)] = None
    field: Annotated[str | None, Field(max_length=200)] = None
    record_key: Annotated[str | None, Field(max_length=300)] = None
    group: GroupId | None = None
    failed_from: datetime | None = None  # inclusive; without a zone it is UTC
    failed_until: datetime | None = None  # exclusive

    def conditions(self) -> list[ColumnElement[bool]]:
        columns = {
            letter.c.state: None if self.state == "all" else self.state,
            letter.c.account: self.account,
            letter.c.flow: self.flow,
            letter.c.entity: self.entity,
            letter.c.stage: self.stage,
            letter.c.code: self.code,
            letter.c.field: self.field,
            letter.c.record_key: self.record_key.lower() if self.record_key else None,
            letter.c.signature: self.group,
        }
        found = [column == value for column, value in columns.items() if value is not None]
        if self.failed_from is not None:
            found.append(letter.c.failed_at_ms >= ms_of(self.failed_from))
        if self.failed_until is not None:
            found.append(letter.c.failed_at_ms < ms_of(self.failed_until))
        return found


class Selection(BaseModel):
    """Dead letters by their ids, or a whole group, or by a filter; one of the three."""

    model_config = ConfigDict(extra="forbid")

    ids: Annotated[list[LetterId], Field(min_length=1, max_length=MOST_IDS)] | None = None
    group: GroupId | None = None
    filter: LetterFilter | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Selection:
        if sum(part is not None for part in (self.ids, self.group, self.filter)) != 1:
            raise ValueError("give exactly one of ids, group, filter")
        return self

    def conditions(self) -> list[ColumnElement[bool]]:
        if self.ids is not None:
            return [letter.c.letter_id.in_(self.ids)]
        return (self.filter or LetterFilter(group=self.group)).conditions()


def ms_of(moment: datetime) -> int:
    """A moment without a zone is UTC."""
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return int(aware.timestamp() * 1000)


def page(
    connection: Connection, wanted: LetterFilter, *, cursor: str | None, limit: int
) -> tuple[Sequence[RowMapping], str | None]:
    """Newest failure first; the cursor of the next page, None on the last one. Raises BadInput for a foreign cursor."""
    query = select(letter, _behind(letter.c.record_key)).where(*wanted.conditions())
    query = newest_first(query, letter.c.failed_at_ms, letter.c.letter_id, cursor=cursor, limit=limit)
    rows = connection.execute(query).mappings().all()
    return cut(rows, limit, lambda row: (row["failed_at_ms"], row["letter_id"]))


def one(connection: Connection, letter_id: str) -> RowMapping | None:
    found = connection.execute(select(letter, _behind(letter.c.record_key)).where(letter.c.letter_id == letter_id))
    return found.mappings().one_or_none()


def groups(connection: Connection, wanted: LetterFilter, *, limit: int) -> list[dict[str, Any]]:
    """The largest first. Counted are the letters that the filter lets through."""
    rows = connection.execute(
        select(
            letter.c.signature,
            func.min(letter.c.stage).label("stage"),
            func.min(letter.c.code).label("code"),
            func.min(letter.c.field).label("field"),
            func.min(letter.c.flow).label("flow"),
            func.max(letter.c.message).label("message"),
            func.count().label("letters"),
            func.count(func.distinct(letter.c.record_key)).label("records"),
            *(
                func.sum(case((letter.c.state == state, 1), else_=0)).label(state)
                for state in ("open", "resolved", "discarded")
            ),
            func.min(letter.c.failed_at_ms).label("first_failed_at_ms"),
            func.max(letter.c.failed_at_ms).label("last_failed_at_ms"),
            func.min(case((letter.c.state == "open", letter.c.expires_at_ms))).label("expires_at_ms"),
        )
        .where(*wanted.conditions())
        .group_by(letter.c.signature)
        .order_by(func.count().desc(), letter.c.signature)
        .limit(limit)
    ).mappings()
    found = [dict(row) for row in rows]
    behind = _behind_groups(connection, [row["signature"] for row in found])
    for row in found:
        row["waiting_behind"] = behind.get(row["signature"], 0)
        row["suggested_fix"] = suggested_fix(stage=row["stage"], code=row["code"], message=row["message"])
    return found


def _behind(record_key: ColumnElement[str]) -> ColumnElement[int]:
    """How many desired states wait until this record is there."""
    count = select(func.count()).select_from(waiting).where(waiting.c.parent_key == record_key, record_key != "-")
    return count.scalar_subquery().label("waiting_behind")


def _behind_groups(connection: Connection, signatures: Sequence[str]) -> dict[str, int]:
    records = (
        select(letter.c.signature, letter.c.record_key)
        .where(letter.c.signature.in_(signatures), letter.c.state == "open")
        .distinct()
        .subquery()
    )
    rows = connection.execute(
        select(records.c.signature, func.count())
        .join_from(records, waiting, waiting.c.parent_key == records.c.record_key)
        .group_by(records.c.signature)
    )
    return {row[0]: row[1] for row in rows}
