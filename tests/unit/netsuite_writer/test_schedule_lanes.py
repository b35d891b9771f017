"""How long a live edit waits beside a long replay, turn by turn, on a clock of the test's own.

The rule (docs/configuration.md, MLC_TURNS_*): of 16 turns with work in every lane 12 are for live events, 3 for replays
and 1 for backfills. So the others take 4 turns in a row at most, and whoever waits behind n live events waits n * 16/12
turns more. The figures are written down here once more: what is measured must not be what it is measured against.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from ml_connector.common.generation import Generation
from ml_connector.common.wire import Lane
from ml_connector.netsuite_writer.schedule import Entry, Schedule

LIVE, REPLAY, ALL = 12, 3, 16
WAITING = 50_000
SLOTS, CALL_MS = 5, 400
TURN_MS = CALL_MS // SLOTS  # the slots come free one after the other
TURNS = 8_000  # so replays and backfills wait until the end


class Turn(NamedTuple):
    lane: Lane
    waited: int  # turns since it was accepted, its own included


def entry(lane: Lane, number: int) -> Entry:
    record = f"1/customer/{lane}-{number}"
    return Entry(record, record, Generation(1), record, "acme-eu", lane)


def full() -> Schedule:
    schedule = Schedule()
    for number in range(WAITING):
        schedule.accept(entry("replay", number))
    for number in range(TURNS // ALL * 4):
        schedule.accept(entry("backfill", number))
    return schedule


def turns(schedule: Schedule, *, burst: int, every: int) -> Iterator[Turn]:
    """All slots are always taken; `burst` live events come at once, every so many turns."""
    free_ms = [slot * TURN_MS for slot in range(SLOTS)]
    running: dict[int, Entry] = {}  # by when its slot comes free
    came: dict[str, int] = {}
    for turn in range(TURNS):
        now_ms = heapq.heappop(free_ms)
        if now_ms in running:
            schedule.done(running.pop(now_ms))
        for number in range(burst if turn % every == 0 else 0):
            edit = entry("live", turn * burst + number)
            came[edit.record] = turn
            schedule.accept(edit)
        found = schedule.next(now_ms / 1000)
        assert found is not None
        running[now_ms + CALL_MS] = found
        heapq.heappush(free_ms, now_ms + CALL_MS)
        yield Turn(found.lane, turn - came.get(found.record, 0) + 1)


@pytest.mark.parametrize(("burst", "every"), [(1, 3), (6, 12), (12, 16), (24, 32)])
def test_beside_a_long_replay_a_live_edit_waits_a_few_turns_and_the_replay_has_its_own(burst: int, every: int) -> None:
    """Up to 12 live events in 16 turns, which is their share of the account."""
    taken = list(turns(full(), burst=burst, every=every))

    live = [turn.waited for turn in taken if turn.lane == "live"]
    others_in_a_row = ALL - LIVE
    assert len(live) > TURNS * burst // every - burst
    assert max(live) <= others_in_a_row + burst * ALL // LIVE
    assert_not_starved(taken)


def test_more_live_edits_than_their_share_leave_the_replay_its_own() -> None:
    taken = list(turns(full(), burst=15, every=16))

    assert_not_starved(taken)


def assert_not_starved(taken: list[Turn]) -> None:
    """Its turns may be the first of one round and the last of the next one."""
    replays = [number for number, turn in enumerate(taken) if turn.lane == "replay"]
    assert len(replays) >= TURNS // ALL * REPLAY - REPLAY
    assert max(after - before for before, after in itertools.pairwise(replays)) <= 2 * (ALL - REPLAY) + 1
