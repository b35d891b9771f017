"""How many slots the writer uses: rules one by one, then against a simulated account with neighbours."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from ml_connector.netsuite_writer.govern import Governor

SEEDS = st.integers(0, 2**32)


def governor(ceiling: int, *, in_flight: int = 0, seed: int = 1) -> Governor:
    made = Governor(ceiling, chance=random.Random(seed))
    for _ in range(in_flight):
        made.take()
    return made


def refuse(target: Governor, now_s: float, *, started_s: float | None = None) -> None:
    started_s = now_s if started_s is None else started_s
    target.overloaded(now_s, started_s=started_s, among=target.in_flight)
    target.give_back()


def test_starts_at_the_ceiling() -> None:
    slots = governor(5, in_flight=2)

    assert (slots.limit(0.0), slots.free(0.0), slots.opens_at_s(0.0)) == (5, 3, None)


def test_a_refusal_lowers_the_limit_by_a_quarter_of_what_was_in_flight() -> None:
    slots = governor(55, in_flight=20)

    refuse(slots, 10.0)

    assert slots.limit(10.0) == 15
    assert slots.free(10.0) == 0


@pytest.mark.parametrize(("in_flight", "limit"), [(5, 3), (4, 3), (3, 2), (2, 1), (1, 1)])
def test_a_refusal_lowers_it_by_one_at_least_and_never_below_one(in_flight: int, limit: int) -> None:
    slots = governor(5, in_flight=in_flight)

    refuse(slots, 10.0)

    assert slots.limit(10.0) == limit


def test_one_crowd_lowers_the_limit_once() -> None:
    """Twenty requests sent together are refused together; that is one fact, not twenty."""
    slots = governor(40, in_flight=40)

    for number in range(20):
        refuse(slots, 10.0 + number / 100, started_s=9.9)

    assert slots.limit(10.2) in range(30, 35)


def test_a_request_begun_after_the_decrease_lowers_it_again() -> None:
    slots = governor(40, in_flight=40)
    refuse(slots, 10.0, started_s=9.9)
    while slots.in_flight > 29:
        slots.give_back()

    slots.take()
    refuse(slots, 10.02, started_s=10.01)

    assert slots.limit(10.02) == 22


def test_neighbours_that_ended_before_the_refusal_was_heard_of_still_count() -> None:
    """Twenty answers arrive in one read, the refusal last: it was one too many of twenty, not of one."""
    slots = governor(20, in_flight=19)
    among = slots.take()
    for _ in range(19):
        slots.give_back()

    slots.overloaded(10.0, started_s=9.9, among=among)

    assert slots.limit(10.0) == 15
    assert slots.free(10.0) > 0


def test_the_level_below_the_refused_one_is_back_within_a_second() -> None:
    slots = governor(40, in_flight=40)

    refuse(slots, 10.0)

    assert slots.limit(11.0) == 39


def test_the_refused_level_is_tried_again_only_after_a_pause() -> None:
    slots = governor(40, in_flight=40)

    refuse(slots, 10.0)

    assert slots.limit(11.4) == 39  # half a second and one at the least
    assert slots.limit(13.0) == 40  # one second and two at the most


@given(SEEDS)
def test_the_pause_before_a_probe_begins_when_the_level_below_is_back(seed: int) -> None:
    slots, now_s = governor(40, in_flight=40, seed=seed), 0.0
    reached_s: dict[int, float] = {}
    refuse(slots, now_s)
    while slots.limit(now_s) < 40:
        reached_s.setdefault(slots.limit(now_s), now_s)
        now_s = slots.opens_at_s(now_s) or now_s

    assert list(reached_s) == list(range(30, 40))
    assert reached_s[39] <= 1.0
    assert 1.0 <= now_s - reached_s[39] <= 2.0


def probe_at_s(slots: Governor, now_s: float) -> float:
    """When the limit reaches the ceiling by itself."""
    while slots.limit(now_s) < slots.ceiling:
        opens_at_s = slots.opens_at_s(now_s)
        assert opens_at_s is not None
        now_s = opens_at_s
    return now_s


def pauses_between_failing_probes(slots: Governor, count: int) -> list[float]:
    """Every request above four is refused, for as long as it takes."""
    pauses, now_s = [], 0.0
    for _ in range(count):
        while slots.in_flight < 5:
            slots.take()
        refuse(slots, now_s)
        probe_s = probe_at_s(slots, now_s)
        pauses.append(probe_s - now_s)
        now_s = probe_s + 0.1  # the next refusal
    return pauses


@given(SEEDS)
def test_a_level_refused_again_and_again_is_tried_ever_more_rarely(seed: int) -> None:
    pauses = pauses_between_failing_probes(governor(5, seed=seed), 8)

    assert 1.0 <= pauses[0] <= 3.0
    assert 2.0 <= pauses[1] <= 5.0
    assert all(4.0 <= pause <= 9.0 for pause in pauses[2:])


def test_a_level_that_turned_out_free_is_forgotten() -> None:
    slots = governor(5)
    pauses_between_failing_probes(slots, 5)
    now_s = 1_000.0
    while slots.in_flight < 5:
        slots.take()

    refuse(slots, now_s)

    assert probe_at_s(slots, now_s) - now_s <= 3.0


def test_a_refusal_below_the_known_level_is_news() -> None:
    """A neighbour took more: that says nothing about how long it keeps them."""
    slots = governor(40, in_flight=40)
    refuse(slots, 0.0)
    while slots.in_flight > 20:
        slots.give_back()

    refuse(slots, 0.5)

    assert slots.limit(0.5) == 15
    assert slots.limit(3.5) >= 20


def test_a_slow_refusal_of_a_probe_still_counts_as_that_probe() -> None:
    """The masked "Invalid login attempt" comes after a minute (facts/netsuite.md section 9)."""
    slots = governor(5, in_flight=5)
    refuse(slots, 0.0)
    probe_s = probe_at_s(slots, 0.0)
    slots.take()

    refuse(slots, probe_s + 61.0, started_s=probe_s)

    assert probe_at_s(slots, probe_s + 61.0) - (probe_s + 61.0) >= 2.0


def test_once_the_refused_level_is_free_growth_goes_on_fast() -> None:
    slots = governor(55, in_flight=5)
    refuse(slots, 0.0)

    assert slots.limit(0.0) == 3
    assert slots.limit(6.0) == 55


@given(SEEDS)
def test_a_single_refused_request_pauses_the_account(seed: int) -> None:
    slots = governor(5, in_flight=1, seed=seed)

    refuse(slots, 10.0)

    opens_at_s = slots.opens_at_s(10.0)
    assert opens_at_s is not None
    assert 10.2 <= opens_at_s <= 11.0
    assert slots.free(opens_at_s - 0.01) == 0
    assert slots.free(opens_at_s) == 1


@given(SEEDS)
def test_the_pause_of_a_single_request_grows_while_it_is_refused(seed: int) -> None:
    slots, now_s, pauses = governor(5, seed=seed), 0.0, []
    for _ in range(8):
        slots.take()
        refuse(slots, now_s + 0.1, started_s=now_s)
        opens_at_s = slots.opens_at_s(now_s + 0.1)
        assert opens_at_s is not None
        pauses.append(opens_at_s - now_s - 0.1)
        now_s = opens_at_s

    longest = [1.0, 2.0, 4.0, *[5.0] * 5]
    assert all(0.2 * most - 1e-6 <= pause <= most + 1e-6 for pause, most in zip(pauses, longest, strict=True))


def test_the_pause_starts_small_again_when_a_slot_was_free_in_between() -> None:
    slots = governor(5)
    for now_s in (0.0, 1.0, 2.0, 3.0, 100.0):
        slots.take()
        refuse(slots, now_s + 0.01, started_s=now_s)

    opens_at_s = slots.opens_at_s(100.01)

    assert opens_at_s is not None
    assert opens_at_s <= 101.01


def test_a_hold_occupies_a_slot_until_it_ends() -> None:
    slots = governor(5, in_flight=1)

    slots.hold(20.0)
    slots.hold(15.0)

    assert (slots.free(10.0), slots.opens_at_s(10.0)) == (2, 15.0)
    assert (slots.free(15.0), slots.opens_at_s(15.0)) == (3, 20.0)
    assert (slots.free(20.0), slots.opens_at_s(20.0)) == (4, None)


def test_a_held_request_counts_among_those_that_were_too_many() -> None:
    slots = governor(20, in_flight=6)
    slots.hold(60.0)
    slots.hold(60.0)

    refuse(slots, 10.0)

    assert slots.limit(10.0) == 6


def test_more_held_than_allowed_is_no_reason_to_allow_more() -> None:
    slots = governor(5, in_flight=5)
    for _ in range(50):
        slots.hold(60.0)

    refuse(slots, 10.0)

    assert slots.limit(10.0) == 4
    assert slots.free(10.0) == 0


def test_a_lower_ceiling_holds_at_once() -> None:
    slots = governor(20, in_flight=10)

    slots.bound(5)

    assert (slots.limit(0.0), slots.free(0.0)) == (5, 0)


def test_a_lower_ceiling_holds_on_the_way_back_too() -> None:
    slots = governor(20, in_flight=20)
    refuse(slots, 0.0)

    slots.bound(5)

    assert [slots.limit(now_s) for now_s in (0.0, 1.0, 60.0)] == [5, 5, 5]


def test_a_higher_ceiling_holds_at_once_when_nothing_was_refused() -> None:
    slots = governor(5)

    slots.bound(20)

    assert slots.limit(0.0) == 20


def test_a_higher_ceiling_holds_at_once_when_the_way_back_is_over() -> None:
    slots = governor(5, in_flight=5)
    refuse(slots, 0.0)

    slots.bound(20)

    assert slots.limit(60.0) == 20


def test_a_higher_ceiling_does_not_shorten_the_way_back() -> None:
    slots = governor(5, in_flight=5)
    refuse(slots, 0.0)

    slots.bound(20)

    assert slots.limit(0.1) == 3
    assert slots.limit(1.4) == 4


def test_two_processes_do_not_probe_in_step() -> None:
    probes = []
    for seed in range(20):
        slots = governor(5, in_flight=5, seed=seed)
        refuse(slots, 0.0)
        probes.append(probe_at_s(slots, 0.0))

    assert max(probes) - min(probes) > 0.5
    assert len(set(probes)) == 20


class Simulation:
    """An account with always more work than slots, at a NetSuite whose free slots change over simulated time."""

    def __init__(
        self, slots: Governor, *, free_slots: Callable[[float], int], latency_s: float, refusal_s: float | None = None
    ) -> None:
        self.slots = slots
        self.written = 0
        self.refusals: list[float] = []
        self.limits: list[tuple[float, int]] = []
        self._free_slots = free_slots
        self._latency_s = latency_s
        self._refusal_s = latency_s if refusal_s is None else refusal_s
        self._busy = 0  # of ours, at NetSuite
        self._order = itertools.count()
        self._ends: list[tuple[float, int, float, int, bool]] = []

    def run(self, until_s: float) -> Simulation:
        now_s = 0.0
        while now_s < until_s:
            self._fill(now_s)
            self.limits.append((now_s, self.slots.limit(now_s)))
            opens_at_s = self.slots.opens_at_s(now_s)
            assert opens_at_s is None or opens_at_s > now_s, "the caller would spin"
            moments = [at_s for at_s in (opens_at_s, self._ends[0][0] if self._ends else None) if at_s is not None]
            assert moments, "nothing would ever happen again"
            now_s = min(moments)
            self._end(now_s)
        return self

    def _fill(self, now_s: float) -> None:
        while self.slots.free(now_s):
            among = self.slots.take()
            assert self.slots.in_flight <= self.slots.limit(now_s) <= self.slots.ceiling
            is_admitted = self._busy < self._free_slots(now_s)
            self._busy += is_admitted
            end_s = now_s + (self._latency_s if is_admitted else self._refusal_s)
            heapq.heappush(self._ends, (end_s, next(self._order), now_s, among, is_admitted))

    def _end(self, now_s: float) -> None:
        while self._ends and self._ends[0][0] <= now_s:
            _, _, started_s, among, is_admitted = heapq.heappop(self._ends)
            if is_admitted:
                self._busy -= 1
                self.written += 1
            else:
                self.refusals.append(now_s)
                self.slots.overloaded(now_s, started_s=started_s, among=among)
            self.slots.give_back()

    def refused_between(self, from_s: float, to_s: float) -> int:
        return sum(from_s <= at_s < to_s for at_s in self.refusals)


LATENCIES = st.sampled_from([0.05, 0.13, 0.4])
CEILINGS = st.sampled_from([2, 5, 15, 25, 55])


@given(CEILINGS, LATENCIES, SEEDS)
@settings(max_examples=20, deadline=None)
def test_without_neighbours_nothing_is_ever_refused_and_no_slot_idles(
    ceiling: int, latency_s: float, seed: int
) -> None:
    run = Simulation(governor(ceiling, seed=seed), free_slots=lambda _: ceiling, latency_s=latency_s).run(20.0)

    assert run.refusals == []
    assert run.written >= ceiling * (20.0 / latency_s - 1)


@given(CEILINGS, LATENCIES, SEEDS, st.data())
@settings(max_examples=30, deadline=None)
def test_a_steady_neighbour_costs_few_refusals_and_a_tenth_at_most(
    ceiling: int, latency_s: float, seed: int, data: st.DataObject
) -> None:
    ours = data.draw(st.integers(1, ceiling - 1))

    run = Simulation(governor(ceiling, seed=seed), free_slots=lambda _: ours, latency_s=latency_s).run(120.0)

    assert run.written >= 0.9 * ours * 120.0 / latency_s
    assert 9 <= run.refused_between(30.0, 120.0) <= 22  # a probe every four to ten seconds


@given(LATENCIES, SEEDS, st.sampled_from([(55, 5), (25, 12), (15, 1), (5, 2)]))
@settings(max_examples=15, deadline=None)
def test_slots_taken_away_are_left_alone_after_few_refusals(
    latency_s: float, seed: int, change: tuple[int, int]
) -> None:
    """Worst case: all requests in step, nine of ten slots gone, and 0.4 s until a refusal is heard of."""
    before, after = change
    run = Simulation(
        governor(before, seed=seed), free_slots=lambda now_s: before if now_s < 2.0 else after, latency_s=latency_s
    ).run(40.0)

    assert run.refused_between(0.0, 2.0) == 0
    assert 1 <= run.refused_between(2.0, 10.0) <= 7 * before
    assert run.refused_between(10.0, 40.0) <= 10


@given(LATENCIES, SEEDS, st.sampled_from([(5, 55), (3, 25), (1, 15), (2, 5)]))
@settings(max_examples=20, deadline=None)
def test_freed_slots_are_found_within_seconds(latency_s: float, seed: int, change: tuple[int, int]) -> None:
    """At the worst 1 s back, 8 s until the next probe, 1 s until it counts, 2 s for fifty slots."""
    before, after = change
    run = Simulation(
        governor(after, seed=seed), free_slots=lambda now_s: before if now_s < 60.0 else after, latency_s=latency_s
    ).run(75.0)

    assert next(at_s for at_s, limit in run.limits if at_s >= 60.0 and limit == after) <= 72.0
    assert run.refused_between(61.0, 75.0) == 0


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_when_others_hold_every_slot_only_a_request_now_and_then_is_refused(seed: int) -> None:
    run = Simulation(governor(5, seed=seed), free_slots=lambda now_s: 0 if now_s < 60.0 else 5, latency_s=0.05).run(
        75.0
    )

    assert 10 <= run.refused_between(0.0, 60.0) <= 60
    assert next(at_s for at_s, limit in run.limits if at_s >= 60.0 and limit == 5) <= 72.0


@given(
    SEEDS,
    CEILINGS,
    st.lists(st.integers(0, 60), min_size=1, max_size=12),
    st.floats(0.02, 2.0),
    st.floats(0.02, 5.0),
)
@settings(max_examples=60, deadline=None)
def test_whatever_the_neighbours_do_the_limit_holds_and_work_goes_on(
    seed: int, ceiling: int, free_slots: list[int], latency_s: float, refusal_s: float
) -> None:
    """The assertions are in the simulation: never above the limit, never stuck, never spinning."""
    slots = governor(ceiling, seed=seed)
    for until_s in (1.0, 7.5, 7.5):
        slots.hold(until_s)

    Simulation(
        slots,
        free_slots=lambda now_s: free_slots[int(now_s / 3.0) % len(free_slots)],
        latency_s=latency_s,
        refusal_s=refusal_s,
    ).run(36.0)


def test_two_processes_share_an_account_without_waste() -> None:
    """Neither knows of the other; both believe that all ten slots are theirs."""
    shared = SharedSlots(10)
    runs = [shared.process(seed) for seed in (1, 2)]

    shared.run(runs, 60.0)

    assert sum(run.written for run in runs) >= 0.9 * 10 * 60.0 / 0.1
    assert sum(len(run.refusals) for run in runs) <= 120


class SharedSlots:
    """Several simulations at one NetSuite, in small steps of time."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._runs: list[Simulation] = []

    def process(self, seed: int) -> Simulation:
        run: Simulation
        run = Simulation(
            governor(self._capacity, seed=seed),
            free_slots=lambda _: self._capacity - sum(other._busy for other in self._runs if other is not run),
            latency_s=0.1,
        )
        self._runs.append(run)
        return run

    def run(self, runs: list[Simulation], until_s: float) -> None:
        for step in range(int(until_s * 200)):
            now_s = step / 200
            for run in runs:
                run._end(now_s)
            for run in runs if step % 2 else reversed(runs):
                run._fill(now_s)
