"""Which calls may still be executed, and when the newest state is asserted again (DESIGN rule 3)."""

from __future__ import annotations

import pytest

from ml_connector.common.generation import Generation
from ml_connector.common.wire import Attempt, Doubt
from ml_connector.netsuite_writer import doubt
from support.desired import attempted, desired, observed

RECORD = desired()


def attempt(version: int, *doubts: Doubt, at_ms: int = 1_000) -> Attempt:
    return attempted(RECORD, generation=Generation(version), at_ms=at_ms, owner="me", doubts=doubts)


def test_an_attempt_found_open_is_in_doubt() -> None:
    found = doubt.restored(attempt(1, at_ms=1_000), 2_000)

    assert (found.open, found.doubts) == (False, (Doubt(Generation(1), 2_000),))
    assert doubt.restored(found, 3_000) == found


def test_a_settled_attempt_without_doubts_leaves_nothing() -> None:
    assert doubt.settled(attempt(1)) is None


def test_an_unanswered_call_of_the_same_state_is_remembered_until_its_quiet_time_is_over() -> None:
    """A newer state may be written before that, and then the late call would undo it."""
    left = doubt.settled(attempt(1, Doubt(Generation(1), 500)))

    assert left is not None
    assert not doubt.must_assert_again(left, observed(desired(version=1)))
    assert doubt.must_assert_again(left, observed(desired(version=2)))


def test_an_unanswered_call_of_an_older_state_outlives_the_newer_ones_success() -> None:
    left = doubt.settled(attempt(2, Doubt(Generation(1), 500)))

    assert left is not None
    assert left.doubts == (Doubt(Generation(1), 500),)
    assert doubt.must_assert_again(left, observed(desired(version=2)))


def test_the_quiet_time_counts_from_the_last_unanswered_call() -> None:
    found = attempt(3, Doubt(Generation(1), 500), Doubt(Generation(2), 900))

    assert doubt.quiet_at_ms(found, 900_000) == 900_900


@pytest.mark.parametrize(("settled", "again"), [(1, False), (2, True)])
def test_only_another_state_written_since_has_to_be_asserted_again(settled: int, again: bool) -> None:
    left = doubt.unanswered(attempt(1), 1_000)

    assert doubt.must_assert_again(left, observed(desired(version=settled))) is again
