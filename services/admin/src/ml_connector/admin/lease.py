"""Who of several replicas does something, until when: one row, taken by compare-and-set.

Only to save double work: whoever writes must bear that for a moment two think they hold it.
"""

from __future__ import annotations

from sqlalchemy import delete, or_, select

from ml_connector.admin.database import Database, upsert
from ml_connector.admin.tables import lease
from ml_connector.common.clock import Clock


class Lease:
    """Blocking: the event loop calls it in threads."""

    def __init__(self, database: Database, name: str, owner: str, clock: Clock, for_ms: int) -> None:
        """`owner`: of this process and no other. A lease that is not taken again ends after `for_ms`."""
        self._database = database
        self._name = name
        self._owner = owner
        self._clock = clock
        self._for_ms = for_ms

    def take(self) -> bool:
        """Take it, or keep it. False: somebody else has it."""
        now_ms = self._clock.now_ms()
        row = {"name": self._name, "owner": self._owner, "until_ms": now_ms + self._for_ms}
        free = or_(lease.c.owner == self._owner, lease.c.until_ms <= now_ms)
        with self._database.write() as connection:
            upsert(connection, lease, [row], where=free)
            return connection.scalar(select(lease.c.owner).where(lease.c.name == self._name)) == self._owner

    def release(self) -> None:
        """Nobody has to wait for its end."""
        with self._database.write() as connection:
            connection.execute(delete(lease).where(lease.c.name == self._name, lease.c.owner == self._owner))
