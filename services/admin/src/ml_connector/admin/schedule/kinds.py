"""What a schedule begins, as each kind of job offers it. A new kind is one more entry of `Admin`'s registry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from sqlalchemy import Connection

from ml_connector.admin.changing import Said
from ml_connector.admin.identity.roles import Actor, Role
from ml_connector.common.flows import Flow
from ml_connector.common.schedule_job import ACTOR, ScheduleKind

BY_SCHEDULE: Final = Actor(ACTOR, Role.operator)


@dataclass(frozen=True, slots=True)
class Due:
    """A job that shall begin now. `said`: on whose behalf, for the act."""

    flow: Flow
    version: int  # of the flow
    due_ms: int
    now_ms: int
    said: Said


class Kind(Protocol):
    """One kind of job. Both are called within a transaction, in which nobody else folds or changes anything."""

    def start(self, connection: Connection, due: Due) -> str:
        """Make the job and its act; its id. Due times come once and in order.

        Raises, before it writes anything: Conflict when one of the flow is under way (this time is skipped then),
        any other ConnectorError when it cannot be begun before somebody has done something.
        """
        ...

    def state(self, connection: Connection, job_id: str) -> str:
        """How it stands, in one word; empty when it is not known."""
        ...


Kinds = Mapping[ScheduleKind, Kind]
