"""What a sync is asked for, and what it is said to cost before it begins."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ml_connector.admin.sync.ask import Asked, Scope, scope_of
from ml_connector.admin.sync.cost import Known, Plan, Terms, plan_of
from ml_connector.common.errors import BadInput
from ml_connector.common.flows import Flow, parse_flow

NOW_MS = 1_785_207_600_000  # 2026-07-28T03:00:00Z
HOUR_MS = 3_600_000
FULL = Asked("acme-eu", "full")


def flow(*entities: str, match: bool = False, netsuite: Any = None, **limits: Any) -> Flow:
    types = {"organization": "customer", "person": "contact", "deal": "opportunity"}
    fields = {"organization": "companyName", "person": "lastName", "deal": "title"}
    mappings: dict[str, Any] = {
        one: {"record": types[one], "fields": {fields[one]: "data.name"}} for one in entities or types
    }
    if match:
        mappings["organization"]["match"] = ["companyName"]
    return parse_flow(
        {
            "flow": "acme-eu",
            "environment": "sandbox",
            "pipedrive": {"company": "acme", "limits": limits},
            "netsuite": {"account": "1234567_SB1", **(netsuite or {})},
            "external_ids": "pd",
            "entities": mappings,
        }
    )


def scope(asked: Asked, *entities: str) -> Scope:
    return scope_of(asked, flow(*entities), NOW_MS)


def test_parents_come_first_however_they_are_asked_for() -> None:
    assert scope(FULL).entities == ("organization", "person", "deal")
    assert scope(replace(FULL, entities=("deal", "organization"))).entities == ("organization", "deal")


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("2h", NOW_MS - 2 * HOUR_MS),
        ("2026-07-28T01:00:00Z", NOW_MS - 2 * HOUR_MS),
        ("2026-07-28T01:00:00", NOW_MS - 2 * HOUR_MS),
        ("2026-07-28T03:00:00+02:00", NOW_MS - 2 * HOUR_MS),
    ],
)
def test_times_as_people_write_them(text: str, ms: int) -> None:
    assert scope(Asked("acme-eu", "since", since=text)).since_ms == ms


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        (Asked("f", "since"), "since: say from when"),
        (Asked("f", "since", since="yesterday"), "since: no time"),
        (Asked("f", "since", since="2026-07-28T03:00:01Z"), "since: 2026-07-28T03:00:01Z is in the future"),
        (Asked("f", "since", since="2h", until="3h"), "until: 2026-07-28T00:00:00Z is not after since"),
        (Asked("f", "since", since="2h", until="2h"), "is not after since"),
        (Asked("f", "since", since="9" * 6 + "w"), "since: before 1970"),
        (Asked("f", "full", since="2h"), "since: goes with mode since only, and mode is full"),
        (Asked("f", "full", ids=("1",)), "ids: goes with mode ids only"),
        (Asked("f", "full", entities=("deal",)), "does not map deals, only organization, person"),
        (Asked("f", "ids", ids=("1",)), "ids are of one entity; say which of organization, person"),
        (Asked("f", "ids", entities=("person",)), "ids: say which"),
        (Asked("f", "ids", entities=("person",), ids=("1", "x")), "ids.1: not an id"),
        (
            Asked("f", "ids", entities=("person",), ids=tuple(map(str, range(1, 10_002)))),
            "10001 are too many, at most 10000",
        ),
    ],
)
def test_what_cannot_be_walked_is_refused_with_the_place(asked: Asked, problem: str) -> None:
    with pytest.raises(BadInput) as raised:
        scope(asked, "organization", "person")

    assert problem in str(raised.value)


def test_an_id_that_is_given_twice_is_read_once() -> None:
    asked = Asked("f", "ids", entities=("person",), ids=("7", "007", "8"))

    assert scope(asked).ids == ("7", "8")


# -- costs -------------------------------------------------------------------------------------------------------------


def plan(asked: Asked, of: Flow, known: dict[Any, Known], terms: Terms | None = None) -> Plan:
    return plan_of(scope_of(asked, of, NOW_MS), of, known, terms or Terms())


def test_full_sync_costs_a_page_for_each_500_known_records() -> None:
    found = plan(FULL, flow(), {"organization": Known(1_001, 1_000), "deal": Known(500, 500)})

    costs = {one.entity: (one.bound, one.objects, one.calls, one.tokens) for one in found.entities}
    assert costs == {
        "organization": ("at_least", 1_001, 3, 30),
        "person": ("at_least", 0, 1, 10),  # at least one look
        "deal": ("at_least", 500, 2, 30),  # archived deals have a list of their own, which costs twice as much
    }
    assert found.tokens == 70
    assert [(one.netsuite_requests, one.unchanged) for one in found.entities] == [(1_001, 1_000), (0, 0), (500, 500)]


def test_what_the_last_full_sync_read_counts_where_it_was_more() -> None:
    """Some of it was rejected, or is no record: it will be read again all the same."""
    known = {"organization": Known(900, 900, seen=1_200)}

    (full,) = plan(FULL, flow("organization"), known).entities
    (since,) = plan(Asked("f", "since", since="2h"), flow("organization"), known).entities

    assert (full.objects, full.calls, full.unchanged) == (1_200, 3, 900)
    assert (since.objects, since.calls) == (900, 2)


def test_by_force_everything_is_written() -> None:
    (cost,) = plan(FULL, flow("organization"), {"organization": Known(10, 10)}, Terms(force=True)).entities

    assert (cost.netsuite_requests, cost.unchanged) == (10, 0)


def test_ids_cost_at_most_a_list_for_each_100_and_each_once_more() -> None:
    asked = Asked("f", "ids", entities=("organization",), ids=tuple(map(str, range(1, 151))))
    (cost,) = plan(asked, flow(match=True), {"organization": Known(100, 90)}).entities

    assert (cost.bound, cost.objects, cost.calls, cost.tokens) == ("at_most", 150, 2 + 150, 20 + 150)
    assert (cost.netsuite_requests, cost.unchanged) == (150 + 50, 90)  # fifty are searched for before they are written


def test_time_is_that_of_the_slower_side() -> None:
    of = flow("organization", netsuite={"concurrency": 10, "reserve": 5})
    known = {"organization": Known(5_000, 4_000, took_ms=2_000, samples=50)}

    found = plan(FULL, of, known)

    assert found.seconds == 1_000 * 2 / 5  # of 1,000 that may have changed
    assert found.seconds_at_most == 5_000 * 2 / 5
    assert "2000 ms a organization (median of 50 writes), 5 at a time" in found.rests_on[2]
    assert plan(FULL, of, {"organization": Known(5_000, 5_000)}).seconds == 10  # ten pages of one second


def test_what_the_daily_budget_does_not_pay_waits_for_days_and_says_so() -> None:
    of = flow("organization", daily_tokens=1_000, reserve=0.2)
    found = plan(FULL, of, {"organization": Known(50_000, 50_000)}, Terms(token_share=0.5))

    assert (found.tokens, found.tokens_a_day) == (1_000, 400)
    assert found.seconds == 2 * 86_400 + 100
    assert found.warnings == ("it needs 1000 tokens and may spend 400 a day: it ends on day 3; a larger share helps",)


def test_budget_that_pays_for_no_page_is_refused() -> None:
    with pytest.raises(BadInput, match="syncs could spend 8 tokens a day, and a page costs 10"):
        plan(FULL, flow("organization", daily_tokens=100), {}, Terms(token_share=0.1))
    with pytest.raises(BadInput, match="syncs could spend 16 tokens a day, and a page costs 20"):
        plan(FULL, flow("deal", daily_tokens=100), {}, Terms(token_share=0.2))


def test_what_stands_in_the_way_is_said_before_it_starts() -> None:
    found = plan(FULL, flow(), {}, Terms(paused=True, stops=["company acme is suspended (the grant was revoked)"]))

    assert "`mlc flows resume acme-eu`" in found.warnings[0]
    assert "company acme is suspended (the grant was revoked)" in found.warnings[1]
