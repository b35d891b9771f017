"""`act/<id>` of the audit: who did what, to what; which letters were discarded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from sqlalchemy import Connection, delete, select

from ml_connector.admin.fold.reading import MOST_CHARS, put, some
from ml_connector.admin.tables import act, act_target, discarded
from ml_connector.common.wire import Act

DISCARD: Final = "dead_letters.discard"


def put_acts(connection: Connection, acts: Sequence[Act]) -> list[str]:
    """The letters that were discarded."""
    put(connection, act, [_row(one) for one in acts])
    targets = [(one, target[:MOST_CHARS]) for one in acts for target in one.targets]
    put(connection, act_target, [{"target": target, "act_id": one.act_id} for one, target in targets])
    gone = [
        {"letter_id": target, "at_ms": one.at_ms, "actor": one.actor, "reason": one.reason}
        for one, target in targets
        if one.act == DISCARD
    ]
    put(connection, discarded, gone, only_newer=["at_ms", "actor", "reason"])
    return [str(row["letter_id"]) for row in gone]


def drop_acts(connection: Connection, act_ids: Iterable[str]) -> list[str]:
    """The letters that may have been discarded by them: what another act says of those counts now."""
    letters: list[str] = []
    for part in some(act_ids):
        letters += connection.scalars(
            select(act_target.c.target)
            .join(act, act.c.act_id == act_target.c.act_id)
            .where(act.c.act_id.in_(part), act.c.act == DISCARD)
        )
        connection.execute(delete(act).where(act.c.act_id.in_(part)))
        connection.execute(delete(act_target).where(act_target.c.act_id.in_(part)))
    for part in some(letters):
        connection.execute(delete(discarded).where(discarded.c.letter_id.in_(part)))
        rows = connection.execute(
            select(act_target.c.target.label("letter_id"), act.c.at_ms, act.c.actor, act.c.reason)
            .join(act, act.c.act_id == act_target.c.act_id)
            .where(act_target.c.target.in_(part), act.c.act == DISCARD)
        ).mappings()
        put(connection, discarded, [dict(row) for row in rows], only_newer=["at_ms", "actor", "reason"])
    return letters


def _row(one: Act) -> dict[str, object]:
    row: dict[str, object] = {
        name: getattr(one, name) for name in ("act_id", "at_ms", "actor", "role", "act", "reason")
    }
    return row | {"value": one.encode()}
