"""`connector.jobs`: replays, their items, edited copies, syncs, schedules. What is kept already is told once more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection

from ml_connector.admin.fold.reading import drop, last_by_key, read
from ml_connector.admin.replay import keep
from ml_connector.admin.schedule.keep import put_schedule
from ml_connector.admin.sync.keep import put_sync
from ml_connector.admin.tables import edited, job, job_item, schedule, sync
from ml_connector.common.kafka.record import Record
from ml_connector.common.schedule_job import ScheduleEntry
from ml_connector.common.sync_job import SyncJob
from ml_connector.common.wire import Edited, ReplayItems, ReplayJob

_EDIT: Final = "edit/"
_ITEMS: Final = "/items/"
_SYNC: Final = "sync/"
_SCHEDULE: Final = "schedule/"


def fold_jobs(connection: Connection, records: Sequence[Record]) -> None:
    for key, record in last_by_key(records).items():
        if record.value is None:
            _forget(connection, key)
        elif key.startswith(_EDIT):
            if (copy := read(Edited, record)) is not None:
                keep.put_edited(connection, copy)
        elif key.startswith(_SYNC):
            if (found := read(SyncJob, record)) is not None:
                put_sync(connection, found)
        elif key.startswith(_SCHEDULE):
            if (kept := read(ScheduleEntry, record)) is not None:
                put_schedule(connection, kept)
        elif _ITEMS in key:
            if (items := read(ReplayItems, record)) is not None:
                keep.put_items(connection, items)
        elif (entry := read(ReplayJob, record)) is not None:
            keep.put_job(connection, entry)


def _forget(connection: Connection, key: str) -> None:
    """A job goes with all its items."""
    if key.startswith(_EDIT):
        drop(connection, edited, [{"letter_id": key.removeprefix(_EDIT)}])
    elif key.startswith(_SYNC):
        drop(connection, sync, [{"job_id": key.removeprefix(_SYNC)}])
    elif key.startswith(_SCHEDULE):
        name, _, kind = key.removeprefix(_SCHEDULE).rpartition("/")
        drop(connection, schedule, [{"flow": name, "kind": kind}])
    elif _ITEMS not in key:
        drop(connection, job, [{"job_id": key}])
        drop(connection, job_item, [{"job_id": key}])
