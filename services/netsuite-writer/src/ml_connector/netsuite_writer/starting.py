"""Start what may run now: single calls, as many as the account's gate has room for, and batches of what waits deeply.

In: a nudge (`pump`) whenever something has changed. Out: calls and batches, each with one ending for the desk.
The rules are in `schedule.py`, `gate.py`, `batch.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, get_args

from ml_connector.common.logs import get_logger
from ml_connector.common.telemetry import Carried
from ml_connector.common.wire import BatchJob, Lane
from ml_connector.netsuite_writer.adopt import Adoption
from ml_connector.netsuite_writer.batch import Batches
from ml_connector.netsuite_writer.call import Caller, NotOurs
from ml_connector.netsuite_writer.desk import AccountDesk
from ml_connector.netsuite_writer.gate import Gate
from ml_connector.netsuite_writer.job import Ready
from ml_connector.netsuite_writer.outcome import Ending
from ml_connector.netsuite_writer.readying import Readying
from ml_connector.netsuite_writer.schedule import queue_of
from ml_connector.netsuite_writer.shared import Shared
from ml_connector.netsuite_writer.suspensions import KINDS

log = get_logger()

_LANES: tuple[Lane, ...] = get_args(Lane)


class Starting:
    """Of one account."""

    def __init__(
        self,
        shared: Shared,
        *,
        gate: Gate,
        readying: Readying,
        adoption: Adoption,
        caller: Caller,
        batches: Batches,
        desk: AccountDesk,
    ) -> None:
        self._account = shared.account
        self._schedule = shared.schedule
        self._suspensions = shared.suspensions
        self._tasks = shared.tasks
        self._tools = shared.tools
        self._gate = gate
        self._readying = readying
        self._adoption = adoption
        self._caller = caller
        self._batches = batches
        self._desk = desk
        self._calls = 0
        self._timer: asyncio.TimerHandle | None = None
        self._stopping = False

    def pump(self) -> None:
        """Start everything that may run now."""
        try:
            with Carried(""):  # nobody's: what begins here has traces of its own
                self._start_all()
        except Exception as error:  # no record's fault, and whoever calls has a record to see to
            log.error("pump_failed", account=self._account, exc_info=error)
            self._wake_in(self._tools.settings.backoff_longest_s)

    def arm(self) -> None:
        """Pump again when the next delayed entry is due, or a record type may be probed."""
        self._arm(self._tools.clock.monotonic_s())

    def resume(self, stored: BatchJob, jobs: list[Ready]) -> None:
        """A former owner's batch."""
        self._start_batch(self._batches.resume(stored, jobs))

    def stop(self) -> None:
        """Start nothing more."""
        self._stopping = True
        if self._timer is not None:
            self._timer.cancel()

    def _start_all(self) -> None:
        now_s = self._tools.clock.monotonic_s()  # one moment for all: the timer comes back for what is not due at it
        if not self._stopping and not self._tools.settler.fenced.is_set():
            self._fill_batches(now_s)
            room = self._room()
            while self._calls < room and self._start_next(now_s):
                pass
        self._arm(now_s)

    # -- single calls ------------------------------------------------------------------------------------------------

    def _room(self) -> int:
        return self._gate.room(ready_s=self._caller.ready_s)

    def _start_next(self, now_s: float) -> bool:
        """False: nothing more may run now."""
        entry = self._schedule.next(now_s, self._closed(now_s))
        if entry is None:
            return False
        with self._desk.faults.of(entry):
            job = self._readying.ready(entry)
            if job is not None:
                self._call(job)
        return True

    def _call(self, job: Ready) -> None:
        self._suspensions.begin(job.entry.kind, job.entry.began_s)
        self._desk.follower.begin(job.entry)
        self._calls += 1
        self._tasks.spawn(self._called(job))

    async def _called(self, job: Ready) -> None:
        ending = None
        try:
            with Carried(job.traceparent):
                told = await self._caller.make(job)
                await asyncio.sleep(0)  # first whoever has the slot now sends its request
                ending = told if isinstance(told, Ending) else self._desk.follow(job, told)
        except NotOurs:
            self._desk.again(job.entry, self._tools.backoff_s(job.entry.failures))
        except Exception as error:  # noqa: BLE001  the top of a task: a fault of ours must not lose the record
            self._desk.faults.met(job.entry, error)
            with self._desk.faults.of(job.entry):
                self._desk.follower.doubt(job.entry.record)
        finally:
            self._calls -= 1
            self._suspensions.over(job.entry.kind, job.entry.began_s)
        self.pump()
        if ending is not None:
            await self._desk.end(job, ending)

    # -- batches -----------------------------------------------------------------------------------------------------

    def _fill_batches(self, now_s: float) -> None:
        """Of the most urgent lane whose queue is too deep for single calls."""
        if self._tools.settings.jobs_at_once == 0 or len(self._schedule) < self._tools.settings.batch_from:
            return
        calls_per_s = self._gate.limit() / self._gate.write_s if self._gate.write_s else 0.0
        closed = self._closed(now_s)
        for lane in _LANES:
            for kind in KINDS:
                queue = queue_of(kind, "any")
                if queue not in closed and not self._suspensions.is_open(kind):
                    self._fill_from(lane, queue, calls_per_s)

    def _fill_from(self, lane: Lane, queue: str, calls_per_s: float) -> None:
        while self._batches.worth(self._schedule.depth(lane, queue), calls_per_s=calls_per_s):
            jobs = self._gather(lane, queue)
            if len(jobs) < 2:
                for job in jobs:
                    self._desk.go_first(job, "single")
                return
            self._start_batch(self._batches.run(jobs))

    def _gather(self, lane: Lane, queue: str) -> list[Ready]:
        jobs: list[Ready] = []
        while len(jobs) < self._tools.settings.batch_size:
            entry = self._schedule.next_from(lane, queue)
            if entry is None:
                break
            with self._desk.faults.of(entry):
                job = self._readying.ready(entry)
                if job is not None:
                    jobs.append(job)
        return jobs

    def _start_batch(self, work: Coroutine[Any, Any, None]) -> None:
        self._batches.under_way += 1
        self._tasks.spawn_left(self._batch(work))

    async def _batch(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        finally:
            self._batches.under_way -= 1
            self.pump()

    # -- when to look again ------------------------------------------------------------------------------------------

    def _closed(self, now_s: float) -> set[str]:
        """Queues from which nothing may go now."""
        return {*self._suspensions.closed(now_s), *(queue_of(kind, "match") for kind in self._adoption.full())}

    def _arm(self, now_s: float) -> None:
        """As `arm`, for what was closed at `now_s`."""
        moments = (self._schedule.due_s(), *self._suspensions.opens_at_s(now_s))
        due_s = min((at_s for at_s in moments if at_s is not None), default=None)
        has_room = self._calls < self._room()
        pause_s = max(0.0, due_s - self._tools.clock.monotonic_s()) if due_s is not None and has_room else None
        self._wake_in(pause_s)

    def _wake_in(self, pause_s: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if pause_s is not None and not self._stopping:
            self._timer = asyncio.get_running_loop().call_later(pause_s, self.pump)
