"""One entry with its body, how it ends, and what an account works with."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Protocol

from ml_connector.common.clock import Clock
from ml_connector.common.directory import LiveFlow
from ml_connector.common.wire import Attempt, BatchJob, Desired, Hydrate, Standing
from ml_connector.netsuite_writer import settle
from ml_connector.netsuite_writer.outcome import Ending
from ml_connector.netsuite_writer.schedule import Entry, Way
from ml_connector.netsuite_writer.settings import WriterSettings
from ml_connector.netsuite_writer.settlement import Settler
from ml_connector.netsuite_writer.store import Store


class Messages(Protocol):
    """What an account sends outside settlements; all return once the broker has it."""

    async def attempt(self, attempt: Attempt | None, record: str) -> None: ...

    async def job(self, job: BatchJob | None, idempotency_key: str) -> None: ...

    async def standing(self, standing: Standing | None, key: str) -> None: ...

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

    def backoff_s(self, failures: int) -> float:
        """Full jitter: nobody retries in step (Oracle bridgehead_1509974866)."""
        most_s = min(self.settings.backoff_longest_s, self.settings.backoff_first_s * 2 ** min(failures, 16))
        return self.chance.uniform(most_s / 10, most_s)


@dataclass(frozen=True, slots=True)
class Told:
    """What NetSuite said about a job's record, with the bytes of both."""

    verdict: settle.Verdict
    request: bytes = b""
    response: bytes = b""
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    """One entry with its body."""

    entry: Entry
    desired: Desired
    traceparent: str


@dataclass(frozen=True, slots=True)
class Ready(Job):
    """One that may be written now. `parent_id`: internal id of its customer."""

    live: LiveFlow
    parent_id: str | None = None


class Desk(Protocol):
    """What becomes of jobs that were taken on together: the account sees to it."""

    def follow(self, job: Ready, told: Told) -> Ending | None:
        """What NetSuite said about it; None: it goes again by itself."""
        ...

    async def end(self, job: Job, ending: Ending) -> None: ...

    def fault(self, job: Job, error: Exception) -> None:
        """Something of ours failed while it was handled: it goes again after a while."""
        ...

    def go_first(self, job: Job, way: Way) -> None:
        """It goes next, this way."""
        ...

    def go_later(self, job: Job, way: Way) -> None:
        """It goes again after a while, this way."""
        ...
