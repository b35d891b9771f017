"""Judge an entry whose turn it is: may its record be written now?

In: entries from the schedule. Out: jobs that are ready; the others end, wait for a parent or a flow, or are looked for
in NetSuite first. The rules are in `accept.py`, `parents.py`, `match.py`.
"""

from __future__ import annotations

from ml_connector.common import keys
from ml_connector.common.directory import LiveFlow
from ml_connector.common.telemetry import Carried
from ml_connector.common.wire import Desired
from ml_connector.netsuite_writer import match, parents
from ml_connector.netsuite_writer.accept import Duplicate, judge
from ml_connector.netsuite_writer.adopt import Adoption, match_rules
from ml_connector.netsuite_writer.call import looks_up
from ml_connector.netsuite_writer.desk import AccountDesk
from ml_connector.netsuite_writer.hydrates import Hydrates
from ml_connector.netsuite_writer.job import Job, Ready
from ml_connector.netsuite_writer.outcome import Ending
from ml_connector.netsuite_writer.schedule import Entry
from ml_connector.netsuite_writer.shared import Shared


class Readying:
    """Of one account."""

    def __init__(self, shared: Shared, *, desk: AccountDesk, adoption: Adoption, hydrates: Hydrates) -> None:
        self._schedule = shared.schedule
        self._standings = shared.standings
        self._tasks = shared.tasks
        self._tools = shared.tools
        self._desk = desk
        self._adoption = adoption
        self._hydrates = hydrates

    def ready(self, entry: Entry) -> Ready | None:
        """The job, if its record may be written now; else it has been given somewhere to wait, or to end."""
        entry.began_s = self._tools.clock.monotonic_s()
        job = self._desk.endings.job(entry)
        known = judge(entry.generation, entry.cause, self._tools.store.observed(entry.record))
        if job is None or isinstance(known, Duplicate):  # its tombstone, or its outcome, came in meanwhile
            self._settled_already(entry)
            return None
        live = self._tools.flows.flow(entry.flow)
        if live is None or live.paused or self._standings.halted(live):
            self._desk.block(entry, keys.flow_key(entry.flow))
            return None
        self._schedule.release(keys.flow_key(entry.flow))
        desired = job.desired
        if self._deletes(desired, live):
            return Ready(entry, desired, job.traceparent, live)
        if desired.action != "upsert":
            self._tasks.spawn(self._desk.end(job, _without_call(desired)))
            return None
        return self._under_parent(job, live)

    def _settled_already(self, entry: Entry) -> None:
        self._desk.endings.repeated(entry)
        for rival in entry.rivals.values():
            self._desk.endings.replaced(rival, entry)
        self._schedule.done(entry)

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
        waits = parent is not None and self._schedule.newest(parent.record_key) is not None
        decision = parents.decide(desired, known, parent_waits=waits)
        match decision:
            case parents.Go(internal_id=internal_id):
                if parent is not None:
                    self._schedule.release(parent.record_key)
                return self._known(Ready(entry, desired, job.traceparent, live, internal_id))
            case parents.Orphan(reason=reason):
                ending = Ending("dead_lettered", reason, "orphan", "ORPHAN", tries=entry.tries)
                self._tasks.spawn(self._desk.end(job, ending))
            case parents.WaitForParent() | parents.HydrateParent() | parents.HydrateChild() if parent is not None:
                self._tasks.spawn(self._ask_for(decision, job))
                self._desk.block(entry, parent.record_key)
        return None

    async def _ask_for(self, decision: parents.Decision, job: Job) -> None:
        try:
            with Carried(job.traceparent):
                await self._hydrates.for_decision(decision, job.desired)
        except Exception as error:  # noqa: BLE001  the top of a task; the entry waits, and asks again when it is looked at
            self._desk.faults.told(job.entry, error)

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


def _without_call(desired: Desired) -> Ending:
    if desired.action == "rejected":
        return Ending("dead_lettered", desired.reason or "", "map", "MAPPING")
    return Ending("ignored", desired.reason or desired.action)
