"""Forget what has left its topic, so that the tables stay what a rebuild would make of them, and as small."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sqlalchemy import Connection, Table, and_, delete, or_

from ml_connector.admin.tables import accepted, dead_letter, parked
from ml_connector.common import topics

# Rows that stand for one message of a topic that is not compacted. (The audit is kept for seven years.)
_KEPT_BY: Final[dict[Table, tuple[str, ...]]] = {
    accepted: (topics.EVENTS.name, topics.PIPEDRIVE_REQUESTS.name),
    parked: (topics.DEFERRED.name,),
    dead_letter: (topics.DEAD_LETTERS.name,),
}


def prune(connection: Connection, firsts: Mapping[tuple[str, int], int]) -> None:
    """`firsts`: the oldest offset of each topic and partition."""
    for table, names in _KEPT_BY.items():
        gone = [
            and_(
                table.c.topic_partition == partition,
                table.c.topic_offset < first,
                *([table.c.topic == name] if "topic" in table.c else []),
            )
            for (name, partition), first in firsts.items()
            if name in names and first > 0
        ]
        if gone:
            connection.execute(delete(table).where(or_(*gone)))
