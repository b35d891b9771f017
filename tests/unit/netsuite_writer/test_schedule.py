"""Which record of an account runs next: rules one by one, then against a model that knows nothing of queues."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ml_connector.common.generation import Generation
from ml_connector.common.wire import Lane
from ml_connector.netsuite_writer.schedule import Entry, Schedule


def entry(record: str, version: int = 1, *, lane: Lane = "live", cause: str = "", parent: str | None = None) -> Entry:
    cause = cause or f"wh:{record}-{version}"
    record = parent_of(record)
    return Entry(f"{record}#{version}#{cause}", record, Generation(version), cause, "acme-eu", lane, parent)


def parent_of(record: str) -> str:
    return f"1/customer/{record}"


def test_late_older_event_does_not_replace_newer() -> None:
    """Pipedrive retries a failed delivery up to three minutes later; by then the record has moved on."""
    schedule = Schedule()
    newer, older = entry("org-1", 2), entry("org-1", 1)

    schedule.accept(newer)
    loser = schedule.accept(older)

    assert loser is older
    assert schedule.next(0.0) is newer


def test_a_call_under_way_is_never_superseded() -> None:
    schedule = Schedule()
    first, second = entry("org-1", 1), entry("org-1", 2)
    schedule.accept(first)
    schedule.next(0.0)

    loser = schedule.accept(second)

    assert loser is None
    assert schedule.next(0.0) is None
    schedule.done(first)
    assert schedule.next(0.0) is second


def test_a_failed_call_gives_way_to_a_newer_state() -> None:
    schedule = Schedule()
    first, second = entry("org-1", 1), entry("org-1", 2)
    schedule.accept(first)
    schedule.next(0.0)
    schedule.accept(second)

    newer = schedule.put_back(first, at_s=60.0)

    assert newer is second
    assert schedule.next(0.0) is second


def test_an_equal_generation_behind_a_running_call_is_contested() -> None:
    schedule = Schedule()
    first, other = entry("org-1", 1), entry("org-1", 1, cause="syn:1")
    schedule.accept(first)
    schedule.next(0.0)

    schedule.accept(other)

    assert other.contested


def test_a_message_read_twice_waits_once() -> None:
    schedule = Schedule()

    losers = [schedule.accept(entry("org-1")), schedule.accept(entry("org-1"))]

    assert losers == [None, None]
    assert len(schedule) == 1


def test_a_backoff_is_kept() -> None:
    schedule = Schedule()
    tried = entry("org-1")
    schedule.accept(tried)
    schedule.next(0.0)

    schedule.put_back(tried, at_s=5.0)

    assert (schedule.next(4.9), schedule.due_s()) == (None, 5.0)
    assert schedule.next(5.0) is tried


def test_live_goes_first_and_no_lane_starves() -> None:
    schedule = Schedule()
    lanes: tuple[Lane, ...] = ("backfill", "replay", "live")
    for number in range(100):
        for lane in lanes:
            schedule.accept(entry(f"{lane}-{number}", lane=lane))

    turns = [found.lane for found in (schedule.next(0.0) for _ in range(32)) if found is not None]

    assert turns[0] == "live"
    assert {lane: turns.count(lane) for lane in lanes} == {"live": 24, "replay": 6, "backfill": 2}


def test_a_parent_inherits_the_lane_of_its_most_urgent_child() -> None:
    schedule = Schedule()
    for number in range(50):
        schedule.accept(entry(f"deal-{number}", lane="replay"))
    parent, child = entry("org-1", lane="backfill"), entry("person-1", parent="org-1")
    schedule.accept(parent)
    schedule.accept(child)
    assert schedule.next(0.0) is child

    schedule.block(child, parent_of("org-1"))

    assert schedule.next(0.0) is parent


def test_a_delayed_parent_keeps_its_time_when_an_urgent_child_waits() -> None:
    schedule = Schedule()
    parent, child = entry("org-1", lane="backfill"), entry("person-1", parent="org-1")
    schedule.accept(parent)
    schedule.next(0.0)
    schedule.put_back(parent, at_s=5.0)
    schedule.accept(child)
    schedule.next(0.0)

    schedule.block(child, parent_of("org-1"))

    assert schedule.next(1.0) is None
    assert schedule.next(5.0) is parent


def test_a_blocked_child_runs_once_its_parent_is_released() -> None:
    schedule = Schedule()
    child = entry("person-1", parent="org-1")
    schedule.accept(child)
    schedule.next(0.0)
    schedule.block(child, parent_of("org-1"))
    assert schedule.next(0.0) is None

    schedule.release(parent_of("org-1"))

    assert schedule.next(0.0) is child


def test_a_newer_state_of_a_blocked_child_is_looked_at_at_once() -> None:
    """It may belong to another parent."""
    schedule = Schedule()
    child, moved = entry("person-1", 1, parent="org-1"), entry("person-1", 2, parent="org-2")
    schedule.accept(child)
    schedule.next(0.0)
    schedule.block(child, parent_of("org-1"))

    loser = schedule.accept(moved)

    assert loser is child
    assert schedule.next(0.0) is moved


RECORDS = st.sampled_from(["org-1", "org-2", "person-1"])
LANES: st.SearchStrategy[Lane] = st.sampled_from(["live", "replay", "backfill"])


class AnyOrderOfEvents(RuleBasedStateMachine):
    """The model: of each record the running entry and the newest waiting one. Nothing else may ever come out.

    What is older than the settled state never gets this far (`accept.judge`).
    """

    def __init__(self) -> None:
        super().__init__()
        self.schedule = Schedule()
        self.now_s = 0.0
        self.running: dict[str, Entry] = {}
        self.waiting: dict[str, Entry] = {}
        self.held: dict[str, float] = {}  # delayed until, by record
        self.blocked: set[str] = set()
        self.newest_started: dict[str, Generation] = {}
        self.settled: dict[str, Generation] = {}
        self.number = 0

    @rule(record=RECORDS, version=st.integers(1, 6), lane=LANES)
    def accept(self, record: str, version: int, lane: Lane) -> None:
        self.number += 1
        new = entry(record, version, lane=lane, cause=f"wh:{self.number}")
        record = new.record
        if new.generation < self.settled.get(record, Generation(0)):
            return
        known = [held for held in (self.running.get(record), self.waiting.get(record)) if held is not None]
        older = any(new.generation < held.generation for held in known)

        loser = self.schedule.accept(new)

        assert loser is (new if older else self.waiting.get(record))
        if not older:
            self._wait(new)

    @rule()
    def start(self) -> None:
        found = self.schedule.next(self.now_s)

        able = {
            record
            for record in self.waiting
            if record not in self.running and record not in self.blocked and self.held.get(record, 0.0) <= self.now_s
        }
        if found is None:
            assert not able
            return
        assert found.record in able
        assert found is self.waiting.pop(found.record)
        assert found.generation >= self.newest_started.get(found.record, Generation(0))
        self.newest_started[found.record] = found.generation
        self.running[found.record] = found

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        record = data.draw(st.sampled_from(sorted(self.running)))

        ended = self.running.pop(record)
        self.settled[record] = ended.generation
        self.schedule.done(ended)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), after_s=st.sampled_from([0.0, 1.0, 10.0]))
    def fail(self, data: st.DataObject, after_s: float) -> None:
        record = data.draw(st.sampled_from(sorted(self.running)))
        tried = self.running.pop(record)

        newer = self.schedule.put_back(tried, at_s=self.now_s + after_s)

        assert newer is self.waiting.get(record)
        if newer is None:
            self._wait(tried)
            self.held[record] = self.now_s + after_s

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def block(self, data: st.DataObject) -> None:
        record = data.draw(st.sampled_from(sorted(self.running)))
        tried = self.running.pop(record)

        newer = self.schedule.block(tried, "parent")

        assert newer is self.waiting.get(record)
        if newer is None:
            self._wait(tried)
            self.blocked.add(record)

    @rule()
    def release(self) -> None:
        self.schedule.release("parent")
        self.blocked.clear()

    @rule(by_s=st.sampled_from([0.5, 5.0]))
    def wait(self, by_s: float) -> None:
        self.now_s += by_s

    @invariant()
    def counts_what_waits_and_runs(self) -> None:
        assert len(self.schedule) == len(self.waiting) + len(self.running)

    def _wait(self, new: Entry) -> None:
        self.waiting[new.record] = new
        self.held.pop(new.record, None)
        self.blocked.discard(new.record)


AnyOrderOfEvents.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
test_any_order_of_events = AnyOrderOfEvents.TestCase
