"""The database's schema up to date: by each process at its start, or once per release, ahead of all replicas.

`python -m ml_connector.admin migrate` is the latter.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Final

from ml_connector.admin.database import Database
from ml_connector.admin.settings import AdminSettings
from ml_connector.common import logs
from ml_connector.common.clock import Clock
from ml_connector.common.errors import InvalidSettings
from ml_connector.common.logs import get_logger

log = get_logger()

AGAIN_S: Final = 1.0


async def bring_up_to_date(database: Database, clock: Clock, *, itself: bool) -> None:
    """Or, if not `itself`, wait until somebody has."""
    if itself:
        await asyncio.to_thread(database.migrate)
        return
    while not await asyncio.to_thread(database.migrated):
        log.warning("waiting", reason="the database is of an older release: `migrate` has not run")
        await clock.sleep(AGAIN_S)


def main() -> None:
    """Exit code 2 for wrong settings. Takes its turn when another one is at it; nothing to do is no error."""
    try:
        settings = AdminSettings.load()
    except InvalidSettings as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(2) from error
    logs.configure("admin", level=settings.log_level, form=settings.log_format)
    database = Database(settings.admin_database_url)
    database.migrate()
    database.close()
    log.info("schema_is_up_to_date")
