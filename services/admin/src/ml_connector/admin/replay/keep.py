"""Keep jobs, their items and edited copies in SQL, whoever brings them: the API, or the topic after a rebuild.

Each function may be given the same thing again, and things in any order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, get_args

from sqlalchemy import Connection, and_, func, select, update

from ml_connector.admin.database import upsert
from ml_connector.admin.tables import edited, job, job_item, outcome
from ml_connector.common import cause as causes
from ml_connector.common.wire import Edited, OutcomeKind, ReplayItems, ReplayJob

WAITING: Final = "waiting"
ISSUED: Final = "issued"
SKIPPED: Final = "skipped"
CANCELLED: Final = "cancelled"
UNRESOLVED: Final = "unresolved"
LOST: Final = "what the dry run found was lost with the database"


def put_job(connection: Connection, entry: ReplayJob) -> None:
    """Of two entries the one with the higher version counts."""
    row = {
        "job_id": entry.job_id,
        "version": entry.version,
        "state": entry.state,
        "dry_run": entry.dry_run,
        "created_at_ms": entry.created_at_ms,
        "changed_at_ms": entry.changed_at_ms,
        "total": entry.total,
        "issued": entry.issued,
        "value": entry.encode(),
    }
    upsert(connection, job, [row], only_newer=["version"])
    _follow_jobs(connection, [entry.job_id])


def put_items(connection: Connection, entry: ReplayItems) -> None:
    """Their outcomes may have been read before them."""
    rows = [
        {
            "job_id": entry.job_id,
            "number": number,
            "letter_id": item.letter_id,
            "record_key": item.record_key,
            "account": item.account,
            "cause": causes.of_replay(entry.job_id, number),
            "topic_partition": item.partition,
            "topic_offset": item.offset,
            "revision": item.revision,
            "state": SKIPPED if item.skip else WAITING,
            "why": item.skip,
            "at_ms": 0,
        }
        for number, item in enumerate(entry.items, start=entry.first)
    ]
    known = set(
        connection.scalars(
            select(job_item.c.number).where(
                job_item.c.job_id == entry.job_id, job_item.c.number.between(entry.first, entry.first + len(rows) - 1)
            )
        )
    )
    upsert(connection, job_item, [row for row in rows if row["number"] not in known])
    for row in rows:
        if row["number"] in known and row["state"] == SKIPPED:  # it could not be issued when its turn came
            connection.execute(
                update(job_item)
                .where(
                    job_item.c.job_id == entry.job_id,
                    job_item.c.number == row["number"],
                    job_item.c.state.in_((WAITING, ISSUED)),
                )
                .values(state=SKIPPED, why=row["why"])
            )
    _follow_jobs(connection, [entry.job_id])
    take_outcomes(connection, [str(row["cause"]) for row in rows])


def take_outcomes(connection: Connection, of_causes: Sequence[str]) -> None:
    """Items end as their causes have ended."""
    for start in range(0, len(of_causes), 500):
        some = of_causes[start : start + 500]
        ended = select(func.max(outcome.c.outcome)).where(outcome.c.cause == job_item.c.cause).scalar_subquery()
        connection.execute(
            update(job_item)
            .where(
                job_item.c.cause.in_(some), select(outcome.c.cause).where(outcome.c.cause == job_item.c.cause).exists()
            )
            .values(state=ended)
        )


def put_edited(connection: Connection, entry: Edited) -> None:
    row = {name: getattr(entry, name) for name in ("letter_id", "version", "body", "at_ms", "actor", "reason")}
    upsert(connection, edited, [row], only_newer=["version"])


def forget_outcomes(connection: Connection, of_causes: Sequence[str]) -> None:
    """After an erasure: items are again what they were before their causes ended."""
    for start in range(0, len(of_causes), 500):
        ended = and_(job_item.c.cause.in_(of_causes[start : start + 500]), job_item.c.state.in_(get_args(OutcomeKind)))
        jobs = connection.scalars(select(job_item.c.job_id).where(ended).distinct()).all()
        connection.execute(update(job_item).where(ended).values(state=WAITING))
        _follow_jobs(connection, jobs)
    take_outcomes(connection, of_causes)


def _follow_jobs(connection: Connection, job_ids: Sequence[str]) -> None:
    """What their jobs say they have written, or will not write, whichever of the two was read first."""
    for job_id in job_ids:
        of_job = and_(job_item.c.job_id == job_id, job_item.c.state == WAITING)
        issued = select(job.c.issued).where(job.c.job_id == job_id).scalar_subquery()
        cancelled = select(job.c.job_id).where(job.c.job_id == job_id, job.c.state == CANCELLED).exists()
        dry = select(job.c.job_id).where(job.c.job_id == job_id, job.c.dry_run).exists()
        had_turn = and_(of_job, job_item.c.number < issued)
        connection.execute(update(job_item).where(had_turn, dry).values(state=UNRESOLVED, why=LOST))
        connection.execute(update(job_item).where(had_turn).values(state=ISSUED))
        connection.execute(update(job_item).where(of_job, cancelled).values(state=CANCELLED))
