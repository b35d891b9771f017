"""Take in the desired states of one account, and the batches that a former owner left.

In: unsettled work as the topics hold it. Out: entries in the schedule; outcomes of those that are no news.
The rule is in `accept.py`.
"""

from __future__ import annotations

from collections.abc import Callable

from ml_connector.common import cause
from ml_connector.common.logs import get_logger
from ml_connector.common.wire import BatchJob, Desired, Member, Superseded
from ml_connector.netsuite_writer.accept import Apply, Duplicate, judge
from ml_connector.netsuite_writer.adopt import match_rules
from ml_connector.netsuite_writer.call import looks_up
from ml_connector.netsuite_writer.desk import AccountDesk
from ml_connector.netsuite_writer.endings import READ_AGAIN_MS
from ml_connector.netsuite_writer.hydrates import Hydrates
from ml_connector.netsuite_writer.job import Job, Ready
from ml_connector.netsuite_writer.schedule import Entry, Way
from ml_connector.netsuite_writer.shared import Shared
from ml_connector.netsuite_writer.store import Waiting
from ml_connector.netsuite_writer.unanswered import in_doubt

log = get_logger()


class Taking:
    """Of one account."""

    def __init__(self, shared: Shared, *, desk: AccountDesk, hydrates: Hydrates, pump: Callable[[], None]) -> None:
        self._account = shared.account
        self._schedule = shared.schedule
        self._tasks = shared.tasks
        self._tools = shared.tools
        self._desk = desk
        self._hydrates = hydrates
        self._pump = pump

    def accept(self, waiting: Waiting) -> None:
        """One desired state."""
        desired = Desired.decode(waiting.body)
        entry = _entry(waiting.key, desired)
        match judge(desired.generation, desired.cause, self._tools.store.observed(desired.record_key)):
            case Duplicate():
                self._desk.endings.repeated(entry)
            case Superseded() as newer:
                self._desk.endings.superseded(Job(entry, desired, waiting.trace), newer)
                self._answered_in_vain(entry)
            case Apply(contested=contested):
                entry.contested = contested
                entry.way = self._way(desired)
                self._schedule_entry(entry)

    def resumed(self, stored: BatchJob) -> list[Ready]:
        """The records of a former owner's batch that are not settled yet: they are locked from now on."""
        jobs = [job for member in stored.members if (job := self._resumed(member)) is not None]
        log.info("batch_resumed", account=self._account, records=len(jobs))
        return jobs

    def _schedule_entry(self, entry: Entry) -> None:
        loser = self._schedule.accept(entry)
        winner = self._schedule.newest(entry.record)
        if loser is not None and winner is not None:
            self._desk.lost(loser, winner)
        if loser is entry:
            self._answered_in_vain(entry)

    def _answered_in_vain(self, answer: Entry) -> None:
        """A read counts as older than it is, so a child that changed just before keeps its merged parent. It is asked
        for again as soon as a read would be newer."""
        waiting = self._schedule.newest(answer.record)
        if waiting is not None and waiting.parent is not None and cause.is_hydrate(answer.cause):
            self._tasks.spawn_left(self._look_at(waiting))

    async def _look_at(self, child: Entry) -> None:
        newer_ms = child.generation.source_version + READ_AGAIN_MS
        await self._tools.clock.sleep(max(0, newer_ms - self._tools.clock.now_ms()) / 1000)
        job = self._desk.endings.job(child)
        if job is not None and child.parent is not None:
            self._hydrates.ask_again(job.desired)
            self._schedule.release_record(child.parent, child.record)
            self._pump()

    def _way(self, desired: Desired) -> Way:
        if desired.action != "upsert":
            return "single"
        live = self._tools.flows.flow(desired.flow)
        if live is None:  # it is looked at again once the flow is known
            return "match"
        if match_rules(desired, live) and self._tools.store.internal_id(desired.record_key) is None:
            return "match"
        return "single" if looks_up(desired, live) else "any"

    def _resumed(self, member: Member) -> Ready | None:
        """One that cannot be read now counts as unanswered: it may be written before the batch has ended."""
        try:
            waiting = self._tools.store.desired(member.desired_key)
            live = self._tools.flows.flow(member.flow)
            if waiting is None or live is None:
                return None
            desired = Desired.decode(waiting.body)
            if self._schedule.newest(desired.record_key) is not None:  # it is in another one, too
                return None
            entry = _entry(waiting.key, desired)
            parent = self._tools.store.observed(desired.parent.record_key) if desired.parent is not None else None
        except Exception as error:  # a fault of ours must not hold up the others
            log.error("record_fault", account=self._account, record_key=member.desired_key, exc_info=error)
            attempt = in_doubt(member, self._tools)
            self._tools.store.put_attempt(attempt.record_key, attempt)
            return None
        self._schedule.resume(entry)
        parent_id = desired.default_parent if parent is None else parent.internal_id
        return Ready(entry, desired, waiting.trace, live, parent_id)


def _entry(key: str, desired: Desired) -> Entry:
    parent = desired.parent.record_key if desired.parent is not None else None
    return Entry(key, desired.record_key, desired.generation, desired.cause, desired.flow, desired.lane, parent)
