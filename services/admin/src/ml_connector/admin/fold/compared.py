"""`<job>/compared/...` of the audit: what was compared with NetSuite. A part that comes again replaces what it told.

Nothing is left out here: which parts are void follows from the others, in whatever order those come (`valid`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, func, select, tuple_

from ml_connector.admin.fold.reading import MOST_CHARS, drop, put, read, some
from ml_connector.admin.outbox import put_message
from ml_connector.admin.tables import compared, difference
from ml_connector.common import topics
from ml_connector.common.codec import encode_json
from ml_connector.common.comparing import Compared, ComparedKey, Difference
from ml_connector.common.kafka.record import Record

UNMAPPED: Final = "unmapped"


def fold_compared(connection: Connection, entries: Mapping[ComparedKey, Record]) -> None:
    """The newest entry of each key; None of its value: it was erased. Of one that cannot be read nothing is changed."""
    told = {key: read(Compared, record) for key, record in entries.items() if record.value is not None}
    parts = {key: one for key, one in told.items() if one is not None}
    erased = [key._asdict() for key, record in entries.items() if record.value is None]
    drop(connection, difference, [*erased, *(key._asdict() for key in parts)])
    drop(connection, compared, erased)
    put(connection, compared, [_part_row(key, one) for key, one in parts.items()])
    put(connection, difference, [row for key, one in parts.items() for row in _rows(key, one)])


def erase_compared(connection: Connection, objects: Iterable[tuple[str, str, str]]) -> None:
    """Of these (flow, entity, source id): what names one of them is deleted from the audit, and comes back from there
    as deleted."""
    places = tuple_(difference.c.flow, difference.c.entity, difference.c.source_id)
    parts = [difference.c[name] for name in ComparedKey._fields]
    of_part = and_(*(compared.c[name] == difference.c[name] for name in ComparedKey._fields))
    for some_objects in some(one for one in objects if one[2]):
        rows = connection.execute(
            select(*parts, compared.c.account).join(compared, of_part).where(places.in_(some_objects)).distinct()
        )
        for row in rows.all():
            key = str(ComparedKey(row.job_id, row.entity, row.page, row.part))
            put_message(connection, topics.AUDIT, partition_key=row.account, key=key, value=None)


def valid(job_id: str, entity: str | None = None) -> ColumnElement[bool]:
    """Of `compared`: parts of this job that count."""
    newest, first = compared.alias(), compared.alias()
    begun = select(func.max(newest.c.first_page)).where(
        newest.c.job_id == compared.c.job_id, newest.c.entity == compared.c.entity
    )
    parts = select(first.c.parts).where(
        first.c.job_id == compared.c.job_id,
        first.c.entity == compared.c.entity,
        first.c.page == compared.c.page,
        first.c.part == 1,
    )
    return and_(
        compared.c.job_id == job_id,
        *([] if entity is None else [compared.c.entity == entity]),
        # what was found beside the walk has no page of it: its numbers are not above 0
        (compared.c.page <= 0) | (compared.c.page >= begun.scalar_subquery()),
        compared.c.part <= func.coalesce(parts.scalar_subquery(), compared.c.part),
    )


def _part_row(key: ComparedKey, told: Compared) -> dict[str, Any]:
    same = ("parts", "first_page", "flow", "account", "at_ms", "records", "equal", "failed", "covered")
    row: dict[str, Any] = {**key._asdict(), **{name: getattr(told, name) for name in same}}
    return row | {"unmapped": len(told.unmapped), "not_comparable": encode_json(told.not_comparable)}


def _rows(key: ComparedKey, told: Compared) -> Iterator[dict[str, Any]]:
    for number, (found, one) in enumerate(_differences(told)):
        yield {
            **key._asdict(),
            "number": number,
            "flow": told.flow,
            "source_id": one.source_id[:MOST_CHARS],
            "external_id": one.external_id[:MOST_CHARS],
            "found": found,
            "value": encode_json(one),
        }


def _differences(told: Compared) -> Sequence[tuple[str, Difference]]:
    """An object that does not fit the mapping is none of `records`."""
    unmapped = [Difference(one.source_id, "", "unknown", reason=one.reason) for one in told.unmapped]
    return [*((one.found, one) for one in told.differences), *((UNMAPPED, one) for one in unmapped)]
