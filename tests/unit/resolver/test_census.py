"""The ids of one page, for whoever looks for what is gone: nothing deleted, no more tokens than allowed, always an answer."""

from __future__ import annotations

import random
from typing import Any

import httpx2
import pytest

from ml_connector.common.asking import ListedIds, ListIds
from ml_connector.common.clock import ManualClock
from ml_connector.common.credentials import ApiToken
from ml_connector.common.flows import PipedriveLimits, parse_flow
from ml_connector.resolver.census import list_ids
from ml_connector.resolver.pipedrive.breaker import Breaker
from ml_connector.resolver.pipedrive.budget import Budget
from ml_connector.resolver.pipedrive.client import PipedriveClient
from ml_connector.resolver.pipedrive.login import TokenLogin
from ml_connector.resolver.plan import compile_flow
from support.office import DOCUMENT
from support.state_topic import StateTopic

ROWS = [{"id": 3, "name": "Three"}, {"id": 5, "is_deleted": True}, {"id": 9, "is_deleted": False}]
BODY: dict[str, Any] = {"success": True, "data": ROWS, "additional_data": {"next_cursor": "c2"}}


class Vendor:
    def __init__(self, answer: httpx2.Response) -> None:
        self.answer = answer
        self.asked: list[httpx2.URL] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(request.url)
        return self.answer


async def ask(vendor: Vendor, asked: ListIds, *, spent: int = 0) -> ListedIds:
    clock, budget = ManualClock(), Budget()
    budget.spend(spent, clock.now_ms())
    async with httpx2.AsyncClient(transport=httpx2.MockTransport(vendor)) as http:
        client = PipedriveClient(
            http, TokenLogin("https://acme.pipedrive.test", lambda: ApiToken(token="t")),
            breaker=Breaker(first_s=60, longest_s=300, chance=random.Random(1)), budget=budget,
            limits=PipedriveLimits(), standing=StateTopic().standing("acme", clock), clock=clock,
        )  # fmt: skip
        return await list_ids(asked, compile_flow(parse_flow(DOCUMENT), 1), client, clock)


async def test_page_is_its_living_ids_and_the_cursor_of_the_next_one() -> None:
    vendor = Vendor(httpx2.Response(200, json=BODY))

    found = await ask(vendor, ListIds("f", "deal", "archived", "c1"))

    assert found == ListedIds(("3", "9"), "c2", 20)
    (url,) = vendor.asked
    assert url.path == "/api/v2/deals/archived"
    assert dict(url.params) == {
        "limit": "500", "sort_by": "id", "sort_direction": "asc", "cursor": "c1", "status": "open,won,lost",
    }  # fmt: skip


async def test_spent_tokens_are_waited_for_without_a_call() -> None:
    vendor = Vendor(httpx2.Response(200, json=BODY))

    found = await ask(vendor, ListIds("f", "organization"), spent=12_000)

    assert found.wait_s > 0 and "12000 tokens" in found.refused and not vendor.asked


@pytest.mark.parametrize(("status", "waits"), [(503, True), (404, False)])
async def test_what_fails_is_told_as_to_be_waited_for_or_not(status: int, waits: bool) -> None:
    found = await ask(Vendor(httpx2.Response(status, json={"success": False})), ListIds("f", "organization"))

    assert found.refused and bool(found.wait_s) is waits and not found.ids


async def test_unknown_flow_is_refused() -> None:
    assert (await list_ids(ListIds("f", "person"), None, None, ManualClock())).refused
