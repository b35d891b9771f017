"""What each of two processes does that share a database, step by step with the other (`BOTH`)."""

from __future__ import annotations

import asyncio
import uuid
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any, Final, cast

from ml_connector.admin.catchup.run import CatchUps
from ml_connector.admin.catchup.step import Steps
from ml_connector.admin.database import Database
from ml_connector.admin.lease import Lease
from ml_connector.admin.outbox import Outbox, put_message
from ml_connector.admin.owners import Owners
from ml_connector.admin.schedule.run import Scheduler
from ml_connector.admin.schedule.syncs import ScheduledSyncs
from ml_connector.admin.sync.control import Syncs
from ml_connector.admin.webhooks.ingests import Ingests
from ml_connector.common import topics
from ml_connector.common.clock import ManualClock, SystemClock
from ml_connector.common.settings import Settings
from unit.admin.test_schedule_turns import QUARTER_S, T0_MS, Replica

WAIT_S: Final = 60.0
ROUNDS: Final = 8
MESSAGES: Final = 100
BAN_S: Final = 1_800.0
LEASE_MS: Final = 600_000  # longer than a test

_both: list[Barrier] = []


def begin(both: Barrier) -> None:
    """Of a process."""
    _both.append(both)


def meet() -> None:
    """Until the other one is here, too."""
    _both[-1].wait(WAIT_S)


class _Scheduler(Scheduler):
    """Both have seen what is due before either begins it."""

    def _ripe(self) -> Any:
        found = super()._ripe()
        meet()
        return found


def schedule(url: str, number: int) -> None:
    """Look at one due time after another; the job of each ends before the next."""
    database, clock = Database(url), ManualClock(T0_MS + 1_000)
    replica = Replica(database, clock)
    kinds: Any = {"sync": ScheduledSyncs(Syncs(database, replica, clock))}
    scheduler = _Scheduler(database, kinds, replica._publish, replica, clock)

    async def rounds() -> None:
        for _ in range(ROUNDS + 1):
            await scheduler.look()
            meet()
            if number == 0 and replica.jobs():
                replica.end()
            clock.advance(QUARTER_S)
            meet()

    asyncio.run(rounds())
    database.close()


class _CatchUps(CatchUps):
    def _work(self, heard: Any) -> Any:
        found = super()._work(heard)
        meet()
        return found


def catch_up(url: str, number: int) -> None:
    """Look before and after a ban is over."""
    database, clock = Database(url), ManualClock(T0_MS)
    replica = Replica(database, clock)
    steps, nobody = Steps(Syncs(database, replica, clock)), cast(Owners, None)
    catch_ups = _CatchUps(database, steps, nobody, Ingests(clock), replica._publish, replica, clock, ban_s=BAN_S)

    async def looks() -> None:
        for _ in range(3):
            await catch_ups.look()
            meet()
            clock.advance(BAN_S + 1)

    asyncio.run(looks())
    database.close()


class _Broker:
    """Writes the keys that it is given to a file that both write to."""

    def __init__(self, path: Path, number: int) -> None:
        self._file = path.open("a", buffering=1)
        self._number = number

    def send_nowait(self, topic: str, *, key: bytes, **_: Any) -> asyncio.Future[None]:
        self._file.write(f"{self._number} {key.decode()}\n")
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.set_result(None)
        return future


def publish(url: str, number: int, path: Path) -> None:
    """Half of the messages, each published after its commit, as acts are."""
    database, clock = Database(url), SystemClock()
    lease = Lease(database, "outbox", uuid.uuid4().hex, clock, LEASE_MS)
    broker = cast(Any, _Broker(path, number))
    sender = Outbox(Settings(kafka_bootstrap_servers="nowhere:1"), database, broker, lease, clock)

    async def acts() -> None:
        for _ in range(MESSAGES // 2):
            with database.write() as connection:
                put_message(connection, topics.JOBS, partition_key="a", key=uuid.uuid4().hex, value=b"{}")
            await sender.publish()

    meet()
    asyncio.run(acts())
    meet()
    asyncio.run(sender.publish())
    database.close()
