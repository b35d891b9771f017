"""What state a dead letter is in: one rule, over what is known of its record, its replays and the acts about it.

A letter is open until a newer state of its record has an outcome of its own. So:

- resolved: the newest state of its record is newer than the letter's, whatever became of it; or is just as new, and
  was written or ignored; or a replay of its cause has an outcome (letters of events that led to no record);
- discarded: somebody said so, and it is not resolved;
- open: otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, bindparam, select, update

from ml_connector.admin.fold.reading import some
from ml_connector.admin.tables import cause, dead_letter, discarded, newest, outcome, step
from ml_connector.common.keys import NO_RECORD

OPEN: Final = "open"
RESOLVED: Final = "resolved"
DISCARDED: Final = "discarded"

_SETTLED: Final = ("written", "ignored")


class State(NamedTuple):
    """As a letter's row has it. `resolution` is the outcome that a newer state had, `resolved_by` its cause."""

    state: str
    resolution: str = ""
    resolved_by: str = ""
    resolved_at_ms: int = 0


_CHANGE: Final = (
    update(dead_letter)
    .where(dead_letter.c.letter_id == bindparam("of_letter"))
    .values({name: bindparam(f"new_{name}") for name in State._fields})
)


def judge(
    connection: Connection, *, letters: Iterable[str] = (), records: Iterable[str] = (), causes: Iterable[str] = ()
) -> None:
    """Say anew in which state these letters are, and those of these records and causes."""
    of_records = {record for record in records if record not in ("", NO_RECORD)}
    for column, values in (
        (dead_letter.c.letter_id, letters),
        (dead_letter.c.record_key, of_records),
        (dead_letter.c.cause, {one for one in causes if one}),
    ):
        for part in some(values):
            _judge(connection, column.in_(part))


def _judge(connection: Connection, which: ColumnElement[bool]) -> None:
    columns = [dead_letter.c[name] for name in ("letter_id", "source_version", "revision", *State._fields)]
    rows = connection.execute(
        select(
            *columns,
            newest.c.source_version.label("newest_version"),
            newest.c.revision.label("newest_revision"),
            newest.c.outcome.label("newest_outcome"),
            newest.c.cause.label("newest_cause"),
            newest.c.at_ms.label("newest_at_ms"),
            discarded.c.letter_id.label("discarded"),
        )
        .outerjoin(newest, newest.c.record_key == dead_letter.c.record_key)
        .outerjoin(discarded, discarded.c.letter_id == dead_letter.c.letter_id)
        .where(which)
    ).all()
    replays = _replays(connection, which) if rows else {}
    changed = []
    for row in rows:
        state = _state(row, replays.get(row.letter_id))
        if state != (row.state, row.resolution, row.resolved_by, row.resolved_at_ms):
            changed.append({"of_letter": row.letter_id, **{f"new_{k}": v for k, v in state._asdict().items()}})
    if changed:
        connection.execute(_CHANGE, changed)


def _state(row: Any, replay: State | None) -> State:
    if row.newest_cause is not None:
        own, known = (row.source_version, row.revision), (row.newest_version, row.newest_revision)
        if known > own or (known == own and row.newest_outcome in _SETTLED):
            return State(RESOLVED, row.newest_outcome, row.newest_cause, row.newest_at_ms)
    if replay is not None:
        return replay
    return State(DISCARDED) if row.discarded is not None else State(OPEN)


def _replays(connection: Connection, which: ColumnElement[bool]) -> dict[str, State]:
    """Of each letter the last outcome of those that replay its cause."""
    rows = connection.execute(
        select(dead_letter.c.letter_id, outcome.c.outcome, step.c.cause, step.c.at_ms)
        .join(cause, and_(cause.c.replay_of == dead_letter.c.cause, cause.c.replay_of != ""))
        .join(outcome, outcome.c.cause == cause.c.cause)
        .join(
            step,
            and_(step.c.cause == outcome.c.cause, step.c.kind == "outcome", step.c.record_key == outcome.c.record_key),
        )
        .where(which)
        .order_by(step.c.at_ms, step.c.cause, outcome.c.record_key, outcome.c.outcome)
    )
    return {row.letter_id: State(RESOLVED, row.outcome, row.cause, row.at_ms) for row in rows}
