"""What of a schedule is due: every due time once, whoever looks how often, whatever was missed, however clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_connector.admin.schedule.due import Begin, Moment, Timing, judge, newest_until, next_after, offset_ms
from ml_connector.common.schedule_job import ScheduleEntry

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
CRONS = [
    "* * * * *",
    "*/15 * * * *",
    "7 * * * *",
    "0 2 * * *",
    "15,45 2,3 * * *",
    "30 */2 * * *",
    "0 0 1 * *",
    "5 4 * * 1-5",
]
ZONES = ["UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kathmandu"]
FROM_MS = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1000)
moments = st.integers(FROM_MS, FROM_MS + 370 * 24 * HOUR_MS)
timings = st.builds(Timing, st.sampled_from(CRONS), st.sampled_from(ZONES), st.just(60), st.integers(0, 60_000))


def ms(*parts: int, zone: str = "UTC", fold: int = 0) -> int:
    return int(datetime(*parts, tzinfo=ZoneInfo(zone), fold=fold).timestamp() * 1000)  # type: ignore[arg-type, misc]  # year, month, day, hour, minute


def kept(timing: Timing, seen_ms: int) -> ScheduleEntry:
    return ScheduleEntry("acme", "sync", 1, timing.cron, timing.time_zone, timing.jitter_s, seen_ms)


def times(timing: Timing, from_ms: int, until_ms: int) -> list[int]:
    found, at_ms = [], next_after(timing, from_ms)
    while at_ms is not None and at_ms <= until_ms:
        found.append(at_ms)
        at_ms = next_after(timing, at_ms)
    return found


@given(timings, moments, st.lists(st.integers(1, 3 * HOUR_MS), max_size=30))
def test_every_look_deals_with_each_due_time_once(timing: Timing, from_ms: int, waits: list[int]) -> None:
    seen_ms = now_ms = from_ms
    dealt_with: list[int] = []
    for wait_ms in waits:
        now_ms += wait_ms
        found = judge(timing, kept(timing, seen_ms), now_ms)
        if isinstance(found, Moment):
            between = times(timing, seen_ms, now_ms)
            assert found.due_ms == between[-1]
            assert found.missed_since_ms == (between[0] if len(between) > 1 else 0)
            dealt_with += between
            seen_ms = found.due_ms
        assert judge(timing, kept(timing, seen_ms), now_ms) is None

    assert dealt_with == times(timing, from_ms, now_ms)


@given(timings, moments, st.integers(0, 40 * 24 * HOUR_MS))
def test_due_times_do_not_depend_on_where_one_begins_to_look(timing: Timing, from_ms: int, back_ms: int) -> None:
    earlier = next_after(timing, from_ms - back_ms)
    found = next_after(timing, from_ms)

    assert found is not None and found > from_ms
    assert newest_until(timing, from_ms - 1, found) == found
    if earlier is not None and earlier > from_ms:
        assert earlier == found


@given(timings, moments)
def test_due_times_show_what_the_expression_says_on_the_wall(timing: Timing, from_ms: int) -> None:
    """But right after an hour that was left out."""
    found = next_after(timing, from_ms)

    assert found is not None
    wall = datetime.fromtimestamp((found - timing.offset_ms) / 1000, ZoneInfo(timing.time_zone))
    minute, hour = timing.cron.split()[:2]
    on_time = _fits(minute, wall.minute) and _fits(hour, wall.hour)
    before = (wall.astimezone(UTC) - timedelta(minutes=1)).astimezone(wall.tzinfo)
    assert on_time or before.utcoffset() != wall.utcoffset()


def _fits(field: str, value: int) -> bool:
    base, _, step = field.partition("/")
    return value % int(step or 1) == 0 if base == "*" else str(value) in base.split(",")


def test_what_is_due_in_an_hour_that_is_left_out_begins_right_after_it_once() -> None:
    timing = Timing("15,45 2 * * *", "Europe/Berlin")

    found = times(timing, ms(2026, 3, 29), ms(2026, 3, 30))

    assert found == [ms(2026, 3, 29, 3, 0, zone="Europe/Berlin")]


def test_what_is_due_in_an_hour_that_comes_twice_begins_once() -> None:
    timing = Timing("15,45 2 * * *", "Europe/Berlin")
    first, second = ms(2026, 10, 25, 2, 15, zone="Europe/Berlin"), ms(2026, 10, 25, 2, 45, zone="Europe/Berlin")
    again = ms(2026, 10, 25, 2, 20, zone="Europe/Berlin", fold=1)

    assert times(timing, ms(2026, 10, 24, 12), ms(2026, 10, 25, 12)) == [first, second]
    assert next_after(timing, again) == ms(2026, 10, 26, 2, 15, zone="Europe/Berlin")


def test_every_quarter_of_an_hour_keeps_to_the_time_that_passes() -> None:
    timing = Timing("*/15 * * * *", "Europe/Berlin")

    found = times(timing, ms(2026, 10, 24, 22), ms(2026, 10, 25, 6))

    assert {later - sooner for sooner, later in pairwise(found)} == {15 * MINUTE_MS} and len(found) == 8 * 4


def test_schedule_that_is_new_or_changed_begins_nothing_that_was_due_before() -> None:
    old, new = Timing("0 2 * * *"), Timing("0 14 * * *")
    now_ms = ms(2026, 7, 1, 15)

    assert judge(new, None, now_ms) == Begin()
    assert judge(new, kept(old, ms(2026, 7, 1, 2)), now_ms) == Begin()
    assert judge(Timing("0 2 * * *", "Asia/Tokyo"), kept(old, ms(2026, 7, 1, 2)), now_ms) == Begin()
    assert judge(None, kept(old, ms(2026, 7, 1, 2)), now_ms) == Begin()
    assert judge(None, kept(Timing(""), 0), now_ms) is None


def test_year_of_absence_is_caught_up_once_and_fast() -> None:
    timing = Timing("* * * * *")

    found = judge(timing, kept(timing, ms(2025, 7, 1)), ms(2026, 7, 1, 0, 0))

    assert found == Moment(ms(2026, 7, 1), missed_since_ms=ms(2025, 7, 1, 0, 1))


def test_thousand_flows_of_one_schedule_are_spread_over_its_jitter() -> None:
    """Evenly: no second of the minute has more than three times its share."""
    offsets = [offset_ms(f"flow-{number}", 60) for number in range(1_000)]

    in_second = [sum(1 for one in offsets if one // 1000 == second) for second in range(61)]

    assert max(in_second) <= 50 and min(in_second[:60]) >= 1
    assert offsets == [offset_ms(f"flow-{number}", 60) for number in range(1_000)]


@pytest.mark.parametrize("jitter_s", [0, 1, 3600])
def test_jitter_stays_within_what_the_flow_says(jitter_s: int) -> None:
    assert all(0 <= offset_ms(f"flow-{number}", jitter_s) <= jitter_s * 1000 for number in range(200))
