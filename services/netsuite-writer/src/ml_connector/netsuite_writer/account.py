"""The work of one NetSuite account: what may run now runs, within the account's slots.

In: accepted desired states. Out: calls and batches, settlements, hydrate requests.
The rules are elsewhere (accept, schedule, parents, match, write, settle, doubt, protect); here they meet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, get_args

from ml_connector.common import cause, keys
from ml_connector.common.directory import LiveFlow
from ml_connector.common.logs import get_logger
from ml_connector.common.telemetry import Carried
from ml_connector.common.wire import BatchJob, Desired, Lane, Member, Superseded
from ml_connector.netsuite_writer import match, parents
from ml_connector.netsuite_writer.accept import Apply, Duplicate, judge
from ml_connector.netsuite_writer.adopt import Adoption, match_rules
from ml_connector.netsuite_writer.batch import Batches
from ml_connector.netsuite_writer.call import Caller, NotOurs, looks_up
from ml_connector.netsuite_writer.comparing import Comparing
from ml_connector.netsuite_writer.endings import READ_AGAIN_MS, Endings
from ml_connector.netsuite_writer.faults import Faults
from ml_connector.netsuite_writer.follow import Follower
from ml_connector.netsuite_writer.gate import Gate
from ml_connector.netsuite_writer.hydrates import Hydrates
from ml_connector.netsuite_writer.job import Job, Ready, Told, Tools
from ml_connector.netsuite_writer.netsuite.client import NetsuiteClient
from ml_connector.netsuite_writer.outcome import Ending
from ml_connector.netsuite_writer.schedule import Entry, Schedule, Way, queue_of
from ml_connector.netsuite_writer.standings import Standings
from ml_connector.netsuite_writer.store import Waiting
from ml_connector.netsuite_writer.suspensions import KINDS, Suspensions
from ml_connector.netsuite_writer.unanswered import in_doubt

log = get_logger()

_LANES: tuple[Lane, ...] = get_args(Lane)


class Account:
    """One account, within one assignment of its partition."""

    def __init__(self, name: str, *, gate: Gate, client: NetsuiteClient, tools: Tools) -> None:
        settings = tools.settings
        self.name = name
        self.hydrates = Hydrates(tools)
        self._tools = tools
        self.gate = gate
        self._schedule = Schedule(
            {"live": settings.turns_live, "replay": settings.turns_replay, "backfill": settings.turns_backfill}
        )
        self._faults = Faults(name, schedule=self._schedule, put_back=self._again, tools=tools)
        self._caller = Caller(client=client, tools=tools)
        self._endings = Endings(tools)
        gate.admit = self._caller.prove
        self._standings = Standings(tools)
        self._adoption = Adoption(client, self, self._spawn)
        self.comparing = Comparing(name, client=client, store=tools.store, clock=tools.clock)
        self._batches = Batches(name, client=client, caller=self._caller, desk=self, tools=tools)
        self._suspensions = Suspensions(name, gate=gate, standings=self._standings, tools=tools)
        self._follower = Follower(self._again, self._suspensions, tools)
        self._calls = 0
        self._tasks: set[asyncio.Task[object]] = set()
        self._jobs: set[asyncio.Task[object]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._stopping = False

    # -- in ----------------------------------------------------------------------------------------------------------

    def accept(self, waiting: Waiting) -> None:
        """Take in one desired state; `pump` starts what may run."""
        desired = Desired.decode(waiting.body)
        entry = _entry(waiting.key, desired)
        match judge(desired.generation, desired.cause, self._tools.store.observed(desired.record_key)):
            case Duplicate():
                self._endings.repeated(entry)
            case Superseded() as newer:
                self._endings.superseded(Job(entry, desired, waiting.trace), newer)
                self._answered_in_vain(entry)
            case Apply(contested=contested):
                entry.contested = contested
                entry.way = self._way(desired)
                self._schedule_entry(entry)

    def _schedule_entry(self, entry: Entry) -> None:
        loser = self._schedule.accept(entry)
        winner = self._schedule.newest(entry.record)
        if loser is not None and winner is not None:
            self._lost(loser, winner)
        if loser is entry:
            self._answered_in_vain(entry)

    def _answered_in_vain(self, answer: Entry) -> None:
        """A read counts as older than it is, so a child that changed just before keeps its merged parent. It is asked
        for again as soon as a read would be newer."""
        waiting = self._schedule.newest(answer.record)
        if waiting is not None and waiting.parent is not None and cause.is_hydrate(answer.cause):
            self._jobs.add(task := self._spawn(self._look_at(waiting)))
            task.add_done_callback(self._jobs.discard)

    async def _look_at(self, child: Entry) -> None:
        newer_ms = child.generation.source_version + READ_AGAIN_MS
        await self._tools.clock.sleep(max(0, newer_ms - self._tools.clock.now_ms()) / 1000)
        job = self._endings.job(child)
        if job is not None and child.parent is not None:
            self.hydrates.ask_again(job.desired)
            self._schedule.release_record(child.parent, child.record)
            self.pump()

    def _way(self, desired: Desired) -> Way:
        if desired.action != "upsert":
            return "single"
        live = self._tools.flows.flow(desired.flow)
        if live is None:  # it is looked at again once the flow is known
            return "match"
        if match_rules(desired, live) and self._tools.store.internal_id(desired.record_key) is None:
            return "match"
        return "single" if looks_up(desired, live) else "any"

    def resume(self, stored: BatchJob) -> None:
        """A batch that a former owner left behind: its records are locked until it has ended. Call before `accept`."""
        jobs = [job for member in stored.members if (job := self._resumed(member)) is not None]
        log.info("batch_resumed", account=self.name, records=len(jobs))
        self._start_batch(self._batches.resume(stored, jobs))

    def _resumed(self, member: Member) -> Ready | None:
        """One that cannot be read now counts as unanswered: it may be written before the batch has ended."""
        try:
            waiting = self._tools.store.desired(member.desired_key)
            live = self._tools.flows.flow(member.flow)
            if waiting is None or live is None:
                return None
            desired = Desired.decode(waiting.body)
            if self.unsettled(desired.record_key):  # it is in another one, too
                return None
            entry = _entry(waiting.key, desired)
            parent = self._tools.store.observed(desired.parent.record_key) if desired.parent is not None else None
        except Exception as error:  # a fault of ours must not hold up the others
            log.error("record_fault", account=self.name, record_key=member.desired_key, exc_info=error)
            attempt = in_doubt(member, self._tools)
            self._tools.store.put_attempt(attempt.record_key, attempt)
            return None
        self._schedule.resume(entry)
        parent_id = desired.default_parent if parent is None else parent.internal_id
        return Ready(entry, desired, waiting.trace, live, parent_id)

    def pump(self) -> None:
        """Start everything that may run now."""
        try:
            with Carried(""):  # nobody's: what begins here has traces of its own
                self._start_all()
        except Exception as error:  # no record's fault, and whoever calls has a record to see to
            log.error("pump_failed", account=self.name, exc_info=error)
            self._wake_in(self._tools.settings.backoff_longest_s)

    def _start_all(self) -> None:
        now_s = self._now_s()  # one moment for all: whatever is not due at it, the timer comes back for
        if self._may_start():
            self._fill_batches(now_s)
            room = self.gate.room()
            while self._calls < room:
                entry = self._schedule.next(now_s, self._closed(now_s))
                if entry is None:
                    break
                with self._faults.of(entry):
                    job = self._ready(entry)
                    if job is not None:
                        self._call(job)
        self._arm(now_s)

    def release(self, on: str) -> None:
        """Something that entries may wait for has changed: a parent's record key, a flow's key."""
        self._schedule.release(on)
        self.pump()

    def look_again(self) -> None:
        """Now and then what is blocked is judged anew from the stored state: one entry of each key, which releases the
        others if it may go (ten thousand children of one parent would hold up everybody else)."""
        for on in self._schedule.blocked_on():
            self._schedule.release_one(on)
        self.pump()

    def unsettled(self, record: str) -> bool:
        return self._schedule.newest(record) is not None

    def __len__(self) -> int:
        return len(self._schedule)

    async def stop(self, within_s: float) -> None:
        """Start nothing more; wait for what is in flight, then give it up. Batches are left to the next owner."""
        self._stopping = True
        self._suspensions.let_go()
        if self._timer is not None:
            self._timer.cancel()
        for task in self._jobs:
            task.cancel()
        calls = self._tasks - self._jobs
        if calls:
            _, late = await asyncio.wait(calls, timeout=within_s)
            for task in late:
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._standings.stop()

    # -- one entry ---------------------------------------------------------------------------------------------------

    def _ready(self, entry: Entry) -> Ready | None:
        """The job, if its record may be written now; else it has been given somewhere to wait, or to end."""
        entry.began_s = self._now_s()
        job = self._endings.job(entry)
        known = judge(entry.generation, entry.cause, self._tools.store.observed(entry.record))
        if job is None or isinstance(known, Duplicate):  # its tombstone, or its outcome, came in meanwhile
            self._endings.repeated(entry)
            for rival in entry.rivals.values():
                self._endings.replaced(rival, entry)
            self._schedule.done(entry)
            return None
        live = self._tools.flows.flow(entry.flow)
        if live is None or live.paused or self._standings.halted(live):
            self._block(entry, keys.flow_key(entry.flow))
            return None
        self._schedule.release(keys.flow_key(entry.flow))
        desired = job.desired
        if self._deletes(desired, live):
            return Ready(entry, desired, job.traceparent, live)
        if desired.action != "upsert":
            self._spawn(self.end(job, _without_call(desired)))
            return None
        return self._under_parent(job, live)

    def _deletes(self, desired: Desired, live: LiveFlow) -> bool:
        """A read that finds the object gone may come before the event that deleted it, and then stands in for it."""
        if desired.action not in {"gone", "merged"}:
            return desired.action == "inactivate"
        mapping = live.flow.mapping_of(desired.entity)
        may_exist = desired.force or self._tools.store.internal_id(desired.record_key) is not None
        return may_exist and mapping is not None and mapping.on_delete == "inactivate"

    def _under_parent(self, job: Job, live: LiveFlow) -> Ready | None:
        desired, entry = job.desired, job.entry
        parent = desired.parent
        known = self._tools.store.observed(parent.record_key) if parent is not None else None
        waits = parent is not None and self.unsettled(parent.record_key)
        decision = parents.decide(desired, known, parent_waits=waits)
        match decision:
            case parents.Go(internal_id=internal_id):
                if parent is not None:
                    self._schedule.release(parent.record_key)
                return self._known(Ready(entry, desired, job.traceparent, live, internal_id))
            case parents.Orphan(reason=reason):
                self._spawn(self.end(job, Ending("dead_lettered", reason, "orphan", "ORPHAN", tries=entry.tries)))
            case parents.WaitForParent() | parents.HydrateParent() | parents.HydrateChild() if parent is not None:
                self._spawn(self._ask_for(decision, job))
                self._block(entry, parent.record_key)
        return None

    async def _ask_for(self, decision: parents.Decision, job: Job) -> None:
        try:
            with Carried(job.traceparent):
                await self.hydrates.for_decision(decision, job.desired)
        except Exception as error:  # noqa: BLE001  the top of a task; the entry waits, and asks again when it is looked at
            self._faults.told(job.entry, error)

    def _known(self, job: Ready) -> Ready | None:
        """A record that NetSuite may hold already, without our external id, is looked for first."""
        entry = job.entry
        if entry.way != "match":
            return job
        rules = match_rules(job.desired, job.live)
        if rules and self._tools.store.internal_id(entry.record) is None and match.wanted(job.desired, rules):
            self._adoption.ask(job)
            return None
        entry.way = "single" if looks_up(job.desired, job.live) else "any"
        return job

    def _block(self, entry: Entry, on: str) -> None:
        self._superseded_by(self._schedule.block(entry, on), entry)

    def _superseded_by(self, newer: Entry | None, entry: Entry) -> None:
        if newer is not None:
            self._lost(entry, newer)

    def _lost(self, loser: Entry, winner: Entry) -> None:
        """Of equal generations none is settled before the one that is written: a crash would make that the only one."""
        if loser.generation == winner.generation and loser.cause != winner.cause:
            winner.rivals |= {**loser.rivals, loser.key: loser}
            return
        for one in (loser, *loser.rivals.values()):
            self._replaced(one, winner)

    def _replaced(self, loser: Entry, winner: Entry) -> None:
        """A loser is in no queue any more: after a fault it is settled later."""
        try:
            self._endings.replaced(loser, winner)
        except Exception as error:  # noqa: BLE001  a fault of ours must not lose its outcome, nor stop what the winner is about
            self._jobs.add(task := self._spawn(self._replaced_later(loser, winner, self._faults.told(loser, error))))
            task.add_done_callback(self._jobs.discard)

    async def _replaced_later(self, loser: Entry, winner: Entry, pause_s: float) -> None:
        await self._tools.clock.sleep(pause_s)
        self._replaced(loser, winner)

    def _call(self, job: Ready) -> None:
        """A single call."""
        self._suspensions.begin(job.entry.kind, job.entry.began_s)
        self._follower.begin(job.entry)
        self._calls += 1
        self._spawn(self._called(job))

    async def _called(self, job: Ready) -> None:
        ending = None
        try:
            with Carried(job.traceparent):
                told = await self._caller.make(job)
                ending = told if isinstance(told, Ending) else self.follow(job, told)
        except NotOurs:
            self._again(job.entry, self._tools.backoff_s(job.entry.failures))
        except Exception as error:  # noqa: BLE001  the top of a task: a fault of ours must not lose the record
            self._faults.met(job.entry, error)
            with self._faults.of(job.entry):
                self._follower.doubt(job.entry.record)
        finally:
            self._calls -= 1
            self._suspensions.over(job.entry.kind, job.entry.began_s)
        self.pump()
        if ending is not None:
            await self.end(job, ending)

    # -- batches -----------------------------------------------------------------------------------------------------

    def _fill_batches(self, now_s: float) -> None:
        """Of the most urgent lane whose queue is too deep for single calls."""
        if self._tools.settings.jobs_at_once == 0 or len(self._schedule) < self._tools.settings.batch_from:
            return
        calls_per_s = self.gate.limit() / self.gate.write_s if self.gate.write_s else 0.0
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
                    self.go_first(job, "single")
                return
            self._start_batch(self._batches.run(jobs))

    def _gather(self, lane: Lane, queue: str) -> list[Ready]:
        jobs: list[Ready] = []
        while len(jobs) < self._tools.settings.batch_size:
            entry = self._schedule.next_from(lane, queue)
            if entry is None:
                break
            with self._faults.of(entry):
                job = self._ready(entry)
                if job is not None:
                    jobs.append(job)
        return jobs

    def _start_batch(self, work: Coroutine[Any, Any, None]) -> None:
        async def run() -> None:
            try:
                await work
            finally:
                self._batches.under_way -= 1
                self.pump()

        self._batches.under_way += 1
        self._jobs.add(task := self._spawn(run()))
        task.add_done_callback(self._jobs.discard)

    # -- what becomes of it ------------------------------------------------------------------------------------------

    def follow(self, job: Ready, told: Told) -> Ending | None:
        """None: not ended yet, the entry goes again."""
        return self._follower.follow(job, told)

    async def end(self, job: Job, ending: Ending) -> None:
        """Settle it, then let go what waited for it; unless its flow is being flooded: then it waits."""
        entry = job.entry
        with self._faults.of(entry):
            if self._standings.floods(entry.flow, ending):
                self._block(entry, keys.flow_key(entry.flow))
                return
            await self._endings.ended(job, ending)
            if entry.repeated:
                self._endings.repeated(entry)
            self._schedule.done(entry)
            self._schedule.release(entry.record)
        self.pump()

    def fault(self, job: Job, error: Exception) -> None:
        self._faults.met(job.entry, error)
        self.pump()

    def go_first(self, job: Job, way: Way) -> None:
        job.entry.way = way
        self._superseded_by(self._schedule.put_first(job.entry), job.entry)
        self.pump()

    def go_later(self, job: Job, way: Way) -> None:
        job.entry.way = way
        job.entry.failures += 1
        self._again(job.entry, self._tools.backoff_s(job.entry.failures))
        self.pump()

    def _again(self, entry: Entry, after_s: float) -> None:
        self._superseded_by(self._schedule.put_back(entry, at_s=self._now_s() + after_s), entry)
        self._arm(self._now_s())

    # -- small things ------------------------------------------------------------------------------------------------

    def _spawn(self, work: Coroutine[Any, Any, object]) -> asyncio.Task[object]:
        task: asyncio.Task[object] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("record_stuck", account=self.name, exc_info=task.exception())

    def _closed(self, now_s: float) -> set[str]:
        """Queues from which nothing may go now."""
        return {*self._suspensions.closed(now_s), *(queue_of(kind, "match") for kind in self._adoption.full())}

    def _may_start(self) -> bool:
        return not self._stopping and not self._tools.settler.fenced.is_set()

    def _now_s(self) -> float:
        return self._tools.clock.monotonic_s()

    def _arm(self, now_s: float) -> None:
        """Pump again when the next delayed entry is due, or a record type may be probed that was closed at `now_s`."""
        moments = (self._schedule.due_s(), *self._suspensions.opens_at_s(now_s))
        due_s = min((at_s for at_s in moments if at_s is not None), default=None)
        has_room = self._calls < self.gate.room()
        self._wake_in(max(0.0, due_s - self._now_s()) if due_s is not None and has_room else None)

    def _wake_in(self, pause_s: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if pause_s is not None and not self._stopping:
            self._timer = asyncio.get_running_loop().call_later(pause_s, self.pump)


def _entry(key: str, desired: Desired) -> Entry:
    parent = desired.parent.record_key if desired.parent is not None else None
    return Entry(key, desired.record_key, desired.generation, desired.cause, desired.flow, desired.lane, parent)


def _without_call(desired: Desired) -> Ending:
    if desired.action == "rejected":
        return Ending("dead_lettered", desired.reason or "", "map", "MAPPING")
    return Ending("ignored", desired.reason or desired.action)
