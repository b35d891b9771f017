"""`connector.secrets`: credentials as they are there, encrypted.

What the API has changed stands here before its message does; an older message must not take it back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, select

from ml_connector.admin.fold.reading import drop, last_by_key, put, read, refuse, some
from ml_connector.admin.tables import secret
from ml_connector.common.kafka.record import Record
from ml_connector.common.vault import SecretEntry


def fold_secrets(connection: Connection, records: Sequence[Record]) -> None:
    """Of equal versions the later message counts: it was wrapped anew."""
    entries: list[SecretEntry] = []
    gone: list[dict[str, Any]] = []
    for key, record in last_by_key(records).items():
        if record.value is None:
            gone.append({"key": key})
        elif (entry := read(SecretEntry, record)) is not None:
            if entry.key == key:
                entries.append(entry)
            else:
                refuse(record, "it belongs under another key")
    known = _known(connection, [entry.key for entry in entries])
    put(connection, secret, [secret_row(one) for one in entries if one.version >= known.get(one.key, 0)])
    drop(connection, secret, gone)


def secret_row(entry: SecretEntry) -> dict[str, Any]:
    return {
        "key": entry.key,
        "owner": entry.owner,
        "name": entry.name,
        "environment": entry.environment,
        "version": entry.version,
        "kek": entry.kek,
        "value": entry.encode(),
    }


def _known(connection: Connection, keys: Sequence[str]) -> dict[str, int]:
    """The least version that counts; a deleted one does not come back by its own message."""
    found: dict[str, int] = {}
    for part in some(keys):
        for row in connection.execute(select(secret).where(secret.c.key.in_(part))):
            found[row.key] = row.version if row.value is not None else row.version + 1
    return found
