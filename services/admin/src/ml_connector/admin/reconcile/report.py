"""What a comparison has found, record by record, each with its causes. In order: parents first, then as it was told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import msgspec
from sqlalchemy import Connection, and_, select, tuple_

from ml_connector.admin.fold.compared import valid
from ml_connector.admin.reconcile.facts import facts_of
from ml_connector.admin.reconcile.told import OF_PART
from ml_connector.admin.reconcile.why import Facts, Why, WhyKind, why
from ml_connector.admin.tables import compared, difference
from ml_connector.common.comparing import Difference
from ml_connector.common.errors import BadInput
from ml_connector.common.flows import Flow
from ml_connector.common.keys import Entity

AT_ONCE: Final = 500  # records whose past is read at once

_decode = msgspec.json.Decoder(Difference).decode


class Place(NamedTuple):
    """Of a difference in its report."""

    entity: int  # its number among the job's
    page: int
    part: int
    number: int

    def __str__(self) -> str:
        return ".".join(map(str, self))

    @classmethod
    def parse(cls, text: str) -> Place:
        """Raises BadInput."""
        try:
            return cls(*map(int, text.split(".")))
        except (TypeError, ValueError) as error:
            raise BadInput("cursor: not one of ours; take `next` of the page before") from error


@dataclass(frozen=True, slots=True)
class Line:
    """One record."""

    place: Place
    entity: Entity
    found: str
    difference: Difference
    whys: tuple[Why, ...]
    letter_id: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which of them; None: all."""

    entity: Entity | None = None
    found: str | None = None
    cause: WhyKind | None = None


def lines_of(
    connection: Connection,
    flow: Flow,
    job_id: str,
    entities: tuple[Entity, ...],
    wanted: Wanted,
    after: Place | None = None,
) -> Iterator[Line]:
    """Read as they are taken. `flow`: as it is now."""
    for number, entity in enumerate(entities):
        if wanted.entity in {None, entity} and (after is None or number >= after.entity):
            start = after if after is not None and after.entity == number else None
            for line in _of_entity(connection, flow, job_id, (number, entity), wanted.found, start):
                if wanted.cause in {None, *(one.kind for one in line.whys)}:
                    yield line


def causes_of(lines: Iterable[Line]) -> Counter[tuple[Entity, str, Why | None]]:
    """How many of each: what was found, and the likeliest cause."""
    return Counter((line.entity, line.found, line.whys[0] if line.whys else None) for line in lines)


def _of_entity(
    connection: Connection,
    flow: Flow,
    job_id: str,
    which: tuple[int, Entity],
    found: str | None,
    after: Place | None,
) -> Iterator[Line]:
    number, entity = which
    places = tuple_(difference.c.page, difference.c.part, difference.c.number)
    while True:
        follows = [] if after is None else [places > tuple_(after.page, after.part, after.number)]
        of_kind = [] if found is None else [difference.c.found == found]
        rows = connection.execute(
            select(difference.c.page, difference.c.part, difference.c.number, difference.c.found, difference.c.value)
            .join_from(difference, compared, OF_PART)
            .where(and_(valid(job_id, entity), *follows, *of_kind))
            .order_by(difference.c.page, difference.c.part, difference.c.number)
            .limit(AT_ONCE)
        ).all()
        read = [(row, _decode(row.value)) for row in rows]
        facts = facts_of(connection, flow, entity, [one.source_id for _, one in read])
        for row, one in read:
            known = facts.get(one.source_id, Facts())
            after = Place(number, row.page, row.part, row.number)
            yield Line(after, entity, row.found, one, why(row.found, one, known), known.letter_id)
        if len(rows) < AT_ONCE:
            return
