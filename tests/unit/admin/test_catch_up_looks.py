"""The looks of a catch-up: a service that was away accuses nobody; silence of ingest is a gap, and an end of it, too."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from ml_connector.admin.catchup.keep import put_heard, read_catch_up, read_heard
from ml_connector.admin.catchup.run import CatchUps
from ml_connector.admin.catchup.step import Steps
from ml_connector.admin.database import Database
from ml_connector.admin.owners import Owners
from ml_connector.admin.sync.control import Syncs
from ml_connector.admin.webhooks.ingests import LISTEN_S, LIVE_S, Ingests
from ml_connector.common.asking import INGEST, AtIngest, AtTheDoor
from ml_connector.common.catch_up import CatchUp, Heard
from ml_connector.common.clock import ManualClock
from support.letters import new_database
from support.statements import asked
from unit.admin.test_schedule_turns import T0_MS, Replica, apply

AWAY_S = 600.0


class Service:
    """Started anew after it was away: it heard ingest last at T0."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = ManualClock(T0_MS + int(AWAY_S * 1000))
        self.ingests = Ingests(self.clock)
        self.ingests.begin()
        replica = Replica(database, self.clock)
        steps = Steps(Syncs(database, replica, self.clock))
        nobody = cast(Owners, None)
        self._catch_ups = CatchUps(
            database, steps, nobody, self.ingests, replica._publish, replica, self.clock, ban_s=1800
        )

    async def look(self, after_s: float = 0.0) -> CatchUp:
        self.clock.advance(after_s)
        await self._catch_ups.look()
        found: CatchUp = self.read(lambda connection: read_catch_up(connection, "acme"))
        return found

    def read(self, what: Any) -> Any:
        with self.database.read() as connection:
            return what(connection)

    def hear(self, began_ms: int, **flows: AtTheDoor) -> None:
        said = AtIngest("i-1", self.clock.now_ms(), flows, began_ms)
        self.ingests.hear(f"{INGEST}i-1", said.encode())


@pytest.fixture
def service(tmp_path: Path) -> Service:
    database = new_database(tmp_path)
    apply(database)
    with database.write() as connection:
        put_heard(connection, Heard(T0_MS))
    return Service(database)


async def test_service_that_was_away_waits_for_what_ingest_says(service: Service) -> None:
    assert (await service.look()).gap is None
    service.clock.advance(LISTEN_S)
    service.hear(began_ms=T0_MS - 1)

    assert (await service.look()).gap is None
    assert service.read(read_heard) == Heard(service.clock.now_ms())


async def test_ingest_that_was_away_as_well_is_a_gap_of_that_time_and_half_an_hour(service: Service) -> None:
    service.clock.advance(LISTEN_S)
    began_ms = T0_MS + 500_000
    service.hear(began_ms)

    gap = (await service.look()).gap

    assert gap is not None and not gap.open
    assert (gap.from_ms, gap.to_ms) == (T0_MS, began_ms + 1_800_000)


async def test_silence_is_an_open_gap_until_one_runs_again(service: Service) -> None:
    service.clock.advance(LISTEN_S)
    service.hear(began_ms=T0_MS - 1)
    await service.look()
    heard_ms = service.clock.now_ms()

    opened = (await service.look(LIVE_S + 60)).gap
    service.hear(began_ms=service.clock.now_ms())
    closed = (await service.look()).gap

    assert opened is not None and opened.open and opened.from_ms == heard_ms
    assert closed is not None and not closed.open and closed.from_ms == heard_ms
    assert closed.to_ms == service.clock.now_ms() + 1_800_000


async def test_what_ingest_could_not_store_is_a_gap(service: Service) -> None:
    service.clock.advance(LISTEN_S)
    now_ms = service.clock.now_ms()
    service.hear(T0_MS - 1, acme=AtTheDoor(unavailable_ms=(now_ms - 5_000, now_ms - 2_000)))

    gap = (await service.look()).gap

    assert gap is not None and (gap.from_ms, gap.to_ms) == (now_ms - 5_000, now_ms - 2_000 + 1_800_000)


async def test_gap_that_grows_is_written_every_minute_and_not_at_every_look(service: Service) -> None:
    """Of thousands of flows while no ingest runs: each look would wait for a transaction of each."""
    await service.look(after_s=LISTEN_S)
    with asked(service.database) as statements:
        for _ in range(10):
            await service.look(after_s=2)

    assert not [sql for sql, _ in statements if not sql.startswith("SELECT")]
    assert (await service.look()).gap is not None
