"""What was told of a comparison so far: counts, which pages are whole, which objects were looked at."""

from __future__ import annotations

import json
from array import array
from collections import Counter
from dataclasses import dataclass, field

from sqlalchemy import Connection, and_, case, func, select

from ml_connector.admin.fold.compared import valid
from ml_connector.admin.tables import compared, difference
from ml_connector.common.covering import unpack
from ml_connector.common.keys import Entity


@dataclass(frozen=True, slots=True)
class Told:
    """Of one entity. `records` = `equal` + what differs + those of parts that `failed` (why -> how many).

    `found`: by `comparing.Found`, and `unmapped`. `pages`: of the walk, those told in all their parts. `held`: records
    that NetSuite was found to hold of the flow's external ids.
    """

    pages: frozenset[int] = frozenset()
    records: int = 0
    equal: int = 0
    held: int = 0
    found: dict[str, int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
    not_comparable: dict[str, str] = field(default_factory=dict)


def told_of(connection: Connection, job_id: str, entity: Entity) -> Told:
    counts = valid(job_id, entity)
    walked = case((compared.c.page > 0, compared.c.records), else_=0)
    sums = connection.execute(
        select(
            func.coalesce(func.sum(walked), 0),
            func.coalesce(func.sum(case((compared.c.page > 0, compared.c.equal), else_=0)), 0),
            func.coalesce(func.sum(case((compared.c.page <= 0, compared.c.records), else_=0)), 0),
        ).where(counts)
    ).one()
    found = connection.execute(
        select(difference.c.found, func.count())
        .join_from(difference, compared, OF_PART)
        .where(counts)
        .group_by("found")
    )
    failed: Counter[str] = Counter()
    for row in connection.execute(select(compared.c.failed, walked).where(counts, compared.c.failed != "")):
        failed[row[0]] += row[1]
    texts = connection.scalars(select(compared.c.not_comparable).where(counts, compared.c.not_comparable != b"{}"))
    return Told(
        pages=whole_pages(connection, job_id, entity),
        records=sums[0],
        equal=sums[1],
        held=sums[2],
        found={row[0]: row[1] for row in found},
        failed=dict(failed),
        not_comparable={name: why for text in set(texts) for name, why in json.loads(text).items()},
    )


# Of a difference, the part that told it.
OF_PART = and_(*(difference.c[name] == compared.c[name] for name in ("job_id", "entity", "page", "part")))


def whole_pages(connection: Connection, job_id: str, entity: Entity) -> frozenset[int]:
    """Pages of which all parts are in; those that are not above 0 are not the walk's."""
    parts = func.max(case((compared.c.part == 1, compared.c.parts), else_=0)).label("parts")
    rows = connection.execute(
        select(compared.c.page, parts, func.count().label("told"))
        .where(valid(job_id, entity))
        .group_by(compared.c.page)
    )
    return frozenset(row.page for row in rows if row.parts and row.told == row.parts)


def covered_by(connection: Connection, job_id: str, entity: Entity) -> array[int]:
    """The ids of all objects that the walk was about, sorted."""
    ids = array("q")
    for packed in connection.scalars(select(compared.c.covered).where(valid(job_id, entity))):
        ids.extend(unpack(packed))
    return array("q", sorted(set(ids)))
