"""Mend what a reconcile has found: a sync by force of exactly the records that one can mend, once for each report."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Final, NamedTuple

from sqlalchemy import Connection, select

from ml_connector.admin.changing import LEVEL_S, Level, Said, alone
from ml_connector.admin.database import Database
from ml_connector.admin.flows.look import find
from ml_connector.admin.reconcile.mend import Mending, mending_of
from ml_connector.admin.reconcile.report import Wanted, lines_of
from ml_connector.admin.replay.control import Conflict
from ml_connector.admin.sync.ask import Asked
from ml_connector.admin.sync.control import Syncs, read_sync
from ml_connector.admin.sync.cost import Plan
from ml_connector.admin.tables import sync
from ml_connector.common import topics
from ml_connector.common.clock import Clock, Deadline
from ml_connector.common.sync_job import SyncJob

_OVER: Final = ("cancelled", "failed")


class Planned(NamedTuple):
    """`plan` None: there is nothing that a sync could mend."""

    mending: Mending
    plan: Plan | None


class Fixes:
    """`plan` blocks: the event loop calls it in a thread."""

    def __init__(self, database: Database, syncs: Syncs, level: Level, clock: Clock) -> None:
        self._database = database
        self._syncs = syncs
        self._level = level
        self._clock = clock

    def plan(self, job_id: str) -> Planned:
        """Raises NotFound, BadInput; Conflict when it is not done, or was mended before."""
        with self._database.read() as connection:
            asked, mending = _asked(connection, job_id)
        return Planned(mending, self._syncs.plan(asked) if mending.ids else None)

    async def create(self, job_id: str, said: Said) -> SyncJob:
        """Raises as `plan`; Conflict when there is nothing to mend; TryLater."""
        await self._level.until_level(Deadline.after(self._clock, LEVEL_S), of=topics.JOBS)
        asked, mending = await asyncio.to_thread(self._read, job_id)
        if not mending.ids:
            raise Conflict(f"reconcile {job_id} found nothing that a sync can mend")

        def begin(connection: Connection) -> SyncJob:
            _refuse_second(connection, job_id)
            return self._syncs.begin(connection, asked, said)

        return await alone(self._database, begin)

    def _read(self, job_id: str) -> tuple[Asked, Mending]:
        with self._database.read() as connection:
            return _asked(connection, job_id)


def mended_by(connection: Connection, job_id: str) -> str:
    """The sync that mends it or has mended it; empty when there is none."""
    of_job = select(sync.c.job_id).where(sync.c.of == job_id, sync.c.state.not_in(_OVER))
    return connection.scalar(of_job.order_by(sync.c.created_at_ms.desc()).limit(1)) or ""


def _asked(connection: Connection, job_id: str) -> tuple[Asked, Mending]:
    job = read_sync(connection, job_id, "compare")
    if job.state != "done":
        raise Conflict(f"reconcile {job_id} is {job.state}: only what a whole one has found is mended")
    _refuse_second(connection, job_id)
    flow = find(connection, job.flow).version.read()
    mending = mending_of(lines_of(connection, flow, job_id, job.entities, Wanted()))
    asked = Asked(job.flow, "ids", entities=tuple(mending.ids), token_share=job.token_share, force=True, of=job_id)
    return replace(asked, each=mending.ids), mending


def _refuse_second(connection: Connection, job_id: str) -> None:
    other = mended_by(connection, job_id)
    if other:
        raise Conflict(f"sync {other} mends reconcile {job_id}, or has done so: reconcile again to see what is left")
