"""When a batch is asked whether it has ended, against batches that take a known time."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from ml_connector.netsuite_writer.turnaround import Guess, Turnaround


def run(turnaround: Turnaround, takes_s: float, *, records: int = 100) -> tuple[int, float]:
    """One batch: its polls, and how long after its end the last one came."""
    guess, now_s = Guess(records, 7.0), 7.0
    while True:
        now_s += turnaround.wait_s(guess, now_s)
        guess.polls += 1
        if now_s >= 7.0 + takes_s:
            turnaround.ended(guess, now_s)
            return guess.polls, now_s - 7.0 - takes_s


@given(takes_s=st.floats(0.2, 600), jitter=st.lists(st.floats(0.98, 1.0), min_size=20, max_size=20))
def test_once_it_is_known_how_long_they_take_one_poll_is_mostly_enough(takes_s: float, jitter: list[float]) -> None:
    turnaround = Turnaround()
    for _ in range(20):
        run(turnaround, takes_s)

    polls = [run(turnaround, takes_s * share)[0] for share in jitter]

    assert sum(polls) <= 1.35 * len(polls)


@given(takes_s=st.floats(1.0, 600))
def test_a_poll_does_not_come_long_after_the_end(takes_s: float) -> None:
    """Until then its records are locked, and no newer state of them is written."""
    turnaround = Turnaround()
    for _ in range(20):
        run(turnaround, takes_s)

    late_s = [run(turnaround, takes_s)[1] for _ in range(20)]

    assert max(late_s) <= 0.1 * takes_s + 0.05


@pytest.mark.parametrize(("before_s", "now_s"), [(10.0, 40.0), (40.0, 10.0)])
def test_what_takes_another_time_from_now_on_is_learnt(before_s: float, now_s: float) -> None:
    turnaround = Turnaround()
    for takes_s in (before_s, now_s):
        for _ in range(200):
            run(turnaround, takes_s)

    assert turnaround.expected_s(100) == pytest.approx(now_s, rel=0.1)


def test_half_as_many_records_are_expected_in_half_the_time() -> None:
    turnaround = Turnaround()
    run(turnaround, 10.0)

    assert turnaround.expected_s(50) == pytest.approx(turnaround.expected_s(100) / 2)


def test_nothing_is_expected_of_the_first() -> None:
    turnaround = Turnaround()

    assert (turnaround.expected_s(100), turnaround.wait_s(Guess(100, 5.0), 5.0)) == (0.0, 1.0)
