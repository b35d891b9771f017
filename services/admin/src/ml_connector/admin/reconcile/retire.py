"""Forget what was compared or polled long ago: out of the tables, and out of the audit, since it holds customers'
values. What polls and pushes found goes with the comparison that told it, once the audit says so (`fold/drift.py`).
And syncs, reconciles and polls that ended long ago, out of `connector.jobs`: schedules make many thousand a year.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, and_, delete, or_, select

from ml_connector.admin.changing import alone
from ml_connector.admin.database import Database
from ml_connector.admin.leading import AGAIN_S, Leading
from ml_connector.admin.outbox import put_message
from ml_connector.admin.replay.control import tell
from ml_connector.admin.tables import compared, difference, polled, sync
from ml_connector.common import topics
from ml_connector.common.clock import Clock
from ml_connector.common.comparing import ComparedKey
from ml_connector.common.drift import PolledKey
from ml_connector.common.logs import get_logger
from ml_connector.common.sync_job import SyncJob, sync_job_key

log = get_logger()

LOOK_S: Final = 3600.0
AT_ONCE: Final = 200  # of one transaction
JOBS_KEPT: Final = 100  # the newest of a flow and purpose that ended well: what comes next goes on from them
DAY_MS: Final = 24 * 3600 * 1000


class Retiring:
    """`run` until cancelled, on the replica that materializes."""

    def __init__(self, database: Database, leading: Leading, clock: Clock, *, days: float) -> None:
        self._database = database
        self._leading = leading
        self._clock = clock
        self._kept_ms = int(days * DAY_MS)

    async def run(self) -> None:
        while True:
            wait_s = LOOK_S
            try:
                wait_s = LOOK_S if await self.look() else AGAIN_S
            except Exception as error:  # noqa: BLE001  the database: it is the same to look again
                log.warning("reports_kept", error=type(error).__name__)
            await self._clock.sleep(wait_s)

    async def look(self) -> bool:
        """Whether there is nothing more to forget now. False also while another replica leads."""
        if not self._leading.leads:
            return False
        before_ms = self._clock.now_ms() - self._kept_ms
        forgotten = await alone(self._database, lambda connection: forget(connection, before_ms))
        return forgotten < AT_ONCE


def forget(connection: Connection, before_ms: int) -> int:
    """How many parts and pages, or jobs; the broker is told by the outbox."""
    parts = _parts(connection, before_ms)
    pages = _pages(connection, before_ms)
    for key, account in (parts | pages).items():
        put_message(connection, topics.AUDIT, partition_key=account, key=str(key), value=None)
    for table, keys in ((difference, parts), (compared, parts), (polled, pages)):
        rows = [and_(*(table.c[name] == value for name, value in key._asdict().items())) for key in keys]
        if rows:
            connection.execute(delete(table).where(or_(*rows)))
    count = max(len(parts), len(pages))
    return count if count == AT_ONCE else _forget_jobs(connection, before_ms)  # a job goes after its pages


def _forget_jobs(connection: Connection, before_ms: int) -> int:
    newer = sync.alias()
    well = and_(newer.c.flow == sync.c.flow, newer.c.purpose == sync.c.purpose, newer.c.state == "done")
    last_kept = select(newer.c.created_at_ms).where(well).order_by(newer.c.created_at_ms.desc())
    last_kept_ms = last_kept.offset(JOBS_KEPT - 1).limit(1).correlate(sync).scalar_subquery()
    is_old = and_(sync.c.created_at_ms < before_ms, sync.c.created_at_ms < last_kept_ms)
    old = select(sync.c.job_id).where(is_old, sync.c.state.in_(["done", "cancelled"])).order_by(sync.c.created_at_ms)
    job_ids = connection.scalars(old.limit(AT_ONCE)).all()
    for job_id in job_ids:
        tell(connection, sync_job_key(job_id), None)
    connection.execute(delete(sync).where(sync.c.job_id.in_(job_ids)))
    return len(job_ids)


def _parts(connection: Connection, before_ms: int) -> dict[ComparedKey | PolledKey, str]:
    """The oldest, with their accounts."""
    columns = [compared.c[name] for name in ComparedKey._fields]
    old = select(*columns, compared.c.account).where(compared.c.at_ms < before_ms).limit(AT_ONCE)
    rows = connection.execute(old.order_by(compared.c.at_ms, *columns))
    return {ComparedKey(*key): account for *key, account in rows}


def _pages(connection: Connection, before_ms: int) -> dict[ComparedKey | PolledKey, str]:
    """Of polls that were begun before."""
    old = select(polled.c.job_id, polled.c.page, sync.c.value).join(sync, sync.c.job_id == polled.c.job_id)
    of_polls = old.where(sync.c.purpose == "drift", sync.c.created_at_ms < before_ms)
    rows = connection.execute(of_polls.order_by(polled.c.job_id, polled.c.page).limit(AT_ONCE))
    return {PolledKey(job_id, page): SyncJob.decode(value).account for job_id, page, value in rows}
