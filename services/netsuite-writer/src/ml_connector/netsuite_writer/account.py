"""The work of one NetSuite account: what may run now runs, within the account's slots.

In: accepted desired states, verdicts. Out: requests to NetSuite, settlements, hydrate requests.
The rules are elsewhere (accept, schedule, parents, write, settle, doubt, govern); here they meet I/O.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypedDict

from ml_connector.common.directory import LiveFlow
from ml_connector.common.logs import get_logger
from ml_connector.common.wire import Desired, Superseded, Try
from ml_connector.netsuite_writer import doubt, parents, settle
from ml_connector.netsuite_writer.accept import Apply, Duplicate, judge
from ml_connector.netsuite_writer.call import Caller, NotOurs, Told
from ml_connector.netsuite_writer.govern import Governor
from ml_connector.netsuite_writer.hydrates import Hydrates
from ml_connector.netsuite_writer.job import Job, Tools
from ml_connector.netsuite_writer.netsuite.client import NetsuiteClient
from ml_connector.netsuite_writer.outcome import Ending, dead_letter_of, observed_after, outcome_of
from ml_connector.netsuite_writer.schedule import Entry, Schedule
from ml_connector.netsuite_writer.settlement import Settlement
from ml_connector.netsuite_writer.store import Waiting

log = get_logger()


class _Facts(TypedDict):
    request: bytes
    response: bytes
    tries: list[Try]


class Account:
    """One account, within one assignment of its partition."""

    def __init__(self, name: str, *, governor: Governor, client: NetsuiteClient, tools: Tools) -> None:
        self.name = name
        self._governor = governor
        self._caller = Caller(name, client=client, tools=tools)
        self.hydrates = Hydrates(tools)
        self._tools = tools
        self._schedule = Schedule()
        self._successes = 0
        self._tasks: set[asyncio.Task[object]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._stopping = False

    # -- in ----------------------------------------------------------------------------------------------------------

    def accept(self, waiting: Waiting) -> None:
        """Take in one desired state; `pump` starts what may run."""
        desired = Desired.decode(waiting.body)
        job = Job(
            Entry(
                waiting.key,
                desired.record_key,
                desired.generation,
                desired.cause,
                desired.flow,
                desired.lane,
                desired.parent.record_key if desired.parent is not None else None,
            ),
            desired,
            waiting.trace,
        )
        match judge(desired.generation, desired.cause, self._tools.store.observed(desired.record_key)):
            case Duplicate():
                self._tools.settler.submit(Settlement(desired.record_key, waiting.key))
            case Superseded() as newer:
                self._supersede(job, newer)
            case Apply(contested=contested):
                job.entry.contested = contested
                self._schedule_job(job)

    def _schedule_job(self, job: Job) -> None:
        loser = self._schedule.accept(job.entry)
        if loser is None:
            return
        winner = self._schedule.newest(job.entry.record)
        if winner is not None and winner.cause == loser.cause:  # a repeated hydrate: one cause has one outcome
            self._tools.settler.submit(Settlement(loser.record, loser.key))
        elif winner is not None:
            self._supersede_entry(loser, winner)

    def pump(self) -> None:
        """Start everything that may run now."""
        while self._may_start() and self._governor.free(self._now_s()) > 0:
            entry = self._schedule.next(self._now_s())
            if entry is None:
                break
            self._start(entry)
        self._arm()

    def release(self, on: str) -> None:
        """Something that entries may wait for has changed: a parent's record key, or `flow/<flow>`."""
        self._schedule.release(on)
        self.pump()

    def look_again(self) -> None:
        """Now and then: whatever is blocked is judged anew from the stored state."""
        for on in self._schedule.blocked_on():
            self._schedule.release(on)
        self.pump()

    def unsettled(self, record: str) -> bool:
        return self._schedule.newest(record) is not None

    def __len__(self) -> int:
        return len(self._schedule)

    async def stop(self, within_s: float) -> None:
        """Start nothing more; wait for what is in flight, then give it up."""
        self._stopping = True
        if self._timer is not None:
            self._timer.cancel()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=within_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    # -- one entry ---------------------------------------------------------------------------------------------------

    def _start(self, entry: Entry) -> None:
        job = self._job(entry)
        if job is None:  # its tombstone came in meanwhile
            self._schedule.done(entry)
            return
        live = self._tools.flows.flow(entry.flow)
        if live is None or live.paused:
            self._block(job, f"flow/{entry.flow}")
            return
        if job.desired.action not in {"upsert", "inactivate"}:
            self._spawn(self._settle_without_call(job))
            return
        if job.desired.action == "inactivate":
            self._governed(job, self._write(job, live, None))
            return
        self._start_under_parent(job, live)

    def _start_under_parent(self, job: Job, live: LiveFlow) -> None:
        parent = job.desired.parent
        known = self._tools.store.observed(parent.record_key) if parent is not None else None
        waits = parent is not None and self.unsettled(parent.record_key)
        decision = parents.decide(job.desired, known, parent_waits=waits)
        match decision:
            case parents.Go(internal_id=internal_id):
                self._governed(job, self._write(job, live, internal_id))
            case parents.Orphan(reason=reason):
                self._spawn(self._end(job, Ending("dead_lettered", reason, "orphan", "ORPHAN", tries=job.entry.tries)))
            case parents.WaitForParent() | parents.HydrateParent() | parents.HydrateChild():
                if parent is not None:
                    self._spawn(self.hydrates.for_decision(decision, job.desired))
                    self._block(job, parent.record_key)

    def _block(self, job: Job, on: str) -> None:
        newer = self._schedule.block(job.entry, on)
        if newer is not None:
            self._supersede_entry(job.entry, newer)

    async def _settle_without_call(self, job: Job) -> None:
        desired = job.desired
        if desired.action == "rejected":
            ending = Ending("dead_lettered", desired.reason or "", "map", "MAPPING")
        else:
            ending = Ending("ignored", desired.reason or desired.action)
        await self._end(job, ending)

    async def _write(self, job: Job, live: LiveFlow, parent_id: str | None) -> Ending | None:
        """None: not ended yet, the entry goes again."""
        try:
            told = await self._caller.make(job, live, parent_id)
        except NotOurs:
            self._put_back(job, self._backoff_s(job.entry))
            return None
        return told if isinstance(told, Ending) else self._follow(job, told)

    def _follow(self, job: Job, told: Told) -> Ending | None:
        facts: _Facts = {"request": told.request, "response": told.response, "tries": job.entry.tries}
        match told.verdict:
            case settle.Written(internal_id=internal_id):
                return Ending("written", internal_id=internal_id, digest=told.digest, **facts)
            case settle.NothingToDo(reason=reason):
                return Ending("ignored", reason, **facts)
            case settle.Reject(code=code, message=message):
                return Ending("dead_lettered", message, "write", code, **facts)
            case settle.TryAgain(unknown=unknown):
                return self._try_again(job, facts, unknown=unknown)
            case settle.Overloaded() | settle.Unauthorized() | settle.Landed():
                self._hold_account(job, told.verdict)
                return None

    def _try_again(self, job: Job, facts: _Facts, *, unknown: bool) -> Ending | None:
        entry = job.entry
        entry.failures += 1
        if self._successes > entry.successes_seen:
            entry.counted += 1  # others succeeded meanwhile: it may be this record
        entry.successes_seen = self._successes
        if unknown:
            self._doubt(entry.record)
        if entry.counted >= self._tools.settings.tries:
            text = f"no success after {entry.failures} tries while other records succeeded"
            return Ending("dead_lettered", text, "vendor", "NO_SUCCESS", transient=True, **facts)
        self._put_back(job, self._backoff_s(entry))
        return None

    def _hold_account(self, job: Job, verdict: settle.Verdict) -> None:
        """It says nothing about the record: the account pauses, and the record goes again."""
        settings = self._tools.settings
        if isinstance(verdict, settle.Unauthorized):
            log.warning("account_suspended", account=self.name, after_s=settings.suspend_s)
            self._governor.pause(self._now_s() + settings.suspend_s)
        else:
            pause_s = settings.overload_pause_s * self._tools.chance.uniform(0.2, 1.0)
            self._governor.pause(self._now_s() + pause_s)
        self._put_back(job, 0.0)

    # -- the end of an entry -----------------------------------------------------------------------------------------

    async def _end(self, job: Job, ending: Ending) -> None:
        """Settle it, then let go what waited for it."""
        await self._tools.settler.submit(self._settlement(job, ending))
        if ending.outcome == "written":
            self._successes += 1
        self._schedule.done(job.entry)
        self._schedule.release(job.entry.record)
        if job.entry.contested:
            await self.hydrates.ask(job.desired, job.desired.entity, job.desired.source_id, reason="equal generations")
        self.pump()

    def _settlement(self, job: Job, ending: Ending) -> Settlement:
        desired, now_ms = job.desired, self._tools.clock.now_ms()
        before = self._tools.store.observed(desired.record_key)
        attempt = self._tools.store.attempt(desired.record_key)
        letter = None
        if ending.outcome == "dead_lettered":
            letter = dead_letter_of(desired, ending, now_ms=now_ms, traceparent=job.traceparent)
        return Settlement(
            desired.record_key,
            job.entry.key,
            outcome=outcome_of(desired, ending, now_ms=now_ms, traceparent=job.traceparent),
            observed=observed_after(desired, ending, before, now_ms=now_ms),
            attempt=doubt.settled(attempt, desired.generation) if attempt is not None else None,
            clears_attempt=attempt is not None,
            dead_letter=letter,
            traceparent=job.traceparent,
        )

    def _supersede_entry(self, loser: Entry, winner: Entry) -> None:
        job = self._job(loser)
        if job is not None:
            self._supersede(job, Superseded(winner.generation, winner.cause))

    def _supersede(self, job: Job, newer: Superseded) -> None:
        ending = Ending("superseded", superseded_by=newer, tries=job.entry.tries)
        outcome = outcome_of(job.desired, ending, now_ms=self._tools.clock.now_ms(), traceparent=job.traceparent)
        self._tools.settler.submit(
            Settlement(job.entry.record, job.entry.key, outcome=outcome, traceparent=job.traceparent)
        )

    def _put_back(self, job: Job, after_s: float) -> None:
        newer = self._schedule.put_back(job.entry, at_s=self._now_s() + after_s)
        if newer is not None:
            self._supersede_entry(job.entry, newer)

    # -- small things ------------------------------------------------------------------------------------------------

    def _job(self, entry: Entry) -> Job | None:
        waiting = self._tools.store.desired(entry.key)
        return None if waiting is None else Job(entry, Desired.decode(waiting.body), waiting.trace)

    def _doubt(self, record: str) -> None:
        """In the topic the attempt stays open, which means the same to a later owner."""
        attempt = self._tools.store.attempt(record)
        if attempt is not None:
            with self._tools.store.change():
                self._tools.store.put_attempt(record, doubt.restored(attempt).encode())

    def _governed(self, job: Job, work: Coroutine[Any, Any, Ending | None]) -> None:
        """Run it in a slot; the slot is free again while the ending is recorded."""

        async def run() -> None:
            ending = None
            try:
                ending = await work
            except Exception as error:  # the top of a task: a fault of ours must not lose the record
                log.error("try_failed", account=self.name, exc_info=error)
                self._put_back(job, self._tools.settings.backoff_longest_s)
            finally:
                self._governor.give_back()
                self.pump()
            if ending is not None:
                await self._end(job, ending)

        self._governor.take()
        self._spawn(run())

    def _spawn(self, work: Coroutine[Any, Any, object]) -> None:
        task: asyncio.Task[object] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("record_stuck", account=self.name, exc_info=task.exception())

    def _backoff_s(self, entry: Entry) -> float:
        """Full jitter: nobody retries in step (Oracle bridgehead_1509974866)."""
        settings = self._tools.settings
        most_s = min(settings.backoff_longest_s, settings.backoff_first_s * 2 ** min(entry.failures, 16))
        return self._tools.chance.uniform(most_s / 10, most_s)

    def _may_start(self) -> bool:
        return not self._stopping and not self._tools.settler.fenced.is_set()

    def _now_s(self) -> float:
        return self._tools.clock.monotonic_s()

    def _arm(self) -> None:
        """Pump again when the next delayed entry is due or a pause ends."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now_s = self._now_s()
        due_s = [at for at in (self._schedule.due_s(), self._governor.opens_at_s(now_s)) if at is not None]
        if due_s and not self._stopping:
            at_s = self._governor.opens_at_s(now_s) or min(due_s)
            self._timer = asyncio.get_running_loop().call_later(max(0.0, at_s - now_s), self.pump)
