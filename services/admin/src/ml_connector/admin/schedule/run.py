"""Look what is due, and begin it, on the one replica that materializes. `due.py` decides, `turn.py` does it once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple, get_args

from ml_connector.admin.changing import alone
from ml_connector.admin.database import Database
from ml_connector.admin.flows.active import ActiveFlows
from ml_connector.admin.leading import Leading, Level, keep_looking
from ml_connector.admin.schedule.due import judge, timing_of
from ml_connector.admin.schedule.keep import read_schedules
from ml_connector.admin.schedule.kinds import Kinds
from ml_connector.admin.schedule.turn import take_turn
from ml_connector.common.clock import Clock
from ml_connector.common.logs import get_logger
from ml_connector.common.schedule_job import ScheduleKind

log = get_logger()

LOOK_S: Final = 1.0  # so much later than due a job begins at most, unless much is due at once
KINDS: Final[tuple[ScheduleKind, ...]] = get_args(ScheduleKind)


class _Place(NamedTuple):
    flow: str
    kind: ScheduleKind


class Scheduler:
    """`run` until cancelled. `publish` writes what was committed."""

    def __init__(
        self, database: Database, kinds: Kinds, publish: Callable[[], Awaitable[bool]], leading: Leading, clock: Clock
    ) -> None:
        self._database = database
        self._kinds = kinds
        self._publish = publish
        self._level = Level(leading, clock)
        self._clock = clock
        self._flows = ActiveFlows()

    async def run(self) -> None:
        await keep_looking(self.look, self._clock, every_s=LOOK_S, waits="schedules_wait")

    async def look(self) -> None:
        """One look at all flows."""
        if not self._level.leads():
            return
        await self._level.reach()
        ripe = await asyncio.to_thread(self._ripe)
        for place in ripe:
            try:
                await self._take(place)
            except Exception as error:  # it is tried again at the next look; the others do not wait for it
                log.warning("schedule_waits", flow=place.flow, action=place.kind, exc_info=error)
        if ripe:
            await self._publish()

    async def _take(self, place: _Place) -> None:
        now_ms = self._clock.now_ms()
        turn = await alone(
            self._database, lambda connection: take_turn(connection, self._kinds, place.flow, place.kind, now_ms)
        )
        if turn is not None:
            log.info("schedule_turn", flow=place.flow, action=place.kind, state=turn.fate, id=turn.job_id)

    def _ripe(self) -> list[_Place]:
        """Where something is to be done now; judged once more by whoever does it."""
        now_ms = self._clock.now_ms()
        with self._database.read() as connection:
            flows, kept = self._flows.read(connection), read_schedules(connection)
        return [
            _Place(flow.flow, kind)
            for flow in flows
            for kind in KINDS
            if judge(timing_of(flow, kind), kept.get((flow.flow, kind)), now_ms) is not None
        ]
