"""When a company is left alone, and for how long: answers told apart, breaker, token budget, limits of its flows."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyrate_limiter import Rate, RateItem

from ml_connector.common.clock import ManualClock
from ml_connector.common.directory import Directory
from ml_connector.common.flows import parse_flow
from ml_connector.common.vault import SecretEntry
from ml_connector.resolver.pipedrive.breaker import Breaker
from ml_connector.resolver.pipedrive.budget import HOUR_MS, Budget
from ml_connector.resolver.pipedrive.clients import POOLS, UNLIMITED, PipedriveClients
from ml_connector.resolver.pipedrive.trouble import trouble
from ml_connector.resolver.pipedrive.window import WINDOW_MS, Window
from ml_connector.resolver.plan import UNAPPLIED, FlowPlan, compile_flow
from ml_connector.resolver.resolve import Book
from ml_connector.resolver.settings import ResolverSettings
from support.state_topic import StateTopic

JSON = {"content-type": "application/json"}
DAY_MS = 24 * HOUR_MS


@pytest.mark.parametrize(
    ("status", "headers", "reason", "pause_s", "outage"),
    [
        (429, {**JSON, "x-ratelimit-remaining": "0", "x-ratelimit-reset": "2"}, "burst", 2.0, False),
        (429, {**JSON, "x-ratelimit-remaining": "0"}, "burst", 2.0, False),
        (429, {**JSON, "x-ratelimit-remaining": "17", "x-ratelimit-reset": "2"}, "daily", 900.0, False),
        (429, JSON, "daily", 900.0, False),
        (429, {**JSON, "retry-after": "30"}, "daily", 30.0, False),
        (429, {**JSON, "retry-after": "86400"}, "daily", 900.0, False),
        (429, {**JSON, "x-ratelimit-remaining": "0", "x-ratelimit-reset": "soon"}, "burst", 2.0, False),
        (403, {"content-type": "text/html; charset=UTF-8"}, "banned", 300.0, True),
        (403, JSON, "may not read", 60.0, True),
        (401, JSON, "credential", 60.0, True),
        (402, JSON, "closed", 60.0, True),
        (500, JSON, "500", 0.0, True),
        (301, {}, "301", 0.0, True),
    ],
)
def test_answers_told_apart(status: int, headers: Mapping[str, str], reason: str, pause_s: float, outage: bool) -> None:
    """facts/pipedrive.md section 10."""
    found = trouble(status, headers)

    assert reason in found.reason
    assert (found.pause_s, found.outage) == (pause_s, outage)


@given(
    st.integers(100, 2_000),
    st.lists(st.tuples(st.integers(0, 6 * HOUR_MS), st.sampled_from([1, 5, 10])), min_size=1, max_size=200),
    st.integers(0, DAY_MS),
)
def test_no_calendar_day_of_any_time_zone_goes_over_the_budget(
    limit: int, requests: list[tuple[int, int]], midnight_ms: int
) -> None:
    budget, now_ms = Budget(), 400 * DAY_MS
    by_day: dict[int, int] = {}
    for pause_ms, tokens in requests:
        now_ms += pause_ms
        if budget.wait_s(tokens, limit, now_ms) == 0:
            budget.spend(tokens, now_ms)
            day = (now_ms - midnight_ms) // DAY_MS
            by_day[day] = by_day.get(day, 0) + tokens

    assert max(by_day.values(), default=0) <= limit


@given(st.lists(st.integers(0, 40 * HOUR_MS), min_size=1, max_size=30), st.integers(100, 300))
def test_after_the_wait_the_tokens_are_there(moments: list[int], limit: int) -> None:
    budget = Budget()
    for now_ms in sorted(moments):
        wait_s = budget.wait_s(50, limit, now_ms)
        assert wait_s <= 25 * 3600
        if wait_s:
            assert budget.wait_s(50, limit, now_ms + round(wait_s * 1000)) == 0
        else:
            budget.spend(50, now_ms)


def test_restart_takes_the_budget_over() -> None:
    budget = Budget()
    budget.spend(90, DAY_MS)

    again = Budget(budget.by_hour)

    assert again.wait_s(20, 100, DAY_MS) > 0 == again.wait_s(10, 100, DAY_MS)


def breaker() -> Breaker:
    return Breaker(first_s=5, longest_s=300, chance=random.Random(1))


def test_one_probe_decides() -> None:
    one = breaker()
    pause_s = one.failed(0.0, "down")

    assert one.wait_s(pause_s - 0.01) > 0
    assert one.wait_s(pause_s) == 0
    one.begin()
    assert one.wait_s(pause_s) > 0, "a second call while the probe is under way"
    one.succeeded()
    assert one.wait_s(pause_s) == 0


@given(st.integers(1, 40))
def test_pauses_double_up_to_the_longest_with_jitter(failures: int) -> None:
    one, now_s = breaker(), 0.0
    for number in range(failures):
        longer_s = min(300, 5 * 2 ** min(number, 16))
        pause_s = one.failed(now_s, "down")
        assert longer_s / 2 <= pause_s <= longer_s
        now_s += pause_s


def test_what_pipedrive_asks_for_is_waited_and_is_no_outage() -> None:
    one = breaker()

    for _ in range(5):
        assert 2.0 <= one.failed(100.0, "burst", pause_s=2.0, outage=False) <= 2.2
    assert one.failed(200.0, "down") <= 5


# -- limits ------------------------------------------------------------------------------------------------------------


def plan(version: int, flow: str = "acme-eu", **side: Any) -> FlowPlan:
    document = {
        "flow": flow, "environment": "sandbox", "pipedrive": {"company": "acme", **side},
        "netsuite": {"account": "1234567_SB1"}, "external_ids": "pd",
        "entities": {"organization": {"record": "customer", "fields": {"companyName": "data.name"}}},
    }  # fmt: skip
    return compile_flow(parse_flow(document), version)


@pytest.fixture
def clients() -> PipedriveClients:
    async def keep(_: SecretEntry) -> None:
        raise AssertionError("nobody logs in")

    settings = ResolverSettings.load(kafka_bootstrap_servers="nowhere:1")
    clock = ManualClock()
    return PipedriveClients(
        settings,
        cast(Directory, None),
        Book(lambda _: None),
        clock,
        keep=keep,
        standing=lambda company: StateTopic().standing(company, clock),
    )


@pytest.mark.parametrize("flow", ["acme-eu", "acme-us"])
def test_a_document_that_is_only_asked_about_leaves_the_limits_as_they_are(
    clients: PipedriveClients, flow: str
) -> None:
    live = plan(1, limits={"burst": 20})
    before = clients.client(live).limits

    asked = clients.client(plan(UNAPPLIED, flow, limits={"burst": 3, "daily_tokens": 1000, "reserve": 0.5}))

    assert asked.limits == before == live.flow.pipedrive.limits
    assert clients.client(live).limits == before


def test_the_strictest_limits_of_a_companys_flows_hold_for_each_of_its_addresses(clients: PipedriveClients) -> None:
    first, second = plan(1, limits={"burst": 20}), plan(1, "acme-us", limits={"burst": 5}, base_url="https://a.test")
    clients.client(first)
    clients.client(second)

    assert clients.client(first).limits.burst == clients.client(second).limits.burst == 5


def test_a_company_takes_no_thread(clients: PipedriveClients) -> None:
    """Nor do new limits: thousands of threads, each with an event loop, would be more than a process may have."""
    before = threading.active_count()

    for number in range(20):
        clients.client(plan(1, f"flow-{number}", company=f"company-{number}"))
        clients.client(plan(2, f"flow-{number}", company=f"company-{number}", limits={"burst": 3}))

    assert threading.active_count() == before


def test_companies_are_spread_over_pools(clients: PipedriveClients) -> None:
    """For each request httpcore looks at every idle connection of its pool."""
    sharing = Counter(
        clients.client(plan(1, f"flow-{number}", company=f"company-{number}"))._http for number in range(320)
    )
    again = clients.client(plan(1, "other", company="company-1", base_url="https://a.test"))

    assert len(sharing) == POOLS and max(sharing.values()) < 320 / POOLS * 3
    assert again._http in sharing and UNLIMITED.max_keepalive_connections == 8


@given(st.lists(st.integers(0, 3 * WINDOW_MS), min_size=1, max_size=100))
def test_window_grants_so_many_and_remembers_no_more(pauses_ms: list[int]) -> None:
    window, now_ms = Window([Rate(5, WINDOW_MS)]), 0
    granted: list[int] = []
    for pause_ms in pauses_ms:
        now_ms += pause_ms
        if window.put(RateItem("", now_ms)):
            granted.append(now_ms)
        else:
            assert sum(at_ms >= now_ms - WINDOW_MS for at_ms in granted) == 5
        assert sum(at_ms > now_ms - WINDOW_MS for at_ms in granted) <= 5
        assert window.count() <= 5
