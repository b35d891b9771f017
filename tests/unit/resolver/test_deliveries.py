"""Whether deliveries arrive, as a company's owner sees it: when trouble began, when it was over, and what is none."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest

from ml_connector.common.asking import Subscription
from ml_connector.common.clock import ManualClock
from ml_connector.common.deliveries import Deliveries
from ml_connector.common.directory import LiveFlow
from ml_connector.common.flows import parse_flow
from ml_connector.resolver.deliveries import DeliveryWatch, Found, judged, trouble_of
from ml_connector.resolver.message import Output
from ml_connector.resolver.plan import FlowPlan, compile_flow
from support.office import DOCUMENT

URL = "https://in.test/webhooks/pipedrive/acme"
FLOW = "acme"
MINUTE_MS = 60_000
SCHEDULE = {"sync": "*/15 * * * *"}


def hook(entity: str = "organization", **more: Any) -> Subscription:
    return Subscription(**{"id": 1, "entity": entity, "action": "*", "url": URL, "last_status": 204, **more})


@pytest.mark.parametrize(
    ("there", "trouble"),
    [
        pytest.param([hook()], "", id="one"),
        pytest.param([hook("*")], "", id="all"),
        pytest.param([hook(action=one) for one in ("create", "change", "delete")], "", id="three"),
        pytest.param([hook(last_delivery="2026-07-28 03:00:00")], "", id="delivered"),
        pytest.param([], "no active webhook leads every event of organization here", id="none"),
        pytest.param([hook(active=False)], "no active webhook", id="off"),
        pytest.param([hook("deal")], "no active webhook", id="other"),
        pytest.param([hook(url="https://in.test/webhooks/pipedrive/else")], "no active webhook", id="elsewhere"),
        pytest.param([hook(last_delivery="03:00", last_status=503)], "the last delivery, at 03:00, got 503", id="503"),
        pytest.param(
            [hook(last_delivery="03:00", last_status=0)], "the last delivery, at 03:00, got no answer", id="0"
        ),
    ],
)
def test_what_is_wrong_with_the_webhooks(there: list[Subscription], trouble: str) -> None:
    found = trouble_of(there, FLOW, ["organization"])

    assert found.trouble.startswith(trouble) and bool(found.trouble) == bool(trouble)
    assert found.failing is ("last delivery" in trouble)


def test_trouble_lasts_from_the_last_good_look_to_the_next_one() -> None:
    found = Deliveries(FLOW)
    for minute, trouble in ((10, ""), (20, ""), (30, "gone"), (40, "gone"), (50, ""), (60, "")):
        found = judged(found, Found(trouble), minute * MINUTE_MS)

    assert (found.bad_from_ms, found.bad_to_ms) == (20 * MINUTE_MS, 50 * MINUTE_MS)
    assert (found.well_ms, found.why) == (60 * MINUTE_MS, "gone")


def test_delivery_that_failed_may_be_followed_by_a_ban() -> None:
    well = judged(Deliveries(FLOW), Found(), 20 * MINUTE_MS)
    failing = judged(well, Found("got 503", failing=True), 30 * MINUTE_MS)

    found = judged(failing, Found(), 40 * MINUTE_MS)

    assert (found.bad_to_ms, found.failed_ms) == (40 * MINUTE_MS, 30 * MINUTE_MS)


def test_what_was_never_well_is_no_trouble() -> None:
    """A relay's webhooks lead to the relay; a flow whose webhooks are still to be installed has lost nothing yet."""
    found = judged(judged(Deliveries(FLOW), Found("gone"), MINUTE_MS), Found("gone"), 2 * MINUTE_MS)

    assert (found.bad_from_ms, found.why, found.looked_ms) == (0, "", 2 * MINUTE_MS)


class _Company:
    """What is kept, and how often the webhooks were listed."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.kept: dict[str, bytes] = {}
        self.listed = 0
        document = {**DOCUMENT, "flow": FLOW}
        plan = compile_flow(parse_flow(document), 1)
        live = LiveFlow(parse_flow(document), 1, paused=False)
        self.watch = DeliveryWatch(
            lambda: iter([live]), lambda _: plan, self, self.kept.get, self._keep, self.clock, look_s=900
        )
        self.watch.own(lambda _: True)

    def client(self, _: Any) -> Any:
        return self

    async def look(self, path: str, *, tokens: int) -> httpx2.Response:
        self.listed += 1
        row = {"id": 1, "event_object": "*", "event_action": "*", "subscription_url": URL, "is_active": 1}
        return httpx2.Response(200, json={"success": True, "data": [row]})

    async def _keep(self, outputs: Any) -> None:
        for output in outputs:
            assert isinstance(output, Output) and output.value is not None
            self.kept[output.key.decode()] = output.value

    @property
    def found(self) -> Deliveries:
        return Deliveries.decode(self.kept["acme-eu/deliveries/acme"])


async def test_webhooks_are_listed_rarely_and_again_by_the_next_owner_only_when_due() -> None:
    company = _Company()
    for _ in range(100):
        company.clock.advance(5)
        await company.watch.look()
    assert company.listed == 1

    company.watch.own(lambda _: True)
    await company.watch.look()
    company.clock.advance(900)
    await company.watch.look()

    assert company.listed == 2 and company.found.well_ms == company.clock.now_ms()


async def test_events_that_came_at_a_second_try_are_told_as_one_episode_until_an_hour_is_quiet() -> None:
    company = _Company()
    began_ms = company.clock.now_ms()
    company.watch.retried(FLOW, began_ms - 3_000)
    await company.watch.look()
    company.clock.advance(600)
    company.watch.retried(FLOW, company.clock.now_ms() - 30_000)
    await company.watch.look()
    first = company.found

    company.clock.advance(2 * 3_600)
    company.watch.retried(FLOW, company.clock.now_ms() - 3_000)
    await company.watch.look()

    """From one look's distance before the first of them: for longer than that a look would have shown it."""
    assert (first.retried_from_ms, first.retried_to_ms) == (began_ms - 903_000, began_ms + 600_000)
    assert company.found.retried_from_ms == company.clock.now_ms() - 903_000


async def test_of_a_company_of_somebody_else_nothing_is_asked() -> None:
    company = _Company()
    company.watch.own(lambda _: False)

    await company.watch.look()

    assert not company.listed and not company.kept


async def test_company_that_does_not_answer_holds_up_no_other() -> None:
    """Thousands of companies, one after the other, would take longer than a ban lasts."""
    companies = _Companies(3)

    looking = asyncio.create_task(companies.watch.look())
    async with asyncio.timeout(10):
        await companies.all_asked.wait()

    assert not looking.done() and len(companies.listed) == 3
    looking.cancel()


async def test_flow_of_which_nothing_is_due_is_not_compiled() -> None:
    """Compiling all at once would hold up the events."""
    companies = _Companies(3, events="none")

    await companies.watch.look()

    assert (companies.compiled, companies.listed) == ([], [])


class _Companies:
    """Each has a flow; none of them answers."""

    def __init__(self, count: int, **side: Any) -> None:
        self.compiled: list[str] = []
        self.listed: list[str] = []
        self.all_asked = asyncio.Event()
        documents = [
            {**DOCUMENT, "flow": f"f{number}", "pipedrive": {"company": f"c{number}", **side}, "schedule": SCHEDULE}
            for number in range(count)
        ]
        self._live = {one["flow"]: LiveFlow(parse_flow(one), 1, paused=False) for one in documents}
        self.watch = DeliveryWatch(
            lambda: iter(self._live.values()),
            self._plan,
            self,
            lambda _: None,
            _keep_nothing,
            ManualClock(),
            look_s=900,
        )
        self.watch.own(lambda _: True)

    def _plan(self, name: str) -> FlowPlan:
        self.compiled.append(name)
        return compile_flow(self._live[name].flow, 1)

    def client(self, plan: FlowPlan) -> Any:
        self.listed.append(plan.company)
        return self

    async def look(self, path: str, *, tokens: int) -> httpx2.Response:
        if len(self.listed) == len(self._live):
            self.all_asked.set()
        await asyncio.Event().wait()
        raise AssertionError


async def _keep_nothing(_: Any) -> None:
    """Nothing is there to keep."""
