"""Rows of dead letters in a database of their own, for tests of what is done with them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Table, insert

from ml_connector.admin.database import Database
from ml_connector.admin.explain import letter_id, signature_of
from ml_connector.admin.tables import dead_letter, metadata

RECORD = "1234567_sb1/customer/pd-org-5"
T0_MS = 1_700_000_000_000


def new_database(path: Path) -> Database:
    """On SQLite, with the tables as they are declared."""
    database = Database(f"sqlite:///{path / 'admin.sqlite'}")
    metadata.create_all(database.engine)
    return database


def letter_row(number: int = 0, **more: Any) -> dict[str, Any]:
    """An open letter; each number is another cause at another place."""
    row = {
        "cause": f"w:{number}",
        "record_key": RECORD,
        "account": "1234567_SB1",
        "flow": "acme-eu",
        "entity": "organization",
        "source_id": "5",
        "stage": "write",
        "code": "USER_ERROR",
        "field": "",
        "message": "Please enter value(s) for: Subsidiary.",
        "source_version": T0_MS + number,
        "revision": 0,
        "attempts": 1,
        "first_failed_at_ms": T0_MS + number,
        "failed_at_ms": T0_MS + number,
        "expires_at_ms": T0_MS + number + 90,
        "replay_of": "",
        "trace": "",
        "size_bytes": 10,
        "topic_partition": 0,
        "topic_offset": number,
        "state": "open",
        "resolution": "",
        "resolved_by": "",
        "resolved_at_ms": 0,
        **more,
    }
    facts = {name: str(row[name]) for name in ("stage", "code", "field", "flow", "message")}
    return {"letter_id": letter_id(row["cause"], row["record_key"]), "signature": signature_of(**facts), **row}


def put(database: Database, table: Table, *rows: Mapping[str, Any]) -> None:
    with database.write() as connection:
        connection.execute(insert(table), list(rows))


def put_letters(database: Database, *rows: Mapping[str, Any]) -> list[str]:
    """Their ids."""
    put(database, dead_letter, *rows)
    return [str(row["letter_id"]) for row in rows]
