"""Oldest first per record, and otherwise front to back."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from ml_connector.admin.replay.order import Chosen, oldest_first
from ml_connector.common.generation import Generation

LETTERS = st.lists(
    st.builds(
        Chosen,
        letter_id=st.uuids().map(str),
        record_key=st.sampled_from(["a", "b", "c", "-"]),
        account=st.just("1"),
        partition=st.integers(0, 2),
        offset=st.integers(0, 40),
        generation=st.builds(Generation, st.integers(0, 5), st.integers(0, 2)),
    ),
    max_size=30,
    unique_by=lambda one: (one.partition, one.offset),
)


@given(LETTERS)
def test_each_record_goes_from_its_oldest_state_to_its_newest(letters: list[Chosen]) -> None:
    ordered = oldest_first(letters)

    by_record = defaultdict(list)
    for one in ordered:
        by_record[one.record_key].append(one.generation)
    assert sorted(one.letter_id for one in ordered) == sorted(one.letter_id for one in letters)
    assert all(generations == sorted(generations) for generations in by_record.values())


@given(LETTERS)
def test_records_take_turns_as_they_stand_in_the_topic(letters: list[Chosen]) -> None:
    """So that the topic is read once from front to back, whatever the generations are."""
    by_place = sorted(letters, key=lambda one: (one.partition, one.offset))

    assert [one.record_key for one in oldest_first(letters)] == [one.record_key for one in by_place]
