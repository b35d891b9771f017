"""`pipedrive.state`: what a company's owner tells of it. Definitions, stages and tokens are its own affair."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection

from ml_connector.admin.fold.reading import drop, last_by_key, put, read
from ml_connector.admin.fold.standings import put_standings
from ml_connector.admin.tables import deliveries, sync_walk
from ml_connector.common.deliveries import Deliveries
from ml_connector.common.kafka.record import Record
from ml_connector.common.keys import company_key
from ml_connector.common.syncing import SyncState


def fold_state(connection: Connection, records: Sequence[Record]) -> None:
    """A key is `<company>/<what>`, and perhaps more."""
    told: dict[str, dict[tuple[str, str], Record]] = {what: {} for what in _PARTS}
    for key, record in last_by_key(records).items():
        company, _, rest = key.partition("/")
        what, _, more = rest.partition("/")
        if what in told:
            told[what][company, more] = record
    for what, entries in told.items():
        if entries:
            _PARTS[what](connection, entries)


def _fold_standings(connection: Connection, entries: Mapping[tuple[str, str], Record]) -> None:
    put_standings(connection, {company_key(company): record for (company, _), record in entries.items()})


def _fold_walks(connection: Connection, entries: Mapping[tuple[str, str], Record]) -> None:
    """Of syncs, by `<job>/<entity>`; of one that cannot be read nothing is changed."""
    rows: list[dict[str, Any]] = []
    gone: list[dict[str, Any]] = []
    for (_, place), record in entries.items():
        job_id, _, entity = place.partition("/")
        if record.value is None:
            gone.append({"job_id": job_id, "entity": entity})
        elif read(SyncState, record) is not None:
            rows.append({"job_id": job_id, "entity": entity, "value": record.value})
    put(connection, sync_walk, rows)
    drop(connection, sync_walk, gone)


def _fold_deliveries(connection: Connection, entries: Mapping[tuple[str, str], Record]) -> None:
    """By flow; of one that cannot be read nothing is changed."""
    rows = [
        {"company": company, "flow": flow, "value": record.value}
        for (company, flow), record in entries.items()
        if record.value is not None and read(Deliveries, record) is not None
    ]
    put(connection, deliveries, rows)


# By what a message tells, what is made of it: the newest message of each company, and what its key says beyond that.
_PARTS: Final[Mapping[str, Callable[[Connection, Mapping[tuple[str, str], Record]], None]]] = {
    "standing": _fold_standings,
    "sync": _fold_walks,
    "deliveries": _fold_deliveries,
}
