"""What is known of a flow's records before a sync, and what became of its objects afterwards: ranges of keys."""

from __future__ import annotations

import statistics
from dataclasses import replace
from typing import Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, case, exists, func, select

from ml_connector.admin.fold.audit import OUTCOME, inflated
from ml_connector.admin.fold.reading import some
from ml_connector.admin.fold.states import OPEN
from ml_connector.admin.sync.ask import Scope
from ml_connector.admin.sync.cost import Known
from ml_connector.admin.tables import cause, dead_letter, observed, outcome, step, sync, waiting
from ml_connector.common import keys
from ml_connector.common.flows import Flow
from ml_connector.common.keys import Entity
from ml_connector.common.sync_job import SyncJob
from ml_connector.common.wire import Outcome

SAMPLES: Final = 50
LOOKED_BACK: Final = 50  # syncs
FEW: Final = 5  # fewer tell nothing


class Outcomes(NamedTuple):
    """Of the objects of a sync: `counts` by outcome; those that have none yet are `waiting`, or `behind_letters`: their
    parent is an open dead letter, and nothing happens before that is mended."""

    counts: dict[str, int]
    waiting: int
    behind_letters: int = 0


def known_of(connection: Connection, scope: Scope, flow: Flow) -> dict[Entity, Known]:
    seen = _seen(connection, flow.flow)
    return {
        entity: replace(_known(connection, entity, scope, flow), seen=seen.get(entity, 0)) for entity in scope.entities
    }


def outcomes_of(connection: Connection, job_id: str) -> Outcomes:
    def of_job(column: ColumnElement[str]) -> ColumnElement[bool]:
        return and_(column >= f"syn:{job_id}:", column < f"syn:{job_id};")

    rows = connection.execute(
        select(outcome.c.outcome, func.count()).where(of_job(outcome.c.cause)).group_by(outcome.c.outcome)
    )
    counts = {row[0]: row[1] for row in rows}
    seen = connection.scalar(select(func.count()).where(of_job(cause.c.cause))) or 0
    is_behind = exists().where(dead_letter.c.record_key == waiting.c.parent_key, dead_letter.c.state == OPEN)
    behind = connection.scalar(select(func.count()).select_from(waiting).where(of_job(waiting.c.cause), is_behind))
    left = max(0, seen - sum(counts.values()))
    return Outcomes(counts, max(0, left - (behind or 0)), min(left, behind or 0))


def _seen(connection: Connection, flow: str) -> dict[str, int]:
    """Objects of each entity, as the flow's last full syncs have read them."""
    ended = select(sync.c.value).where(sync.c.flow == flow, sync.c.state == "done")
    values = connection.scalars(ended.order_by(sync.c.created_at_ms.desc()).limit(LOOKED_BACK)).all()
    found: dict[str, int] = {}
    for job in map(SyncJob.decode, reversed(values)):
        if job.mode == "full":
            found.update({entity: walked.progress.read for entity, walked in job.walked.items()})
    return found


def _known(connection: Connection, entity: Entity, scope: Scope, flow: Flow) -> Known:
    mapping = flow.mapping_of(entity)
    if mapping is None:
        return Known()

    def key(source_id: str) -> str:
        return keys.record_key(
            flow.netsuite.account, mapping.record, keys.external_id(flow.external_ids, entity, source_id)
        )

    start = key("")
    of_entity = and_(observed.c.record_key >= start, observed.c.record_key < f"{start}:", observed.c.flow == flow.flow)
    took = _took(connection, of_entity)
    if scope.mode == "ids":
        parts: list[ColumnElement[bool]] = [
            observed.c.record_key.in_(part) for part in some(map(key, scope.ids_of(entity)))
        ]
    elif scope.since_ms is not None:
        until = [] if scope.until_ms is None else [observed.c.source_version < scope.until_ms]
        parts = [and_(of_entity, observed.c.source_version >= scope.since_ms, *until)]
    else:
        parts = [of_entity]
    counts = [_counts(connection, part) for part in parts]
    return Known(
        records=sum(one[0] for one in counts),
        written=sum(one[1] for one in counts),
        took_ms=statistics.median(took) if len(took) >= FEW else None,
        samples=len(took),
    )


def _counts(connection: Connection, which: ColumnElement[bool]) -> tuple[int, int]:
    """All, and those that were written."""
    written = func.coalesce(func.sum(case((observed.c.outcome == "written", 1), else_=0)), 0)
    row = connection.execute(select(func.count(), written).where(which)).one()
    return int(row[0]), int(row[1])


def _took(connection: Connection, of_entity: ColumnElement[bool]) -> list[int]:
    """Of some records that were written: how long the request took that wrote each."""
    told = and_(step.c.cause == observed.c.cause, step.c.kind == OUTCOME, step.c.record_key == observed.c.record_key)
    values = connection.scalars(
        select(step.c.value)
        .join_from(observed, step, told)
        .where(of_entity, observed.c.outcome == "written")
        .limit(SAMPLES)
    ).all()
    tries = [Outcome.decode(inflated(value)).tries for value in values]
    return [each[-1].took_ms for each in tries if each]
