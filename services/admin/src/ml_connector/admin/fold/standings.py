"""What is stopped and why, whoever tells it: the writer of accounts and flows, the resolver of companies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from ml_connector.admin.fold.reading import drop, put, read
from ml_connector.admin.tables import standing
from ml_connector.common.kafka.record import Record
from ml_connector.common.wire import Standing


def put_standings(connection: Connection, records: Mapping[str, Record]) -> None:
    """By key the newest message; of one that cannot be read nothing is changed."""
    stopped: list[dict[str, Any]] = []
    going: list[dict[str, Any]] = []
    for key, record in records.items():
        if record.value is None:
            going.append({"key": key})
        elif (stop := read(Standing, record)) is not None:
            stopped.append({"key": key, "state": stop.state, "reason": stop.reason, "at_ms": stop.at_ms})
    put(connection, standing, stopped)
    drop(connection, standing, going)
