"""What a person is told of the Pipedrive side of a flow, by what Pipedrive answers."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from email.utils import formatdate
from typing import Any

import httpcore2
import httpx2
import pytest
import pytest_asyncio

from ml_connector.common import headers as h
from ml_connector.common import topics
from ml_connector.common.asking import Check, Checked, Finding
from ml_connector.common.clock import ManualClock
from ml_connector.common.credentials import ApiToken, BasicKey
from ml_connector.common.errors import AddressRefused, SecretUnreadable, TryLater, VendorUnavailable
from ml_connector.common.flows import PipedriveLimits, parse_flow
from ml_connector.resolver import check as checking
from ml_connector.resolver.check import check
from ml_connector.resolver.checks import Checks, asks_for_check
from ml_connector.resolver.message import Message, Output
from ml_connector.resolver.pipedrive.breaker import Breaker
from ml_connector.resolver.pipedrive.budget import Budget
from ml_connector.resolver.pipedrive.client import PipedriveClient
from ml_connector.resolver.pipedrive.grant import REVOKED, GrantRevoked
from ml_connector.resolver.pipedrive.login import TokenLogin
from ml_connector.resolver.plan import FlowPlan, compile_flow
from support.state_topic import StateTopic

NOW_MS = 1_795_168_860_000
TOKEN = "s3cret-token"
ORDER = (
    "credentials", "address", "authentication", "company", "fields", "stages", "clock", "budget", "webhook",
)  # fmt: skip


def document() -> dict[str, Any]:
    return {
        "flow": "acme-eu", "environment": "sandbox", "pipedrive": {"company": "acme", "company_id": "7"},
        "netsuite": {"account": "1234567_SB1"}, "external_ids": "pd",
        "stages": {"Sales/Won": "13", "2": "10"},
        "entities": {
            "organization": {
                "record": "customer", "fields": {"companyName": "data.name", "comments": 'custom["Billing email"]'},
            },
            "deal": {"record": "opportunity", "fields": {"title": "data.title", "entityStatus": "stage_status"}},
        },
    }  # fmt: skip


class Acme:
    """A company whose answers a test may replace, by the end of their path."""

    def __init__(self) -> None:
        self.clock = ManualClock(NOW_MS)
        self.state = StateTopic()
        self.breaker = Breaker(first_s=60, longest_s=300, chance=random.Random(1))
        self.budget = Budget()
        self.plan: FlowPlan | None = compile_flow(parse_flow(document()), 1)
        self.unreadable = ""
        self.trouble: TryLater | None = None
        self.asked: list[str] = []
        self.headers = {"date": formatdate(NOW_MS / 1000, usegmt=True)}
        self.user: dict[str, Any] = {"company_id": 7, "company_domain": "acme", "is_admin": 1}
        self.answers: dict[str, Callable[[], httpx2.Response]] = {}
        self.data: dict[str, Any] = {
            "me": self.user,
            "organizationFields": [
                {"field_code": "a" * 40, "field_name": "Billing email", "field_type": "varchar", "is_custom_field": True}
            ],
            "pipelines": [{"id": 1, "name": "Sales"}],
            "stages": [{"id": 1, "name": "Won", "pipeline_id": 1}, {"id": 2, "name": "Talk", "pipeline_id": 1}],
            "webhooks": [
                {"subscription_url": "https://in.test/webhooks/pipedrive/acme-eu", "event_action": "*",
                 "event_object": entity, "is_active": 1, "last_http_status": 200}
                for entity in ("organization", "deal")
            ],
        }  # fmt: skip

    def open(self) -> ApiToken:
        if self.unreadable:
            raise SecretUnreadable(self.unreadable)
        if self.trouble is not None:
            raise self.trouble
        return ApiToken(token=TOKEN)

    def answer(self, request: httpx2.Request) -> httpx2.Response:
        name = request.url.path.rpartition("/")[2]
        self.asked.append(name)
        if name in self.answers:
            return self.answers[name]()
        return httpx2.Response(200, json={"success": True, "data": self.data[name]}, headers=self.headers)

    def by_oauth(self) -> None:
        given = document()
        given["pipedrive"]["auth"] = "oauth2"
        self.plan = compile_flow(parse_flow(given), 1)

    def client(self, plan: FlowPlan) -> PipedriveClient:
        assert plan is self.plan
        return self._client

    def basic(self, plan: FlowPlan) -> BasicKey:
        raise AssertionError("a check needs no password")

    def over(self, http: httpx2.AsyncClient) -> Acme:
        self._client = PipedriveClient(
            http, TokenLogin("https://acme.pipedrive.test", self.open), breaker=self.breaker,
            budget=self.budget, limits=PipedriveLimits(), standing=self.state.standing("acme", self.clock),
            clock=self.clock,
        )  # fmt: skip
        return self

    async def findings(self) -> dict[str, Finding]:
        found = (await check("acme-eu", self.plan, self, self.clock)).findings
        assert TOKEN not in repr(found)
        return {one.check.removeprefix("pipedrive."): one for one in found}

    async def results(self) -> dict[str, str]:
        """Of what is not ok."""
        return {name: one.result for name, one in (await self.findings()).items() if one.result != "ok"}


@pytest_asyncio.fixture
async def acme() -> AsyncIterator[Acme]:
    one = Acme()
    async with httpx2.AsyncClient(transport=httpx2.MockTransport(one.answer)) as http:
        yield one.over(http)


async def test_all_is_well(acme: Acme) -> None:
    found = await acme.findings()

    assert tuple(found) == ORDER
    assert {one.result for one in found.values()} == {"ok"}, found
    assert PipedriveLimits().daily_spendable - acme.budget.left(PipedriveLimits().daily_spendable, NOW_MS) == 50


async def test_stages_are_not_asked_for_unless_deals_are_mapped(acme: Acme) -> None:
    given = document()
    del given["entities"]["deal"]
    acme.plan = compile_flow(parse_flow(given), 1)

    assert "stages" not in await acme.findings()
    assert "stages" not in acme.asked


async def test_unknown_flow_asks_nobody(acme: Acme) -> None:
    acme.plan = None

    found = await acme.findings()

    assert [(name, one.result) for name, one in found.items()] == [("credentials", "failed")]
    assert "'acme-eu'" in found["credentials"].says
    assert acme.asked == []


@pytest.mark.parametrize(
    ("trouble", "says", "fix"),
    [
        (GrantRevoked(REVOKED), "reconnect: the grant was revoked", "allow the app again in Pipedrive, then `mlc sec"),
        (
            VendorUnavailable("Pipedrive's token endpoint: ConnectError"),
            "token endpoint",
            "see that pipedrive.oauth_url",
        ),
    ],
)
async def test_login_by_oauth_that_fails_says_what_to_do(acme: Acme, trouble: TryLater, says: str, fix: str) -> None:
    acme.by_oauth()
    acme.trouble = trouble

    found = await acme.findings()

    assert found["credentials"].result == "failed"
    assert says in found["credentials"].says
    assert found["credentials"].fix.startswith(fix)
    assert (found["address"].result, found["authentication"].result) == ("ok", "skipped")


async def test_login_by_oauth_names_its_own_credentials(acme: Acme) -> None:
    acme.by_oauth()
    acme.unreadable = "pipedrive/acme/oauth2: not set"
    missing = await acme.findings()
    acme.unreadable = ""
    acme.answers["me"] = lambda: httpx2.Response(401, json={"success": False}, headers=acme.headers)
    refused = await acme.findings()

    assert "oauth2-client" in missing["credentials"].fix
    assert "oauth2" in refused["authentication"].fix
    assert "api-token" not in missing["credentials"].fix + refused["authentication"].fix


async def test_without_a_credential_the_address_is_still_looked_at(acme: Acme) -> None:
    acme.unreadable = "pipedrive/acme/api-token: not set"
    acme.answers["me"] = lambda: httpx2.Response(401, json={"success": False}, headers=acme.headers)

    found = await acme.findings()

    assert found["credentials"].result == "failed"
    assert "not set" in found["credentials"].says
    assert (found["address"].result, found["clock"].result, found["budget"].result) == ("ok", "ok", "ok")
    assert {found[name].result for name in ("authentication", "company", "fields", "stages", "webhook")} == {"skipped"}


@pytest.mark.parametrize(
    ("cause", "says"),
    [
        (AddressRefused("acme.test is at 10.0.0.1, which is not public"), "10.0.0.1, which is not public"),
        (ssl.SSLError(1, "certificate verify failed"), "TLS: "),
        (OSError("refused"), "no connection"),
    ],
)
async def test_no_connection_says_why_and_opens_no_breaker(acme: Acme, cause: Exception, says: str) -> None:
    def fail() -> httpx2.Response:
        try:
            raise httpcore2.ConnectError("") from cause
        except httpcore2.ConnectError as error:
            raise httpx2.ConnectError("all attempts failed") from error

    acme.answers["me"] = fail

    found = await acme.findings()

    assert found["address"].result == "failed"
    assert says in found["address"].says
    assert found["address"].fix
    assert found["clock"].result == "skipped"
    assert acme.breaker.wait_s(0) == 0


@pytest.mark.parametrize(
    ("status", "kind", "says", "fix"),
    [
        (401, "application/json", "does not accept the credential", "mlc secrets set pipedrive/acme api-token"),
        (402, "application/json", "closed or not paid", "account is active"),
        (403, "application/json", "may not read", "user is active"),
        (403, "text/html", "banned", "ends by itself"),
        (429, "application/json", "daily token budget", "pipedrive.limits"),
        (302, "text/html", "302", "another name"),
        (503, "text/html", "503", "some minutes"),
    ],
)
async def test_refused_credential_says_what_to_do(acme: Acme, status: int, kind: str, says: str, fix: str) -> None:
    acme.answers["me"] = lambda: httpx2.Response(status, content=b"{}", headers={**acme.headers, "content-type": kind})

    found = await acme.findings()

    assert found["authentication"].result == "failed"
    assert says in found["authentication"].says
    assert fix in found["authentication"].fix
    assert {found[name].result for name in ("company", "fields", "stages", "webhook")} == {"skipped"}
    assert acme.asked == ["me"]


async def test_answer_of_somebody_else_is_told(acme: Acme) -> None:
    acme.answers["me"] = lambda: httpx2.Response(200, content=b"<html>", headers=acme.headers)

    assert (await acme.results())["authentication"] == "failed"


async def test_a_user_who_is_no_administrator_is_a_warning(acme: Acme) -> None:
    acme.user["is_admin"] = 0

    assert await acme.results() == {"authentication": "warning"}


@pytest.mark.parametrize(
    ("user", "side", "result"),
    [
        ({"company_id": 8}, {}, "failed"),
        ({"company_domain": "acme2"}, {}, "warning"),
        ({"company_domain": "acme2"}, {"company_id": None}, "failed"),
        ({"company_domain": "acme2"}, {"company_id": None, "base_url": "https://relay.example"}, "warning"),
    ],
)
async def test_credential_of_another_company(
    acme: Acme, user: dict[str, Any], side: dict[str, Any], result: str
) -> None:
    given = document()
    given["pipedrive"].update(side)
    acme.plan = compile_flow(parse_flow(given), 1)
    acme.user.update(user)

    assert await acme.results() == {"company": result}


async def test_field_that_the_company_does_not_have(acme: Acme) -> None:
    acme.data["organizationFields"][0]["field_name"] = "Billing e-mail"

    found = await acme.findings()

    assert found["fields"].result == "failed"
    assert found["fields"].says.endswith("organization: custom['Billing email']; did you mean 'Billing e-mail'?")


async def test_stage_that_the_company_does_not_have_names_those_alike(acme: Acme) -> None:
    acme.data["stages"] = [{"id": 2, "name": "Talk", "pipeline_id": 1}, {"id": 3, "name": "Won", "pipeline_id": 9}]
    acme.data["pipelines"] += [{"id": 9, "name": "Partners"}]

    found = await acme.findings()

    assert found["stages"].result == "failed"
    assert found["stages"].says == "the company has no such stage: 'Sales/Won'; did you mean 'Partners/Won'?"


async def test_stage_without_a_status_is_a_warning(acme: Acme) -> None:
    acme.data["stages"] += [{"id": 3, "name": "Lunch", "pipeline_id": 1}]

    found = await acme.findings()

    assert (found["stages"].result, found["stages"].says) == (
        "warning",
        "stages without a NetSuite status: 'Sales/Lunch'",
    )


@pytest.mark.parametrize("apart_s", [-90, 90])
async def test_clocks_that_differ_are_a_warning(acme: Acme, apart_s: int) -> None:
    acme.headers["date"] = formatdate(NOW_MS / 1000 + apart_s, usegmt=True)

    assert await acme.results() == {"clock": "warning"}


@pytest.mark.parametrize("date", ["", "yesterday"])
async def test_no_date_is_a_warning(acme: Acme, date: str) -> None:
    acme.headers["date"] = date

    assert await acme.results() == {"clock": "warning"}


async def test_scarce_tokens_are_a_warning(acme: Acme) -> None:
    acme.budget.spend(PipedriveLimits().daily_spendable - 1000, NOW_MS)

    assert await acme.results() == {"budget": "warning"}


async def test_spent_tokens_are_not_overspent(acme: Acme) -> None:
    acme.budget.spend(PipedriveLimits().daily_spendable, NOW_MS)

    found = await acme.findings()

    assert (found["address"].result, found["budget"].result) == ("skipped", "failed")
    assert acme.asked == []


async def test_company_left_alone_is_looked_at_and_goes_on_when_it_is_well(acme: Acme) -> None:
    acme.breaker.failed(0.0, "Pipedrive does not accept the credential", pause_s=60)

    assert await acme.results() == {}
    assert acme.breaker.wait_s(0) == 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"event_object": "person"}, "of: organization"),
        ({"event_action": "create"}, "of: organization"),
        ({"is_active": 0}, "of: organization"),
        ({"subscription_url": "https://in.test/webhooks/pipedrive/acme"}, "of: organization"),
        ({"last_http_status": 401}, "answered by 401"),
    ],
)
async def test_webhooks_that_are_lacking_or_fail_are_a_warning(acme: Acme, change: dict[str, Any], says: str) -> None:
    acme.data["webhooks"][0].update(change)

    found = await acme.findings()

    assert found["webhook"].result == "warning"
    assert says in found["webhook"].says


async def test_flow_without_webhooks_lacks_none_and_is_warned_of_those_that_lead_here(acme: Acme) -> None:
    given = document()
    given["pipedrive"]["events"], given["schedule"] = "none", {"sync": "*/15 * * * *"}
    acme.plan = compile_flow(parse_flow(given), 1)
    assert (await acme.findings())["webhook"].result == "warning"
    acme.data["webhooks"] = []

    found = (await acme.findings())["webhook"]

    assert found.result == "ok" and "none is needed" in found.says


async def test_webhooks_that_may_not_be_listed_are_a_warning(acme: Acme) -> None:
    acme.answers["webhooks"] = lambda: httpx2.Response(403, json={"success": False})

    assert await acme.results() == {"webhook": "warning"}


async def test_a_failing_look_does_not_stop_the_others(acme: Acme) -> None:
    acme.answers["organizationFields"] = lambda: httpx2.Response(500)

    found = await acme.findings()

    assert (found["fields"].result, found["fields"].says) == ("failed", "Pipedrive answered 500")
    assert found["budget"].result == "ok"


async def test_after_its_time_the_rest_is_skipped(acme: Acme) -> None:
    def slow() -> httpx2.Response:
        acme.clock.advance(25)
        return httpx2.Response(200, json={"data": acme.user}, headers=acme.headers)

    acme.answers["me"] = slow

    found = await acme.findings()

    assert (found["address"].took_ms, found["authentication"].result) == (25_000, "skipped")
    assert acme.asked == ["me"]


# -- requests ----------------------------------------------------------------------------------------------------------


async def test_silence_is_told_in_time_and_opens_no_breaker(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(_: httpx2.Request) -> httpx2.Response:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(checking, "WITHIN_S", 0.2)
    async with httpx2.AsyncClient(transport=httpx2.MockTransport(never)) as http:
        acme = Acme().over(http)
        found = await acme.findings()

    assert (found["address"].result, found["address"].says) == ("failed", "Pipedrive is too slow")
    assert acme.breaker.wait_s(0) == 0


async def test_request_is_answered_under_its_id(acme: Acme) -> None:
    [sent] = await answered(acme, Check(flow="acme-eu").encode(), {h.REQUEST_ID: b"q1"})

    assert (sent.topic, sent.key) == (topics.REPLIES, b"q1")
    assert len(Checked.decode(sent.value or b"").findings) == len(ORDER)


@pytest.mark.parametrize(("body", "headers"), [(Check(flow="acme-eu").encode(), {}), (b"{", {h.REQUEST_ID: b"q1"})])
async def test_request_that_is_none_is_dropped(acme: Acme, body: bytes, headers: dict[str, bytes]) -> None:
    assert await answered(acme, body, headers) == []


async def answered(acme: Acme, body: bytes, headers: dict[str, bytes]) -> list[Output]:
    """What is written, once the check is over."""
    sent: list[Output] = []

    async def emit(outputs: Sequence[Output]) -> None:
        sent.extend(outputs)

    checks = Checks(lambda _: acme.plan, acme, emit, acme.clock)
    message = Message("pipedrive.requests", 0, 0, b"acme", body, {h.KIND: b"check", **headers})
    assert asks_for_check(message)
    before = asyncio.all_tasks()
    checks.begin(message)
    await asyncio.wait(asyncio.all_tasks() - before)
    return sent
