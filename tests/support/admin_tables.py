"""The admin service's tables as a test compares them."""

from __future__ import annotations

import zlib
from typing import Any

from sqlalchemy import Connection, select

from ml_connector.admin.tables import connecting, lease, metadata, origin, outbox

Dump = dict[str, list[tuple[Any, ...]]]

# Of one database, not of the topics.
OWN = (connecting, lease, origin, outbox)


def dump(connection: Connection) -> Dump:
    """All that follows from the topics; audit entries inflated, since compression is no promise."""
    found = {}
    for table in metadata.sorted_tables:
        if table in OWN:
            continue
        rows = [tuple(row) for row in connection.execute(select(table))]
        if table.name == "step":
            rows = [(*row[:-1], zlib.decompress(row[-1])) for row in rows]
        found[table.name] = sorted(rows, key=repr)
    return found
