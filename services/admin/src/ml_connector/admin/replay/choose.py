"""From a selection to the letters of a job: which are taken, and why the others are not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, Subquery, and_, func, select

from ml_connector.admin.look.letters import Selection
from ml_connector.admin.replay.keep import ISSUED, WAITING
from ml_connector.admin.replay.order import Chosen, oldest_first
from ml_connector.admin.tables import dead_letter as letter
from ml_connector.admin.tables import edited, job, job_item
from ml_connector.common.errors import BadInput
from ml_connector.common.generation import Generation
from ml_connector.common.keys import NO_RECORD

MOST: Final = 1_000_000


def choose(connection: Connection, selection: Selection, *, same_failures: int, force: bool) -> list[Chosen]:
    """Raises BadInput when nothing is selected, or an id is unknown."""
    rows = connection.execute(_letters(same_failures).where(*selection.conditions()).limit(MOST + 1)).all()
    _refuse(selection, [row.letter_id for row in rows])
    return oldest_first(
        [
            Chosen(
                letter_id=row.letter_id,
                record_key=row.record_key,
                account=row.account,
                partition=row.topic_partition,
                offset=row.topic_offset,
                generation=Generation(row.source_version, row.revision),
                skip=_why_not(row, force=force),
            )
            for row in rows
        ]
    )


def _letters(same_failures: int) -> Select[Any]:
    """Each with what speaks against a replay."""
    repeated, busy = _repeated(same_failures), _busy()
    same = and_(repeated.c.record_key == letter.c.record_key, repeated.c.signature == letter.c.signature)
    return (
        select(letter, edited.c.version.label("edited"), repeated.c.times, busy.c.letter_id.label("busy"))
        .outerjoin(edited, edited.c.letter_id == letter.c.letter_id)
        .outerjoin(repeated, same)
        .outerjoin(busy, busy.c.letter_id == letter.c.letter_id)
    )


def _busy() -> Subquery:
    """Letters that another replay is at."""
    return (
        select(job_item.c.letter_id)
        .join(job, job.c.job_id == job_item.c.job_id)
        .where(job.c.state.in_(("running", "paused")), ~job.c.dry_run, job_item.c.state.in_((WAITING, ISSUED)))
        .distinct()
        .subquery()
    )


def _repeated(same_failures: int) -> Subquery:
    """Records that failed the same way too often."""
    return (
        select(letter.c.record_key, letter.c.signature, func.count().label("times"))
        .where(letter.c.record_key != NO_RECORD)
        .group_by(letter.c.record_key, letter.c.signature)
        .having(func.count() >= same_failures)
        .subquery()
    )


def _why_not(row: Row[Any], *, force: bool) -> str:
    if row.busy is not None:
        return "another replay is at it"
    if row.state == "discarded":
        return "discarded"
    if row.state == "resolved":
        return f"resolved: a newer state of the record was {row.resolution.replace('_', '-')} ({row.resolved_by})"
    if row.times is not None and not force and row.edited is None:
        return f"failed the same way {row.times} times: correct the cause, then replay with force"
    return ""


def _refuse(selection: Selection, found: Sequence[str]) -> None:
    if selection.ids is not None:
        unknown = sorted(set(selection.ids) - set(found))
        if unknown:
            raise BadInput(f"selection.ids: there is no dead letter {', '.join(unknown[:5])}")
    if not found:
        raise BadInput("selection: no dead letter is like this")
    if len(found) > MOST:
        raise BadInput(f"selection: more than {MOST} dead letters: narrow the filter")
