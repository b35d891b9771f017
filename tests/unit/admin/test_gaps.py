"""When events may have got lost: where a gap begins, where it ends, and that each part is caught up with once."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_connector.admin.catchup.gaps import (
    PORTION_MS,
    UNHEARD_MS,
    Seen,
    Trouble,
    due_to_ms,
    heard_after,
    troubles_of,
    with_troubles,
)
from ml_connector.common.asking import AtTheDoor
from ml_connector.common.catch_up import CatchUp, Gap, Heard
from ml_connector.common.deliveries import Deliveries

MINUTE = 60_000
BAN = 30 * MINUTE
NOW = 1_000 * MINUTE
RUNS = Heard(NOW)


def spans(deliveries: Deliveries | None = None, *doors: AtTheDoor, heard: Heard = RUNS) -> list[tuple[int, int, bool]]:
    """In minutes before now, and whether it is open."""
    found = troubles_of(Seen(deliveries, doors, heard), NOW, BAN)
    return [((one.from_ms - NOW) // MINUTE, (one.to_ms - NOW) // MINUTE, one.open) for one in found]


def ago(minutes: int) -> int:
    return NOW - minutes * MINUTE


@pytest.mark.parametrize(
    ("seen", "found"),
    [
        pytest.param(Deliveries("f", well_ms=ago(1)), [], id="well"),
        pytest.param(Deliveries("f", looked_ms=ago(5), bad_from_ms=ago(20)), [(-20, -5, True)], id="lacking"),
        pytest.param(Deliveries("f", bad_from_ms=ago(20), bad_to_ms=ago(5)), [(-20, -5, False)], id="made anew"),
        pytest.param(
            Deliveries("f", bad_from_ms=ago(20), bad_to_ms=ago(5), failed_ms=ago(10)), [(-20, 20, False)], id="failed"
        ),
        pytest.param(
            Deliveries("f", bad_from_ms=ago(20), bad_to_ms=ago(5), failed_ms=ago(90)), [(-20, -5, False)], id="before"
        ),
        pytest.param(Deliveries("f", retried_from_ms=ago(9), retried_to_ms=ago(8)), [(-9, 22, False)], id="second try"),
    ],
)
def test_what_pipedrive_shows(seen: Deliveries, found: list[tuple[int, int, bool]]) -> None:
    """After a failure it may have banned the webhook for half an hour, which nobody is told."""
    assert spans(seen) == found


def test_what_ingest_could_not_store_and_when_none_ran() -> None:
    refusing = AtTheDoor(unavailable_ms=(ago(9), ago(7)))

    assert spans(None, AtTheDoor(), refusing) == [(-9, 23, False)]
    assert spans(heard=Heard(NOW, ago(50), ago(40))) == [(-50, -10, False)]
    assert spans(heard=Heard(ago(3))) == [(-3, 0, True)]


def test_ingest_ran_all_the_time_if_one_of_them_did_whatever_this_service_missed() -> None:
    before = Heard(ago(60))

    assert heard_after(before, [ago(120)], NOW) == Heard(NOW)
    assert heard_after(before, [ago(1), ago(61)], NOW) == Heard(NOW)
    assert heard_after(before, [before.up_ms + UNHEARD_MS], NOW) == Heard(NOW)
    assert heard_after(before, [ago(40)], NOW) == Heard(NOW, ago(60), ago(40))
    assert heard_after(Heard(), [ago(40)], NOW) == Heard(NOW)
    assert heard_after(before, [], NOW) == before


def test_gap_that_is_over_is_caught_up_with_once_it_is() -> None:
    gap = Gap(ago(40), ago(1), open=False, why="")

    assert due_to_ms(gap, NOW) == ago(1)
    assert due_to_ms(msgspec.structs.replace(gap, to_ms=NOW + 1), NOW) is None
    assert due_to_ms(None, NOW) is None


def test_gap_that_stays_open_is_caught_up_with_every_hour() -> None:
    gap = Gap(NOW - PORTION_MS, NOW - MINUTE, open=True, why="")

    assert due_to_ms(gap, NOW) == NOW
    assert due_to_ms(msgspec.structs.replace(gap, from_ms=gap.from_ms + 1), NOW) is None


def test_what_told_of_an_open_gap_and_is_gone_closes_it() -> None:
    entry = CatchUp("f", gap=Gap(ago(9), ago(8), open=True, why="no ingest runs"))

    assert with_troubles(entry, []).gap == Gap(ago(9), ago(8), open=False, why="no ingest runs")


troubles = st.tuples(st.integers(0, 300), st.integers(0, 90), st.booleans())


@given(st.lists(st.tuples(st.integers(1, 40), st.lists(troubles, max_size=3)), max_size=15))
def test_every_minute_of_trouble_is_caught_up_with_after_it_and_nothing_is_twice(
    looks: list[tuple[int, list[tuple[int, int, bool]]]],
) -> None:
    """Looks of a service that is away in between; troubles are told as (how long ago, for how long, open)."""
    entry, now, told, read = CatchUp("f"), NOW, set[int](), list[tuple[int, int]]()
    for wait, found in [*looks, *[(PORTION_MS // MINUTE, [])] * 3]:
        now += wait * MINUTE
        new = [Trouble(now - back * MINUTE, now - max(0, back - length) * MINUTE, "", is_open)
               for back, length, is_open in found]  # fmt: skip
        for one in new:
            told |= set(range(max(one.from_ms, entry.seen_ms) // MINUTE, one.to_ms // MINUTE))
        entry = with_troubles(entry, new)
        to_ms = due_to_ms(entry.gap, now)
        if to_ms is not None and entry.gap is not None:
            assert to_ms <= now
            read.append((entry.gap.from_ms // MINUTE, to_ms // MINUTE))
            entry = msgspec.structs.replace(entry, seen_ms=to_ms, gap=None)

    assert entry.gap is None
    assert told <= {minute for begin, end in read for minute in range(begin, end)}
    assert all(sooner[1] <= later[0] for sooner, later in pairwise(read))
