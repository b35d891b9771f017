"""Keep a sync in SQL, whoever brings it: the API, or the topic after a rebuild."""

from __future__ import annotations

from sqlalchemy import Connection

from ml_connector.admin.database import upsert
from ml_connector.admin.tables import sync
from ml_connector.common.sync_job import SyncJob


def put_sync(connection: Connection, entry: SyncJob) -> None:
    """Of two entries the one with the higher version counts."""
    row = {
        name: getattr(entry, name) for name in ("job_id", "version", "flow", "state", "purpose", "of", "created_at_ms")
    }
    upsert(connection, sync, [{**row, "value": entry.encode()}], only_newer=["version"])
