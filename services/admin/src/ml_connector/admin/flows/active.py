"""The active flows, for whoever looks at all of them again and again."""

from __future__ import annotations

from sqlalchemy import Connection, select

from ml_connector.admin.flows.look import find_version
from ml_connector.admin.tables import active_flow
from ml_connector.common.errors import InvalidFlow
from ml_connector.common.flows import Flow
from ml_connector.common.logs import get_logger

log = get_logger()


class ActiveFlows:
    """Each version is read once."""

    def __init__(self) -> None:
        self._read: dict[tuple[str, int], Flow | None] = {}

    def read(self, connection: Connection) -> list[Flow]:
        """By name; without those that this release would not take any more: doctor tells of them."""
        active = connection.execute(select(active_flow.c.flow, active_flow.c.version).order_by(active_flow.c.flow))
        before, self._read = self._read, {}
        for name, version in active.all():
            known = (name, version) in before
            self._read[name, version] = before[name, version] if known else _readable(connection, name, version)
        return [flow for flow in self._read.values() if flow is not None]


def _readable(connection: Connection, name: str, version: int) -> Flow | None:
    try:
        return find_version(connection, name, version).read()
    except InvalidFlow as error:
        log.warning("flow_unreadable", flow=name, problem=str(error))
        return None
