"""`connector.jobs`: replays, their items, edited copies, syncs, schedules, gaps. What is kept already comes again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection

from ml_connector.admin.catchup.keep import put_catch_up, put_heard
from ml_connector.admin.fold.reading import drop, last_by_key, read
from ml_connector.admin.replay import keep
from ml_connector.admin.schedule.keep import put_schedule
from ml_connector.admin.sync.keep import put_sync
from ml_connector.admin.tables import catch_up, edited, job, job_item, schedule, sync
from ml_connector.common.catch_up import HEARD_KEY, CatchUp, Heard
from ml_connector.common.codec import Wire
from ml_connector.common.kafka.record import Record
from ml_connector.common.schedule_job import ScheduleEntry
from ml_connector.common.sync_job import SyncJob
from ml_connector.common.wire import Edited, ReplayItems, ReplayJob

_EDIT: Final = "edit/"
_ITEMS: Final = "/items/"
_SYNC: Final = "sync/"
_SCHEDULE: Final = "schedule/"
_CATCH_UP: Final = "catch-up/"

# By how a key begins: what its value is, and where it goes. Without any of them it is a replay's.
_PUT: Final[Mapping[str, tuple[type[Wire], Callable[[Connection, Any], None]]]] = {
    _EDIT: (Edited, keep.put_edited),
    _SYNC: (SyncJob, put_sync),
    _SCHEDULE: (ScheduleEntry, put_schedule),
    _CATCH_UP: (CatchUp, put_catch_up),
    HEARD_KEY: (Heard, put_heard),
}


def fold_jobs(connection: Connection, records: Sequence[Record]) -> None:
    for key, record in last_by_key(records).items():
        if record.value is None:
            _forget(connection, key)
            continue
        kind, put = _of(key)
        if (found := read(kind, record)) is not None:
            put(connection, found)


def _of(key: str) -> tuple[type[Wire], Callable[[Connection, Any], None]]:
    start = next((start for start in _PUT if key.startswith(start)), None)
    if start is not None:
        return _PUT[start]
    return (ReplayItems, keep.put_items) if _ITEMS in key else (ReplayJob, keep.put_job)


def _forget(connection: Connection, key: str) -> None:
    """A job goes with all its items."""
    if key.startswith(_EDIT):
        drop(connection, edited, [{"letter_id": key.removeprefix(_EDIT)}])
    elif key.startswith(_SYNC):
        drop(connection, sync, [{"job_id": key.removeprefix(_SYNC)}])
    elif key.startswith(_SCHEDULE):
        name, _, kind = key.removeprefix(_SCHEDULE).rpartition("/")
        drop(connection, schedule, [{"flow": name, "kind": kind}])
    elif key.startswith(_CATCH_UP):
        drop(connection, catch_up, [{"flow": key.removeprefix(_CATCH_UP)}])
    elif _ITEMS not in key:
        drop(connection, job, [{"job_id": key}])
        drop(connection, job_item, [{"job_id": key}])
