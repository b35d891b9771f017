"""Change what a compacted topic of ours holds. Before it the tables must hold all that the topic holds; then it is one
transaction, in which nobody else folds or changes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol, TypeVar

from sqlalchemy import Connection

from ml_connector.admin.database import Database, lock_folding
from ml_connector.admin.identity.roles import Actor
from ml_connector.common.clock import Deadline
from ml_connector.common.topics import Topic

LEVEL_S: Final = 10.0  # somebody waits for the answer

T = TypeVar("T")


class Level(Protocol):
    async def until_level(self, deadline: Deadline, *, of: Topic | None = None) -> None:
        """Raises TryLater."""
        ...


class Said(NamedTuple):
    """Who wants it, why, and which version they think is there (None: whichever)."""

    by: Actor
    reason: str = ""
    expect: int | None = None


async def alone(database: Database, change: Callable[[Connection], T]) -> T:
    """What `change` returns, once it is committed."""

    def write() -> T:
        with database.write() as connection:
            lock_folding(connection)
            return change(connection)

    return await asyncio.to_thread(write)
