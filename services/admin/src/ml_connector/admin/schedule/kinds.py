"""What a schedule begins, as each kind of job offers it. A new kind is one more entry of `Admin`'s registry."""

from __future__ import annotations

from collections.abc import Collection, Mapping
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

    def states(self, connection: Connection, flow: str | None, job_ids: Collection[str]) -> Mapping[str, str]:
        """How each stands, in one word; without those that are not known. `flow`: whose they are; None: of several."""
        ...


Kinds = Mapping[ScheduleKind, Kind]
