"""Syncs on a schedule: each reads what changed since the last one that left no gap."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Final

from sqlalchemy import Connection, func, select

from ml_connector.admin.fold.reading import some
from ml_connector.admin.schedule.cover import covered_of, next_sync
from ml_connector.admin.schedule.kinds import Due
from ml_connector.admin.sync.ask import ORDER
from ml_connector.admin.sync.control import Syncs
from ml_connector.admin.tables import flow_version, sync
from ml_connector.common.sync_job import SyncJob

PART: Final = 50  # jobs that are read at once


class ScheduledSyncs:
    """The kind `sync`."""

    def __init__(self, syncs: Syncs) -> None:
        self._syncs = syncs

    def start(self, connection: Connection, due: Due) -> str:
        flow = due.flow
        entities = [entity for entity in ORDER if flow.mapping_of(entity) is not None]
        covered = covered_of(_ended_well(connection, flow.flow), entities)
        asked = next_sync(flow, covered, entities, _first_ms(connection, flow.flow))
        return self._syncs.begin(connection, asked, due.said).job_id

    def states(self, connection: Connection, flow: str | None, job_ids: Collection[str]) -> Mapping[str, str]:
        return states_of(connection, job_ids)


def states_of(connection: Connection, job_ids: Collection[str]) -> Mapping[str, str]:
    """Of those that are known."""
    found: dict[str, str] = {}
    for part in some(job_ids):
        rows = connection.execute(select(sync.c.job_id, sync.c.state).where(sync.c.job_id.in_(part)))
        found.update((row.job_id, row.state) for row in rows)
    return found


def _ended_well(connection: Connection, flow: str) -> Iterator[SyncJob]:
    """Newest first."""
    wanted = select(sync.c.value).where(sync.c.flow == flow, sync.c.state == "done", sync.c.purpose == "sync")
    wanted = wanted.order_by(sync.c.created_at_ms.desc(), sync.c.job_id)
    start, values = 0, list(connection.scalars(wanted.limit(PART)))
    while values:
        yield from map(SyncJob.decode, values)
        start += PART
        values = list(connection.scalars(wanted.limit(PART).offset(start)))


def _first_ms(connection: Connection, flow: str) -> int:
    """When the flow was first applied."""
    return connection.scalar(select(func.min(flow_version.c.applied_at_ms)).where(flow_version.c.flow == flow)) or 0
