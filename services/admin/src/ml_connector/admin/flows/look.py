"""Read flows out of the tables."""

from __future__ import annotations

from sqlalchemy import select

from ml_connector.admin.database import Database
from ml_connector.admin.replay.control import NotFound
from ml_connector.admin.tables import active_flow, flow_version
from ml_connector.common.directory import LiveFlow
from ml_connector.common.flows import FlowVersion


class FlowLooks:
    """Each method blocks: call it in a thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def active(self, name: str) -> LiveFlow:
        """Raises NotFound."""
        of_it = (active_flow.c.flow == flow_version.c.flow) & (active_flow.c.version == flow_version.c.version)
        asked = select(active_flow, flow_version.c.value).join(flow_version, of_it).where(active_flow.c.flow == name)
        with self._database.read() as connection:
            row = connection.execute(asked).one_or_none()
        if row is None:
            raise NotFound(f"there is no flow {name}")
        return LiveFlow(FlowVersion.decode(row.value).read(), row.version, row.paused, row.resumed_at_ms)
