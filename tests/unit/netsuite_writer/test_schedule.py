"""Which record of an account runs next: rules one by one, then against a model that knows nothing of queues."""

from __future__ import annotations

from collections import Counter

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ml_connector.common.generation import Generation
from ml_connector.common.wire import Lane
from ml_connector.netsuite_writer.schedule import WAYS, Entry, Schedule, Way, queue_of


def entry(
    record: str,
    version: int = 1,
    *,
    lane: Lane = "live",
    cause: str = "",
    parent: str | None = None,
    flow: str = "acme-eu",
    way: Way = "any",
) -> Entry:
    cause = cause or f"wh:{record}-{version}"
    record = parent_of(record)
    return Entry(f"{record}#{version}#{cause}", record, Generation(version), cause, flow, lane, parent, way=way)


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


@pytest.mark.parametrize("weights", [(12, 3, 1), (1, 1, 1), (1, 2, 5)])
def test_each_lane_has_its_minimum_as_set(weights: tuple[int, int, int]) -> None:
    lanes: tuple[Lane, ...] = ("live", "replay", "backfill")
    turns = dict(zip(lanes, weights, strict=True))
    schedule = Schedule(turns)
    for number in range(100):
        for lane in lanes:
            schedule.accept(entry(f"{lane}-{number}", lane=lane))

    for _ in range(4):
        taken = Counter(found.lane for found in (schedule.next(0.0) for _ in range(sum(weights))) if found is not None)
        assert taken == turns


def test_a_lane_without_work_leaves_its_turns_to_the_others() -> None:
    schedule = Schedule({"live": 12, "replay": 3, "backfill": 1})
    for number in range(40):
        schedule.accept(entry(f"backfill-{number}", lane="backfill"))

    taken = [schedule.next(0.0) for _ in range(40)]

    assert None not in taken


def test_a_live_edit_among_a_backfill_goes_next() -> None:
    schedule = Schedule()
    for number in range(40):
        schedule.accept(entry(f"backfill-{number}", lane="backfill"))
    for _ in range(20):
        schedule.next(0.0)
    edit = entry("live")

    schedule.accept(edit)

    assert schedule.next(0.0) is edit


def test_flows_of_one_account_take_turns_however_much_one_has() -> None:
    schedule = Schedule()
    for number in range(100):
        schedule.accept(entry(f"eu-{number}", flow="acme-eu"))
    for number in range(5):
        schedule.accept(entry(f"us-{number}", flow="acme-us"))
    schedule.accept(entry("apac-0", flow="acme-apac"))

    taken = [found.flow for found in (schedule.next(0.0) for _ in range(12)) if found is not None]

    assert taken[:6] == ["acme-eu", "acme-us", "acme-apac", "acme-eu", "acme-us", "acme-eu"]
    assert Counter(taken) == {"acme-eu": 6, "acme-us": 5, "acme-apac": 1}


def test_queues_of_one_flow_take_turns() -> None:
    """Records that can go in no batch do not wait behind ten thousand that can."""
    schedule = Schedule()
    for number in range(100):
        schedule.accept(entry(f"any-{number}"))
    for number in range(3):
        schedule.accept(entry(f"single-{number}", way="single"))

    taken = [found.way for found in (schedule.next(0.0) for _ in range(8)) if found is not None]

    assert taken == ["any", "single", "any", "single", "any", "single", "any", "any"]


def test_a_batch_takes_from_one_queue_oldest_first_and_from_all_flows_alike() -> None:
    schedule = Schedule()
    for number in range(3):
        for flow in ("eu", "us"):
            schedule.accept(entry(f"{flow}-{number}", flow=flow))
    schedule.accept(entry("alone", flow="eu", way="single"))
    assert schedule.depth("live", queue_of("customer", "any")) == 6

    taken = [schedule.next_from("live", queue_of("customer", "any")) for _ in range(7)]

    names = [found.record.rpartition("/")[2] for found in taken if found is not None]
    assert names == ["eu-0", "us-0", "eu-1", "us-1", "eu-2", "us-2"]
    assert taken[-1] is None
    assert schedule.depth("live", queue_of("customer", "any")) == 0


def test_what_travels_together_costs_its_lane_no_turn() -> None:
    schedule = Schedule({"live": 2, "replay": 1, "backfill": 1})
    for number in range(10):
        schedule.accept(entry(f"live-{number}"))
        schedule.accept(entry(f"replay-{number}", lane="replay"))
    for _ in range(5):
        schedule.next_from("live", queue_of("customer", "any"))

    taken = [found.lane for found in (schedule.next(0.0) for _ in range(3)) if found is not None]

    assert taken == ["live", "live", "replay"]


def test_a_closed_queue_is_passed_over() -> None:
    schedule = Schedule()
    match_first, alone = entry("org-1", way="match"), entry("org-2", way="single", lane="backfill")
    schedule.accept(match_first)
    schedule.accept(alone)
    closed = {queue_of("customer", "match")}

    assert schedule.next(0.0, closed) is alone
    assert schedule.next(0.0, closed) is None
    assert schedule.next(0.0) is match_first


def test_what_did_not_run_goes_first_of_its_queue() -> None:
    schedule = Schedule()
    first, second = entry("org-1"), entry("org-2")
    schedule.accept(first)
    schedule.accept(second)
    schedule.next(0.0)

    assert schedule.put_first(first) is None

    assert schedule.next(0.0) is first


def test_what_did_not_run_gives_way_to_a_newer_state() -> None:
    schedule = Schedule()
    first, newer = entry("org-1", 1), entry("org-1", 2)
    schedule.accept(first)
    schedule.next(0.0)
    schedule.accept(newer)

    assert schedule.put_first(first) is newer

    assert schedule.next(0.0) is newer
    assert schedule.next(0.0) is None


def test_a_record_edited_all_the_time_does_not_starve() -> None:
    """Each newer state takes the place in the queue that the older one had."""
    schedule = Schedule()
    schedule.accept(entry("edited", 1))
    for number in range(5):
        schedule.accept(entry(f"org-{number}"))

    for version in range(2, 50):
        schedule.accept(entry("edited", version))
    found = schedule.next(0.0)

    assert found is not None
    assert (found.record, found.generation) == (parent_of("edited"), Generation(49))


def test_a_newer_state_is_as_urgent_as_the_older_one_was() -> None:
    schedule = Schedule()
    schedule.accept(entry("org-2", lane="replay"))
    schedule.accept(entry("org-1", 1, lane="live"))
    newer = entry("org-1", 2, lane="backfill")

    schedule.accept(newer)

    assert schedule.next(0.0) is newer


def test_a_record_in_a_former_owners_batch_is_locked_until_that_has_ended() -> None:
    schedule = Schedule()
    locked, newer = entry("org-1", 1), entry("org-1", 2)
    schedule.resume(locked)

    assert schedule.accept(entry("org-1", 1)) is None  # its own message, read again
    assert schedule.accept(newer) is None
    assert schedule.next(0.0) is None
    assert schedule.next_from("live", queue_of("customer", "any")) is None
    assert len(schedule) == 2

    schedule.done(locked)

    assert schedule.next(0.0) is newer


def test_an_older_state_behind_a_locked_record_is_superseded() -> None:
    schedule = Schedule()
    schedule.resume(entry("org-1", 2))
    older = entry("org-1", 1)

    assert schedule.accept(older) is older


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


def test_a_parent_that_comes_after_its_child_inherits_its_lane() -> None:
    """The child asked for it; a backfill brings it before the answer does."""
    schedule = Schedule()
    for number in range(50):
        schedule.accept(entry(f"deal-{number}", lane="replay"))
    patient, urgent = entry("person-1", lane="backfill"), entry("person-2")
    for child in (patient, urgent):
        schedule.accept(child)
        assert schedule.next_from(child.lane, child.queue) is child
        schedule.block(child, parent_of("org-1"))
    parent = entry("org-1", lane="backfill")

    schedule.accept(parent)

    assert schedule.next(0.0) is parent


def test_ten_thousand_children_of_one_parent_run_once_it_is_released() -> None:
    schedule = Schedule()
    children = [entry(f"person-{number}") for number in range(10_000)]
    for child in children:
        schedule.accept(child)
    while (child_ready := schedule.next(0.0)) is not None:
        schedule.block(child_ready, parent_of("org-1"))
    assert schedule.blocked_on() == [parent_of("org-1")]

    schedule.release(parent_of("org-1"))

    assert [schedule.next(0.0) for _ in children] == children


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
FLOWS = st.sampled_from(["acme-eu", "acme-us"])
QUEUES = [queue_of("customer", way) for way in WAYS]


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
        self.first: Entry | None = None  # of its queue, since nothing was put before it
        self.newest_started: dict[str, Generation] = {}
        self.settled: dict[str, Generation] = {}
        self.number = 0

    @rule(record=RECORDS, version=st.integers(1, 6), lane=LANES, flow=FLOWS, way=st.sampled_from(WAYS))
    def accept(self, record: str, version: int, lane: Lane, flow: str, way: Way) -> None:
        self.number += 1
        new = entry(record, version, lane=lane, cause=f"wh:{self.number}", flow=flow, way=way)
        record = new.record
        if new.generation < self.settled.get(record, Generation(0)):
            return
        known = [held for held in (self.running.get(record), self.waiting.get(record)) if held is not None]
        older = any(new.generation < held.generation for held in known)

        loser = self.schedule.accept(new)

        assert loser is (new if older else self.waiting.get(record))
        if not older:
            self._wait(new)

    @precondition(lambda self: not self.running)
    @rule(record=RECORDS, version=st.integers(1, 6))
    def resume(self, record: str, version: int) -> None:
        """A former owner's batch; before anything of its record is accepted."""
        self.number += 1
        locked = entry(record, version, cause=f"wh:{self.number}")
        if locked.record in self.waiting or locked.generation < self.settled.get(locked.record, Generation(0)):
            return
        self.schedule.resume(locked)
        self._runs(locked)

    @rule(closed=st.sets(st.sampled_from(QUEUES)))
    def start(self, closed: set[str]) -> None:
        found = self.schedule.next(self.now_s, closed)

        able = {record for record in self._able() if self.waiting[record].queue not in closed}
        self._started(found, able, surely=able)

    @rule(lane=LANES, queue=st.sampled_from(QUEUES))
    def start_from(self, lane: Lane, queue: str) -> None:
        """What is delayed gets ready only when `next` is asked."""
        found = self.schedule.next_from(lane, queue)

        able = {
            record
            for record in self._able()
            if (self.waiting[record].lane, self.waiting[record].queue) == (lane, queue)
        }
        self._started(found, able, surely=able - self.held.keys())

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
    @rule(data=st.data(), way=st.sampled_from(WAYS))
    def did_not_run(self, data: st.DataObject, way: Way) -> None:
        record = data.draw(st.sampled_from(sorted(self.running)))
        tried = self.running.pop(record)
        tried.way = way

        newer = self.schedule.put_first(tried)

        assert newer is self.waiting.get(record)
        if newer is None:
            self._wait(tried)
            self.first = tried

    @precondition(lambda self: self.first is not None)
    @rule()
    def start_the_first(self) -> None:
        """It goes before all others of its flow and queue."""
        first = self.first
        assert first is not None
        others = {queue for queue in QUEUES if queue != first.queue}
        if self.waiting.get(first.record) is not first or first.record in self.running:
            return
        rivals = [one for one in self.waiting.values() if one.lane != first.lane or one.flow != first.flow]
        if rivals:
            return

        found = self.schedule.next(self.now_s, others)

        assert found is first
        self._started(found, {first.record}, surely={first.record})

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

    @invariant()
    def knows_how_deep_each_queue_is(self) -> None:
        for lane in ("live", "replay", "backfill"):
            for queue in QUEUES:
                here = {record for record, one in self.waiting.items() if (one.lane, one.queue) == (lane, queue)}
                able = here & self._able()
                assert len(able - self.held.keys()) <= self.schedule.depth(lane, queue) <= len(able)

    def _able(self) -> set[str]:
        return {
            record
            for record in self.waiting
            if record not in self.running and record not in self.blocked and self.held.get(record, 0.0) <= self.now_s
        }

    def _started(self, found: Entry | None, able: set[str], *, surely: set[str]) -> None:
        if found is None:
            assert not surely
            return
        assert found.record in able
        assert found is self.waiting.pop(found.record)
        assert found.generation >= self.newest_started.get(found.record, Generation(0))
        self.held.pop(found.record, None)
        self._runs(found)

    def _runs(self, found: Entry) -> None:
        self.newest_started[found.record] = found.generation
        self.running[found.record] = found
        self.first = None

    def _wait(self, new: Entry) -> None:
        self.waiting[new.record] = new
        self.held.pop(new.record, None)
        self.blocked.discard(new.record)
        self.first = None


AnyOrderOfEvents.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
test_any_order_of_events = AnyOrderOfEvents.TestCase
