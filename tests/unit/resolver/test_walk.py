"""What follows from one page of a walk, and what somebody wants of it."""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_connector.common.errors import Malformed
from ml_connector.common.syncing import MAX_IDS, SyncControl, SyncPage, SyncState
from ml_connector.resolver import walk
from ml_connector.resolver.walk import Found


def page(**more: Any) -> SyncPage:
    return SyncPage(**{"job_id": "j1", "flow": "acme", "entity": "organization", "at_ms": 1, **more})


def running(of: SyncPage) -> SyncState:
    return walk.begun(of, now_ms=5)


def control(to: Literal["running", "paused", "cancelled", "forgotten"], **more: Any) -> SyncControl:
    return SyncControl(job_id="j1", flow="acme", entity="organization", to=to, at_ms=9, **more)


def test_page_is_due_once() -> None:
    first = page()
    state = walk.advanced(running(first), first, Found(cursor="c"), 6)

    assert walk.is_due(first, None)
    assert not walk.is_due(first, state)
    assert state.next is not None
    assert walk.is_due(state.next, state)


def test_later_page_than_is_known_of_is_due() -> None:
    """It was asked for by somebody who had written all that came before, and died before the state said so."""
    assert walk.is_due(page(page=3), running(page(page=2)))


def test_later_page_of_a_walk_that_is_not_known_is_left_alone() -> None:
    assert not walk.is_due(page(page=2), None)


@pytest.mark.parametrize("to", ["paused", "cancelled"])
def test_nothing_is_due_while_it_does_not_run(to: Literal["paused", "cancelled"]) -> None:
    assert not walk.is_due(page(), walk.controlled(running(page()), control(to), 7))


def test_deals_have_two_lists_that_show_deleted_ones() -> None:
    first = page(entity="deal")
    archived = walk.advanced(running(first), first, Found(), 6).next
    assert archived is not None
    last = walk.advanced(running(archived), archived, Found(), 7)

    assert walk.query_of(first)[0] == "/api/v2/deals"
    assert walk.query_of(first)[1]["status"] == "open,won,lost,deleted"
    assert (walk.query_of(archived)[0], walk.query_of(archived)[2]) == ("/api/v2/deals/archived", 20)
    assert (last.state, last.next) == ("done", None)


def test_query_names_what_was_asked_for_and_the_order() -> None:
    asked = page(updated_since="2026-11-20T00:00:00Z", cursor="c")

    assert walk.query_of(asked) == (
        "/api/v2/organizations",
        {
            "limit": 500,
            "sort_by": "id",
            "sort_direction": "asc",
            "updated_since": "2026-11-20T00:00:00Z",
            "cursor": "c",
        },
        10,
    )


@given(st.integers(1, 950))
def test_chosen_ids_are_asked_for_a_hundred_at_a_time(count: int) -> None:
    following: SyncPage | None = page(ids=tuple(str(number) for number in range(1, count + 1)))
    asked: list[str] = []
    while following is not None:
        asked += str(walk.query_of(following)[1]["ids"]).split(",")
        following = walk.advanced(running(following), following, Found(), 6).next

    assert asked == [str(number) for number in range(1, count + 1)]


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), min_size=1, max_size=8))
def test_progress_is_the_sum_of_the_pages(counts: list[tuple[int, int]]) -> None:
    following = page()
    for number, (desired, rejected) in enumerate(counts):
        found = Found(
            f"c{number}", read=desired + rejected, desired=desired, tokens=10, faults=Counter({"x": rejected})
        )
        state = walk.advanced(running(following), following, found, 6)
        assert state.next is not None
        following = state.next

    told = following.progress
    assert told.read == told.desired + told.rejected == sum(map(sum, counts))
    assert (told.pages, told.tokens) == (len(counts), 10 * len(counts))
    assert following.page == len(counts) + 1


def test_it_stops_after_so_many_rejected_ones_and_says_why() -> None:
    asked = page(stop_after=3)
    found = Found("c", read=5, desired=1, faults=Counter({"no stage": 3, "no name": 1}))

    state = walk.advanced(running(asked), asked, found, 6)
    again = walk.controlled(state, control("running"), 7)

    assert state.state == "paused"
    assert "4 objects were rejected, most of them so: no stage" in state.reason
    assert again.next is not None
    assert (again.state, again.next.rejected_before, again.next.cursor) == ("running", 4, "c")
    one_more = walk.advanced(again, again.next, Found("d", read=1, faults=Counter({"no name": 1})), 8)
    assert one_more.state == "running"


def test_only_the_most_frequent_faults_are_named_and_all_are_counted() -> None:
    found = Found(read=30, faults=Counter({f"fault {number}": number for number in range(1, 20)}))

    told = walk.advanced(running(page()), page(), found, 6).progress

    assert (told.rejected, len(told.faults), told.faults["fault 19"]) == (190, walk.MAX_FAULTS, 19)


def test_refused_cursor_begins_again_and_fails_in_the_end() -> None:
    following, states, first = page(page=7, cursor="c"), [], page()
    for _ in range(walk.MAX_RESTARTS + 1):
        state = walk.cursor_refused(running(following), following, 10, 6)
        states.append(state.state)
        first = state.next or first
        following = walk.advanced(state, first, Found("d", read=500, tokens=10), 7).next or following

    assert states == ["running"] * walk.MAX_RESTARTS + ["failed"]
    assert (first.cursor, first.progress.restarts) == ("", 0)
    assert first.page > 7


def test_cursor_that_leads_nowhere_does_not_cost_a_day_of_tokens() -> None:
    asked = page(page=3, cursor="c")

    state = walk.advanced(running(asked), asked, Found("c", read=500, tokens=10), 6)

    assert state.state == "failed"
    assert "own cursor" in state.reason


def test_what_has_ended_stays_so() -> None:
    done = walk.advanced(running(page()), page(), Found(), 6)

    assert walk.controlled(done, control("running"), 7) == done
    assert walk.controlled(done, control("paused"), 7) == done


def test_failed_one_goes_on_when_somebody_wants_that() -> None:
    failed = walk.failed(running(page()), page(page=4), "no flow", 6)

    again = walk.controlled(failed, control("running"), 7)

    assert (again.state, again.reason) == ("running", "")
    assert again.next is not None
    assert again.next.page == 4


@pytest.mark.parametrize(
    "wrong",
    [
        {"job_id": "a/b"},
        {"job_id": ""},
        {"page": 0},
        {"token_share": 0.0},
        {"token_share": 1.5},
        {"ids": ("0",)},
        {"ids": ("x",)},
        {"ids": ("1",) * (MAX_IDS + 1)},
    ],
)
def test_what_cannot_be_walked_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        walk.refuse_unfit(page(**wrong))
