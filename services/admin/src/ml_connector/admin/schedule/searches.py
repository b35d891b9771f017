"""Searches for what is gone on a schedule: what a flow without webhooks hears of no other way."""

from __future__ import annotations

from sqlalchemy import Connection

from ml_connector.admin.catchup.keep import read_catch_ups
from ml_connector.admin.catchup.step import Steps
from ml_connector.admin.schedule.kinds import Due


class ScheduledSearches:
    """The kind `deletions`."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps

    def start(self, connection: Connection, due: Due) -> str:
        return self._steps.search(connection, due.flow.flow, due.said.reason, due.now_ms)

    def state(self, connection: Connection, job_id: str) -> str:
        runs = (run for entry in read_catch_ups(connection).values() for run in entry.runs)
        return next((run.phase for run in runs if run.run_id == job_id), "")
