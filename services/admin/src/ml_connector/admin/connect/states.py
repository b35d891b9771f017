"""The `state` of each authorization that somebody asked for: good once, for ten minutes, bound to what was asked.

Only its SHA-256 is kept: who reads the database cannot answer in Pipedrive's place.
"""

from __future__ import annotations

import hashlib
import secrets
from enum import StrEnum
from typing import Final, NamedTuple

from sqlalchemy import Connection, Row, delete, insert, select, update

from ml_connector.admin.database import Database
from ml_connector.admin.identity.roles import Actor, Role
from ml_connector.admin.tables import connecting
from ml_connector.common.flows import Environment

STATE_BYTES: Final = 32  # random; 16 would do
LIFE_MS: Final = 600_000  # a person logs in at Pipedrive and agrees; the code itself lives 5 minutes
KEPT_MS: Final = 3_600_000  # after its end, so that who comes late or twice is told that


class Asked(NamedTuple):
    """What an answer is bound to."""

    company: str
    environment: Environment
    token_url: str
    redirect_uri: str
    by: Actor
    reason: str


class Stale(StrEnum):
    """Why a state is not good."""

    unknown = "unknown"
    expired = "expired"
    used = "used"


def put_state(connection: Connection, asked: Asked, now_ms: int) -> str:
    """A new one, which is nowhere but in what this returns. Those that ended long ago go."""
    connection.execute(delete(connecting).where(connecting.c.expires_at_ms < now_ms - KEPT_MS))
    state = secrets.token_urlsafe(STATE_BYTES)
    row = {
        "state_hash": _hash(state),
        "company": asked.company,
        "environment": asked.environment,
        "token_url": asked.token_url,
        "redirect_uri": asked.redirect_uri,
        "actor": asked.by.subject,
        "role": asked.by.role.name,
        "reason": asked.reason,
        "expires_at_ms": now_ms + LIFE_MS,
        "used": False,
    }
    connection.execute(insert(connecting), [row])
    return state


def take_state(database: Database, state: str, now_ms: int) -> Asked | Stale:
    """Whoever takes it first has it, over all replicas. Blocks. A guess costs one look, and no writer waits for it."""
    key = connecting.c.state_hash == _hash(state)
    with database.read() as connection:
        row = connection.execute(select(connecting).where(key)).one_or_none()
    if row is None or row.expires_at_ms < now_ms - KEPT_MS:
        return Stale.unknown
    if row.used:
        return Stale.used
    if row.expires_at_ms <= now_ms:
        return Stale.expired
    with database.write() as connection:
        taken = connection.execute(update(connecting).where(key, connecting.c.used.is_(False)).values(used=True))
    return _asked(row) if taken.rowcount == 1 else Stale.used


def _asked(row: Row[tuple[object, ...]]) -> Asked:
    by = Actor(row.actor, Role[row.role])
    return Asked(row.company, row.environment, row.token_url, row.redirect_uri, by, row.reason)


def _hash(state: str) -> str:
    return hashlib.sha256(state.encode()).hexdigest()
