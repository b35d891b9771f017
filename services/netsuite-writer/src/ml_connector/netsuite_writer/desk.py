"""What becomes of the entries of one account that were taken on: they end, go again, wait for something, or lose.

In: endings, verdicts, faults. Out: settlements, the entries back in the schedule; `pump` and `arm` of those who start.
"""

from __future__ import annotations

from collections.abc import Callable

from ml_connector.common import keys
from ml_connector.netsuite_writer.endings import Endings
from ml_connector.netsuite_writer.faults import Faults
from ml_connector.netsuite_writer.follow import Follower
from ml_connector.netsuite_writer.job import Job, Ready, Told
from ml_connector.netsuite_writer.outcome import Ending
from ml_connector.netsuite_writer.schedule import Entry, Way
from ml_connector.netsuite_writer.shared import Shared


class AccountDesk:
    """The desk (`job.Desk`) of single calls, batches and match queries."""

    def __init__(self, shared: Shared, *, pump: Callable[[], None], arm: Callable[[], None]) -> None:
        tools, schedule = shared.tools, shared.schedule
        self.endings = Endings(tools)
        self.faults = Faults(shared.account, schedule=schedule, put_back=self.again, tools=tools)
        self.follower = Follower(self.again, shared.suspensions, tools)
        self._schedule = schedule
        self._standings = shared.standings
        self._tasks = shared.tasks
        self._tools = tools
        self._pump = pump
        self._arm = arm

    def follow(self, job: Ready, told: Told) -> Ending | None:
        """None: not ended yet, the entry goes again."""
        return self.follower.follow(job, told)

    async def end(self, job: Job, ending: Ending) -> None:
        """Settle it, then let go what waited for it; unless its flow is being flooded: then it waits."""
        entry = job.entry
        with self.faults.of(entry):
            if self._standings.floods(entry.flow, ending):
                self.block(entry, keys.flow_key(entry.flow))
                return
            await self.endings.ended(job, ending)
            if entry.repeated:
                self.endings.repeated(entry)
            self._schedule.done(entry)
            self._schedule.release(entry.record)
        self._pump()

    def fault(self, job: Job, error: Exception) -> None:
        self.faults.met(job.entry, error)
        self._pump()

    def go_first(self, job: Job, way: Way) -> None:
        job.entry.way = way
        self._superseded_by(self._schedule.put_first(job.entry), job.entry)
        self._pump()

    def go_later(self, job: Job, way: Way) -> None:
        job.entry.way = way
        job.entry.failures += 1
        self.again(job.entry, self._tools.backoff_s(job.entry.failures))
        self._pump()

    def again(self, entry: Entry, after_s: float) -> None:
        now_s = self._tools.clock.monotonic_s()
        self._superseded_by(self._schedule.put_back(entry, at_s=now_s + after_s), entry)
        self._arm()

    def block(self, entry: Entry, on: str) -> None:
        self._superseded_by(self._schedule.block(entry, on), entry)

    def lost(self, loser: Entry, winner: Entry) -> None:
        """Of equal generations none is settled before the one that is written: a crash would make that the only one."""
        if loser.generation == winner.generation and loser.cause != winner.cause:
            winner.rivals |= {**loser.rivals, loser.key: loser}
            return
        for one in (loser, *loser.rivals.values()):
            self._replaced(one, winner)

    def _superseded_by(self, newer: Entry | None, entry: Entry) -> None:
        if newer is not None:
            self.lost(entry, newer)

    def _replaced(self, loser: Entry, winner: Entry) -> None:
        """A loser is in no queue any more: after a fault it is settled later."""
        try:
            self.endings.replaced(loser, winner)
        except Exception as error:  # noqa: BLE001  a fault of ours must not lose its outcome, nor stop what the winner is about
            self._tasks.spawn_left(self._replaced_later(loser, winner, self.faults.told(loser, error)))

    async def _replaced_later(self, loser: Entry, winner: Entry, pause_s: float) -> None:
        await self._tools.clock.sleep(pause_s)
        self._replaced(loser, winner)
