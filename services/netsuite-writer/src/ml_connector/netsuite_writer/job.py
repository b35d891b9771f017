"""One entry with its body, and what an account works with."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Protocol

from ml_connector.common.clock import Clock
from ml_connector.common.directory import LiveFlow
from ml_connector.common.wire import Attempt, Desired, Hydrate
from ml_connector.netsuite_writer.schedule import Entry
from ml_connector.netsuite_writer.settings import WriterSettings
from ml_connector.netsuite_writer.settlement import Settler
from ml_connector.netsuite_writer.store import Store


class Messages(Protocol):
    """What an account sends outside settlements; both return once the broker has it."""

    async def attempt(self, attempt: Attempt | None, record: str) -> None: ...

    async def hydrate(self, request: Hydrate, company: str) -> None: ...


class Flows(Protocol):
    def flow(self, name: str) -> LiveFlow | None: ...


@dataclass(frozen=True, slots=True)
class Tools:
    """What an account works with; all of one partition share most of it."""

    settings: WriterSettings
    clock: Clock
    flows: Flows
    store: Store
    settler: Settler
    messages: Messages
    owner: str
    chance: random.Random


@dataclass(frozen=True, slots=True)
class Job:
    """One entry with its body."""

    entry: Entry
    desired: Desired
    traceparent: str
