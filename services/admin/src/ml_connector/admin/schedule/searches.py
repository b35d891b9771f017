"""Searches for what is gone on a schedule: what a flow without webhooks hears of no other way."""

from __future__ import annotations

from collections.abc import Collection, Mapping

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

    def states(self, connection: Connection, flow: str | None, job_ids: Collection[str]) -> Mapping[str, str]:
        entries = read_catch_ups(connection, flow).values()
        return {run.run_id: run.phase for entry in entries for run in entry.runs if run.run_id in job_ids}
