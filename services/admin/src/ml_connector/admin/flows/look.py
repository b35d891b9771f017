"""Read flows out of the tables."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, Row, select

from ml_connector.admin.database import Database
from ml_connector.admin.flows.stops import Stop, all_stops, read_stops_of
from ml_connector.admin.replay.control import NotFound
from ml_connector.admin.tables import active_flow, flow, flow_version
from ml_connector.common.directory import LiveFlow
from ml_connector.common.flow_identity import Identity
from ml_connector.common.flows import ActiveFlow, FlowVersion

_ACTIVE = select(active_flow, flow_version.c.value).join(
    flow_version, (active_flow.c.flow == flow_version.c.flow) & (active_flow.c.version == flow_version.c.version)
)


class Known(NamedTuple):
    """A flow as the tables have it: what is active, and that version."""

    active: ActiveFlow
    version: FlowVersion


class FlowLooks:
    """Each method blocks: call it in a thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def active(self, name: str) -> LiveFlow:
        """Raises NotFound; InvalidFlow when this release would not take the document any more."""
        with self._database.read() as connection:
            known = find(connection, name)
        return LiveFlow(known.version.read(), known.active.version, known.active.paused, known.active.resumed_at_ms)

    def all(self) -> list[Known]:
        with self._database.read() as connection:
            return find_all(connection)

    def one(self, name: str) -> Known:
        """Raises NotFound."""
        with self._database.read() as connection:
            return find(connection, name)

    def stops(self) -> list[Stop]:
        """Whatever is stopped now."""
        with self._database.read() as connection:
            return all_stops(connection)

    def stops_of(self, version: FlowVersion) -> list[Stop]:
        """What of it stops this flow."""
        with self._database.read() as connection:
            return read_stops_of(connection, version)

    def versions(self, name: str) -> list[FlowVersion]:
        """Newest first."""
        wanted = select(flow_version.c.value).where(flow_version.c.flow == name)
        with self._database.read() as connection:
            values = connection.scalars(wanted.order_by(flow_version.c.version.desc()))
            return [FlowVersion.decode(value) for value in values]

    def version(self, name: str, number: int) -> FlowVersion:
        """Raises NotFound."""
        with self._database.read() as connection:
            return find_version(connection, name, number)


def find_all(connection: Connection) -> list[Known]:
    """By name."""
    return [_known(row) for row in connection.execute(_ACTIVE.order_by(active_flow.c.flow))]


def find(connection: Connection, name: str) -> Known:
    """Raises NotFound."""
    row = connection.execute(_ACTIVE.where(active_flow.c.flow == name)).one_or_none()
    if row is None:
        raise NotFound(f"there is no flow {name}")
    return _known(row)


def refuse_unknown(connection: Connection, name: str | None) -> None:
    """Of a name that is mistyped nothing would be found, which may be taken for good news. Raises NotFound."""
    if name is not None:
        find(connection, name)


def find_version(connection: Connection, name: str, number: int) -> FlowVersion:
    """Raises NotFound."""
    value = connection.scalar(
        select(flow_version.c.value).where(flow_version.c.flow == name, flow_version.c.version == number)
    )
    if value is None:
        raise NotFound(f"flow {name} has no version {number}")
    return FlowVersion.decode(value)


def identities(connection: Connection) -> list[Identity]:
    """Of every flow that ever was: its records may still be there."""
    return [Identity(row.flow, row.company, row.account, row.prefix) for row in connection.execute(select(flow))]


def _known(row: Row[tuple[object, ...]]) -> Known:
    active = ActiveFlow(
        flow=row.flow,
        version=row.version,
        revision=row.revision,
        paused=row.paused,
        resumed_at_ms=row.resumed_at_ms,
    )
    return Known(active, FlowVersion.decode(row.value))
