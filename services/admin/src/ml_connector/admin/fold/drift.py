"""What drift checks found, record by record, and what polls told. In the order of the audit's entries.

A record's finding ends when a later comparison, of whatever kind, finds it as it should be, or finds something else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection, select, update

from ml_connector.admin.fold.reading import MOST_CHARS, drop, put, read, some
from ml_connector.admin.tables import drift, polled
from ml_connector.common.codec import encode_json
from ml_connector.common.comparing import Compared, ComparedKey, Difference
from ml_connector.common.covering import unpack
from ml_connector.common.drift import Polled
from ml_connector.common.errors import Malformed
from ml_connector.common.kafka.record import Record

_SAYS_NOTHING: Final = frozenset({"waiting", "unknown"})


def fold_drift(connection: Connection, entries: Mapping[ComparedKey, Record]) -> None:
    """A part that comes again replaces what it told."""
    for key, record in entries.items():
        told = None if record.value is None else read(Compared, record)
        if record.value is None or (told is not None and told.drift):
            drop(connection, drift, [key._asdict()])
        if told is not None and not told.failed:
            _fold(connection, key, told)


def fold_polled(connection: Connection, entries: Mapping[str, Record]) -> None:
    for text, record in entries.items():
        if record.value is None:
            job_id, _, page = text.partition("/polled/")
            drop(connection, polled, [{"job_id": job_id, "page": int(page)}] if page.isdigit() else [])
        elif (told := read(Polled, record)) is not None:
            put(connection, polled, [{name: getattr(told, name) for name in polled.c.keys()}])  # noqa: SIM118  columns


def _fold(connection: Connection, key: ComparedKey, told: Compared) -> None:
    left = _left(connection, told)
    found = {one.source_id: one for one in told.differences}
    clear = [one for one in told.differences if one.found not in _SAYS_NOTHING] if told.drift else []
    ended = left & (_equal(told) - found.keys()) if left else set()
    _end(connection, told, ended | (left & {one.source_id for one in clear}))
    put(connection, drift, [_row(key, told, one) for one in clear], only_newer=["at_ms"])


def _left(connection: Connection, told: Compared) -> set[str]:
    """Those records of which something was found before, and has not ended."""
    wanted = select(drift.c.source_id).where(
        drift.c.flow == told.flow, drift.c.entity == told.entity, drift.c.ended_at_ms == 0, drift.c.at_ms < told.at_ms
    )
    return set(connection.scalars(wanted))


def _equal(told: Compared) -> set[str]:
    """All that the part is about, without those that do not fit the mapping."""
    try:
        covered = {str(one) for one in unpack(told.covered)}
    except Malformed:
        return set()
    return covered - {one.source_id for one in told.unmapped}


def _end(connection: Connection, told: Compared, source_ids: set[str]) -> None:
    for part in some(source_ids):
        connection.execute(
            update(drift)
            .where(
                drift.c.flow == told.flow,
                drift.c.entity == told.entity,
                drift.c.source_id.in_(part),
                drift.c.ended_at_ms == 0,
                drift.c.at_ms < told.at_ms,
            )
            .values(ended_at_ms=told.at_ms)
        )


def _row(key: ComparedKey, told: Compared, one: Difference) -> dict[str, Any]:
    return {
        "flow": told.flow,
        "entity": told.entity,
        "source_id": one.source_id[:MOST_CHARS],
        "at_ms": told.at_ms,
        "job_id": key.job_id,
        "page": key.page,
        "part": key.part,
        "account": told.account,
        "external_id": one.external_id[:MOST_CHARS],
        "found": one.found,
        "did": one.did,
        "ended_at_ms": 0,
        "value": encode_json(one),
    }
