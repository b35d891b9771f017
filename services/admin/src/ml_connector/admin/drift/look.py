"""What was found changed in NetSuite, newest first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec
from sqlalchemy import ColumnElement, Connection, and_, select

from ml_connector.admin.look.pages import cut, newest_first
from ml_connector.admin.tables import drift
from ml_connector.common.comparing import Difference, asserted_by
from ml_connector.common.flow_rules import RECORD_OF
from ml_connector.common.keys import Entity, record_key

State = Literal[
    "open",  # it was told, and nothing was done about it
    "asserted",  # it was written again, and not compared since
    "given_up",  # it was written again so often that something in NetSuite must change it each time
    "ended",  # it was as it should be later, or something else was found
]
_DECODE: Final = msgspec.json.Decoder(Difference).decode
_WHICH: Final[dict[State, ColumnElement[bool]]] = {
    "open": and_(drift.c.ended_at_ms == 0, drift.c.did == "reported"),
    "asserted": and_(drift.c.ended_at_ms == 0, drift.c.did == "asserted"),
    "given_up": and_(drift.c.ended_at_ms == 0, drift.c.did == "given_up"),
    "ended": drift.c.ended_at_ms > 0,
}


@dataclass(frozen=True, slots=True)
class Incident:
    """`asserted_by`: the cause of the write that asserted it; empty if none did."""

    flow: str
    entity: Entity
    record_key: str
    job_id: str
    state: State
    at_ms: int
    ended_at_ms: int
    asserted_by: str
    difference: Difference


@dataclass(frozen=True, slots=True)
class Wanted:
    """Empty: any."""

    flow: str = ""
    entity: str = ""
    state: State | None = None


def incidents(
    connection: Connection, wanted: Wanted, *, limit: int, cursor: str | None
) -> tuple[list[Incident], str | None]:
    """A page, and where the next one begins. Raises BadInput."""
    conditions = [] if wanted.state is None else [_WHICH[wanted.state]]
    conditions += [drift.c.flow == wanted.flow] if wanted.flow else []
    conditions += [drift.c.entity == wanted.entity] if wanted.entity else []
    place = drift.c.flow + "/" + drift.c.entity + "/" + drift.c.source_id
    query = newest_first(select(drift).where(*conditions), drift.c.at_ms, place, cursor=cursor, limit=limit)
    rows = connection.execute(query).all()
    shown, following = cut(rows, limit, lambda row: (row.at_ms, f"{row.flow}/{row.entity}/{row.source_id}"))
    return [incident_of(row) for row in shown], following


def incident_of(row: Any) -> Incident:
    """Of a row of `drift`."""
    state: State = "ended" if row.ended_at_ms else "open" if row.did == "reported" else row.did
    asserted = row.did == "asserted"
    return Incident(
        flow=row.flow,
        entity=row.entity,
        record_key=record_key(row.account, RECORD_OF[row.entity], row.external_id),
        job_id=row.job_id,
        state=state,
        at_ms=row.at_ms,
        ended_at_ms=row.ended_at_ms,
        asserted_by=asserted_by(row, row.source_id) if asserted else "",
        difference=_DECODE(row.value),
    )
