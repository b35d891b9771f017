"""Reconciles on a schedule: each compares everything."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy import Connection

from ml_connector.admin.schedule.kinds import Due
from ml_connector.admin.schedule.syncs import states_of
from ml_connector.admin.sync.ask import Asked
from ml_connector.admin.sync.control import Syncs


class ScheduledReconciles:
    """The kind `reconcile`."""

    def __init__(self, syncs: Syncs) -> None:
        self._syncs = syncs

    def start(self, connection: Connection, due: Due) -> str:
        asked = Asked(due.flow.flow, "full", token_share=due.flow.schedule.token_share, purpose="compare")
        return self._syncs.begin(connection, asked, due.said).job_id

    def states(self, connection: Connection, flow: str | None, job_ids: Collection[str]) -> Mapping[str, str]:
        return states_of(connection, job_ids)
