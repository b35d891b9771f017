"""What a desired state means for a record whose settled state is known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_connector.common.generation import Generation
from ml_connector.common.wire import Observed, Settled, Superseded
from ml_connector.netsuite_writer.accept import (
    SETTLED_MEMORY_COUNT,
    SETTLED_MEMORY_MS,
    Apply,
    Duplicate,
    judge,
    remember,
)
from support.desired import desired, observed

KNOWN = observed(desired(version=5, cause="wh:5"), settled=(Settled("wh:3", 1), Settled("wh:5", 2)))


@pytest.mark.parametrize(
    ("version", "cause", "meaning"),
    [
        (6, "wh:6", Apply()),
        (4, "wh:4", Superseded(Generation(5), "wh:5")),
        (5, "wh:5", Duplicate()),
        (3, "wh:3", Duplicate()),
        (5, "syn:other", Apply(contested=True)),
    ],
)
def test_a_desired_state_is_judged_by_what_is_settled(version: int, cause: str, meaning: object) -> None:
    assert judge(Generation(version), cause, KNOWN) == meaning


def test_the_first_state_of_a_record_is_applied() -> None:
    assert judge(Generation(1), "wh:1", None) == Apply()


def test_a_replay_of_an_old_state_is_superseded_by_a_newer_source_state() -> None:
    replay = Generation(4, revision=1_800_000_000_000)

    assert judge(replay, "rpl:job:1", KNOWN) == Superseded(Generation(5), "wh:5")


def test_a_settled_cause_is_remembered_for_a_quarter_of_an_hour() -> None:
    before = observed(desired(), settled=(Settled("old", 0), Settled("recent", 60_000)))

    known = remember(before, "new", now_ms=SETTLED_MEMORY_MS + 30_000)

    assert known == (Settled("recent", 60_000), Settled("new", SETTLED_MEMORY_MS + 30_000))


def test_a_record_that_is_edited_all_the_time_does_not_grow_without_bound() -> None:
    known: Observed = observed(desired())
    for number in range(SETTLED_MEMORY_COUNT * 2):
        known = observed(desired(), settled=remember(known, f"wh:{number}", now_ms=1_000 + number))

    assert len(known.settled) == SETTLED_MEMORY_COUNT
    assert known.settled[-1].cause == f"wh:{SETTLED_MEMORY_COUNT * 2 - 1}"


@given(st.tuples(st.integers(0, 9), st.integers(0, 3)), st.tuples(st.integers(0, 9), st.integers(0, 3)))
def test_nothing_older_than_the_settled_state_is_ever_applied(new: tuple[int, int], settled: tuple[int, int]) -> None:
    known = observed(desired(), generation=Generation(*settled), cause="wh:settled")

    meaning = judge(Generation(*new), "wh:new", known)

    assert isinstance(meaning, Superseded) == (new < settled)
