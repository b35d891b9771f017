"""Forget what was compared long ago: out of the tables, and out of the audit, since it holds customers' values."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, and_, delete, or_, select

from ml_connector.admin.changing import alone
from ml_connector.admin.database import Database
from ml_connector.admin.leading import AGAIN_S, Leading
from ml_connector.admin.outbox import put_message
from ml_connector.admin.tables import compared, difference
from ml_connector.common import topics
from ml_connector.common.clock import Clock
from ml_connector.common.comparing import ComparedKey
from ml_connector.common.logs import get_logger

log = get_logger()

LOOK_S: Final = 3600.0
AT_ONCE: Final = 200  # parts of one transaction
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
    """How many parts; the broker is told by the outbox."""
    columns = [compared.c[name] for name in ComparedKey._fields]
    old = select(*columns, compared.c.account).where(compared.c.at_ms < before_ms).limit(AT_ONCE)
    rows = connection.execute(old.order_by(compared.c.at_ms, *columns)).all()
    for row in rows:
        key = ComparedKey(row.job_id, row.entity, row.page, row.part)
        put_message(connection, topics.AUDIT, partition_key=row.account, key=str(key), value=None)
    for table in (difference, compared):
        parts = [and_(*(table.c[name] == getattr(row, name) for name in ComparedKey._fields)) for row in rows]
        if parts:
            connection.execute(delete(table).where(or_(*parts)))
    return len(rows)
