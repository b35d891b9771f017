"""Keep in SQL what is known of gaps, whoever brings it: the catch-up itself, or the topics after a rebuild."""

from __future__ import annotations

from sqlalchemy import Connection, select

from ml_connector.admin.database import upsert
from ml_connector.admin.tables import catch_up, deliveries, heard
from ml_connector.common.catch_up import HEARD_KEY, CatchUp, Heard
from ml_connector.common.deliveries import Deliveries


def put_catch_up(connection: Connection, entry: CatchUp) -> None:
    """Of two entries the one with the higher version counts."""
    row = {"flow": entry.flow, "version": entry.version, "value": entry.encode()}
    upsert(connection, catch_up, [row], only_newer=["version"])


def put_heard(connection: Connection, entry: Heard) -> None:
    """Of two the later one counts."""
    row = {"name": HEARD_KEY, "up_ms": entry.up_ms, "value": entry.encode()}
    upsert(connection, heard, [row], only_newer=["up_ms"])


def read_heard(connection: Connection) -> Heard:
    value = connection.scalar(select(heard.c.value).where(heard.c.name == HEARD_KEY))
    return Heard() if value is None else Heard.decode(value)


def read_catch_ups(connection: Connection, flow: str | None = None) -> dict[str, CatchUp]:
    """By flow; of one, or of all."""
    wanted = select(catch_up.c.value) if flow is None else select(catch_up.c.value).where(catch_up.c.flow == flow)
    entries = map(CatchUp.decode, connection.scalars(wanted.order_by(catch_up.c.flow)))
    return {one.flow: one for one in entries}


def read_catch_up(connection: Connection, flow: str) -> CatchUp:
    value = connection.scalar(select(catch_up.c.value).where(catch_up.c.flow == flow))
    return CatchUp(flow) if value is None else CatchUp.decode(value)


def read_deliveries(connection: Connection) -> dict[str, Deliveries]:
    """By flow."""
    return {one.flow: one for one in map(Deliveries.decode, connection.scalars(select(deliveries.c.value)))}
