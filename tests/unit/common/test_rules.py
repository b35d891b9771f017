"""Keys, causes, generations: the small rules that everything else rests on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_connector.common import cause, keys
from ml_connector.common.errors import Malformed
from ml_connector.common.generation import Generation, is_from_the_future, of_replay, of_rest_read
from ml_connector.common.kafka.partition import murmur2, partition_for

generations = st.builds(Generation, st.integers(0, 2**53), st.integers(0, 2**53))


def test_external_id_names_the_entity_since_ids_are_unique_over_a_group() -> None:
    assert keys.external_id("pd", "organization", "5") == "pd-org-5"
    assert keys.external_id("pd", "person", "5") == "pd-person-5"
    assert keys.source_of("PD", "pd-Deal-7") == ("deal", "7")
    assert keys.source_of("pd", "other-deal-7") is None
    assert keys.source_of("pd", "pd-deal-0") is None


def test_record_key_is_lower_case_as_netsuite_compares() -> None:
    assert keys.record_key("1234567_SB1", "customer", "PD-org-5") == "1234567_sb1/customer/pd-org-5"


@given(generations, st.text("abc:-.@", min_size=1, max_size=20))
def test_desired_key_can_be_read_back(generation: Generation, name: str) -> None:
    key = keys.DesiredKey("1_sb1/customer/pd-org-1", generation, name)

    assert keys.DesiredKey.parse(str(key)) == key


@pytest.mark.parametrize(
    ("webhook_id", "event_id"), [("", "a"), ("1", ""), ("1/2", "a"), ("1", "a#b"), ("1", "x" * 101)]
)
def test_id_that_would_break_a_key_is_malformed(webhook_id: str, event_id: str) -> None:
    with pytest.raises(Malformed, match="is not an id"):
        cause.of_event(webhook_id, event_id)


def test_unreadable_body_has_the_same_cause_each_time_it_comes() -> None:
    assert cause.of_unreadable(b"x") == cause.of_unreadable(b"x") != cause.of_unreadable(b"y")


@given(generations, generations)
def test_generations_are_ordered_by_source_version_then_revision(one: Generation, other: Generation) -> None:
    expected = (one.source_version, one.revision) < (other.source_version, other.revision)

    assert (one < other) == expected
    assert Generation.parse(str(one)) == one


@given(generations, st.integers(0, 2**53))
def test_replay_is_newer_than_what_it_replays_and_older_than_the_next_edit(original: Generation, now_ms: int) -> None:
    replay = of_replay(original, now_ms=now_ms)

    assert original < replay < Generation(original.source_version + 1)


def test_state_read_through_rest_is_dated_before_it_can_have_been_read() -> None:
    """Too low is harmless; too high would hide an edit made meanwhile."""
    assert of_rest_read(date_ms=1_000_000, took_ms=200) == Generation(994_800)


def test_event_from_the_future_is_one_more_than_five_minutes_ahead() -> None:
    assert not is_from_the_future(1_000_000 + 300_000, arrived_at_ms=1_000_000)
    assert is_from_the_future(1_000_000 + 300_001, arrived_at_ms=1_000_000)


@pytest.mark.parametrize(
    ("data", "expected"),  # org.apache.kafka.common.utils.UtilsTest#testMurmur2
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_agrees_with_java(data: bytes, expected: int) -> None:
    assert murmur2(data) == expected & 0xFFFFFFFF


@given(st.binary(max_size=50), st.integers(1, 100))
def test_partition_is_one_of_those_there_are(key: bytes, count: int) -> None:
    assert 0 <= partition_for(key, count) < count
