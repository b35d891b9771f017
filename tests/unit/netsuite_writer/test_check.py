"""What a check finds, for every answer that NetSuite is known to give, and for those that nobody foresaw."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
from collections.abc import Callable, Mapping
from email.utils import formatdate
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

from ml_connector.common.asking import Finding
from ml_connector.common.clock import ManualClock
from ml_connector.common.credentials import NetsuiteM2M, NetsuiteTba
from ml_connector.common.errors import AddressRefused, SecretUnreadable
from ml_connector.common.flows import parse_flow
from ml_connector.netsuite_writer.call import NotOurs
from ml_connector.netsuite_writer.check import NEEDS, Checking, Held, unknown_flow
from ml_connector.netsuite_writer.gate import Gate
from ml_connector.netsuite_writer.govern import Governor
from ml_connector.netsuite_writer.netsuite.looking import Looking
from ml_connector.netsuite_writer.settings import WriterSettings
from support.office import DOCUMENT, PEM, TOKEN
from support.over_transport import OverTransport

NOW_MS: Final = 1_700_000_000_000
SETTINGS: Final = WriterSettings(kafka_bootstrap_servers="nowhere:1", store_dir=Path("unused"))
CREDENTIAL: Final = NetsuiteM2M("client", "certificate", PEM, "ES256")
Said = httpx2.Response | Exception


def said(status: int, code: str = "", detail: str = "") -> httpx2.Response:
    return httpx2.Response(status, json={"o:errorDetails": [{"o:errorCode": code, "detail": detail}]})


def rows(*ids: str) -> httpx2.Response:
    return table(*({"id": one} for one in ids))


def table(*found: dict[str, str]) -> httpx2.Response:
    return httpx2.Response(200, json={"items": found})


def catalog(*names: str) -> httpx2.Response:
    return httpx2.Response(200, json={"type": "object", "properties": {name: {"title": name} for name in names}})


GOOD: Final[dict[str, Said]] = {
    "address": httpx2.Response(401, headers={"date": formatdate(NOW_MS / 1000, usegmt=True)}),
    "/token": TOKEN,
    "metadata-catalog/customer": catalog("companyName", "currency", "custentity_tier"),
    "metadata-catalog/opportunity": catalog("title", "currency", "custbody_source"),
    "/customer": rows(),
    "/contact": rows(),
    "/opportunity": rows(),
    "FROM customer": rows("1"),
    "FROM entitystatus": rows("7", "13"),
    "FROM subsidiary": rows(),
    "FROM currency": table(
        {"id": "1", "symbol": "USD", "name": "US Dollar", "isinactive": "F"},
        {"id": "2", "symbol": "EUR", "name": "Euro", "isinactive": "F"},
        {"id": "3", "symbol": "SEK", "name": "Krona", "isinactive": "T"},
    ),
    "FROM customfield": rows(),
    "/governanceLimits": httpx2.Response(200, json={"accountConcurrencyLimit": 5, "integrationLimitType": "internal"}),
}


class Canned(httpx2.AsyncBaseTransport):
    """Answers by the end of the path, or by the table that is asked."""

    def __init__(self, answers: Mapping[str, Said]) -> None:
        self.answers = answers
        self.first: dict[str, Said] = {}  # instead, once
        self.asked: list[str] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        body = (await request.aread()).decode()
        text = f"{request.url.path} {body}"
        name = next((one for one in self.answers if request.url.path.endswith(one) or one in body), "address")
        assert name != "address" or request.url.path == "/", text
        self.asked.append(f"{request.method} {name}")
        answer = self.first.pop(name, self.answers[name])
        if isinstance(answer, Exception):
            raise answer
        return httpx2.Response(answer.status_code, headers=answer.headers, content=answer.content)


class Desk:
    """One check. `flow`: changes of the flow; answers: by the names of GOOD."""

    def __init__(self, answers: Mapping[str, Said] = {}, *, flow: Mapping[str, Any] = {}) -> None:
        self.clock = ManualClock(NOW_MS)
        self.canned = Canned({**GOOD, **answers})
        self.governor = Governor(2, chance=random.Random(1))
        self.gate = Gate(self.governor, settings=SETTINGS, clock=self.clock, chance=random.Random(1))
        self.flow = parse_flow({**DOCUMENT, **flow})
        self.ours = True
        self.credential: Callable[[], Held] = lambda: CREDENTIAL

    async def admit(self) -> None:
        """Whose account it is."""
        if not self.ours:
            raise NotOurs("somebody else owns the partition")

    async def run(self, within_s: float = 5.0) -> dict[str, Finding]:
        looking = Looking(self.flow.netsuite.url, http=OverTransport(self.canned), gate=self.gate, admit=self.admit)
        checking = Checking(self.flow, looking, credential=self.credential, clock=self.clock)
        found = await checking.run(within_s=within_s)
        assert [one.check for one in found] == [f"netsuite.{what}" for what in NEEDS]
        assert all(one.fix for one in found if one.result in {"failed", "warning"})
        return {one.check.removeprefix("netsuite."): one for one in found}


def results(found: Mapping[str, Finding]) -> dict[str, str]:
    """Those that are not ok."""
    return {what: one.result for what, one in found.items() if one.result != "ok"}


async def test_a_good_account_is_ok_from_end_to_end_and_nothing_is_written() -> None:
    desk = Desk(flow={"statuses": {"won": "13"}, "stages": {"1": "7"}})

    assert results(await desk.run()) == {}
    posts = [one for one in desk.canned.asked if not one.startswith("GET ")]
    tables = ("customer", "entitystatus", "subsidiary", "customfield")
    assert posts == ["POST /token", *(f"POST FROM {one}" for one in tables)]
    assert desk.governor.in_flight == 0


def test_an_unknown_flow_is_said_and_the_rest_skipped() -> None:
    found = unknown_flow("nobody")

    assert [one.check for one in found] == [f"netsuite.{what}" for what in NEEDS]
    assert [one.result for one in found] == ["failed", *["skipped"] * 12]


@pytest.mark.parametrize("key", ["", "no key"])
async def test_credentials_that_do_not_open_or_do_not_sign_are_told(key: str) -> None:
    def credential() -> NetsuiteM2M:
        if key:
            return NetsuiteM2M("client", "certificate", key, "ES256")
        raise SecretUnreadable("netsuite/1234567_SB1/oauth2-m2m: not set")

    desk = Desk()
    desk.credential = credential
    found = await desk.run()

    assert found["credentials"].result == "failed"
    assert "mlc secrets set netsuite/1234567_SB1 oauth2-m2m" in found["credentials"].fix
    assert found["address"].result == found["clock"].result == "ok"
    assert results(found).items() >= {"authentication": "skipped", "statuses": "skipped"}.items()


def caused(error: Exception, by: Exception) -> Exception:
    error.__cause__ = by
    return error


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (caused(httpx2.ConnectError("x"), socket.gaierror(-2, "x")), "does not resolve"),
        (caused(httpx2.ConnectError("x"), AddressRefused("it is at 10.0.0.1, which is not public")), "not public"),
        (caused(httpx2.ConnectError("x"), ssl.SSLCertVerificationError("x")), "TLS fails"),
        (httpx2.ConnectError("x"), "no connection"),
        (httpx2.ConnectTimeout("x"), "no connection in time"),
        (httpx2.ReadTimeout("x"), "no answer in time"),
        (httpx2.RemoteProtocolError("x"), "RemoteProtocolError"),
    ],
)
async def test_a_dead_address_says_what_is_wrong_and_the_rest_is_skipped(error: Exception, says: str) -> None:
    desk = Desk({"address": error})
    found = await desk.run()

    assert found["address"].result == "failed"
    assert says in found["address"].says
    assert set(results(found).values()) == {"failed", "skipped"}
    assert desk.canned.asked == ["GET address"]


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (httpx2.Response(400, json={"error": "invalid_client"}), "certificate id"),
        (httpx2.Response(400, json={"error": "invalid_grant"}), "refuses what was signed"),
        (httpx2.Response(400, json={"error": "invalid_scope"}), "we do not know: status 400 invalid_scope"),
        (httpx2.Response(401, text="<html>"), "we do not know: status 401"),
        (httpx2.Response(200, text="<html>"), "an unexpected answer: status 200"),
        (httpx2.Response(302), "an unexpected answer: status 302"),
        (httpx2.Response(503), "not available"),
        (httpx2.ReadTimeout("x"), "no answer"),
    ],
)
async def test_each_refusal_of_the_token_is_told_apart(answer: Said, says: str) -> None:
    found = await Desk({"/token": answer}).run()

    assert found["authentication"].result == "failed"
    assert says in found["authentication"].says
    assert {found[what].result for what in NEEDS if "authentication" in NEEDS[what]} == {"skipped"}
    assert found["clock"].result == "ok"


@pytest.mark.parametrize(
    ("answer", "result", "says"),
    [
        (said(403, "INSUFFICIENT_PERMISSION"), "failed", "the role may not"),
        (said(400, "USER_ERROR", "Your current role does not have permission to do it."), "failed", "the role may not"),
        (said(401, "INVALID_LOGIN"), "failed", "lacks a permission to log in"),
        (said(500, "UNEXPECTED_ERROR"), "failed", "not available"),
        (said(400, "SOMETHING_ELSE"), "warning", "unexpected answer: status 400 SOMETHING_ELSE"),
        (httpx2.ReadTimeout("x"), "failed", "no answer"),
    ],
)
@pytest.mark.parametrize(
    ("kind", "asked", "permission"),
    [
        ("customer", "/customer", "Lists > Customers"),
        ("contact", "/contact", "Lists > Contacts"),
        ("opportunity", "/opportunity", "Transactions > Opportunity"),
        ("suiteql", "FROM customer", "SuiteAnalytics Workbook"),
    ],
)
async def test_a_missing_permission_is_named(
    kind: str, asked: str, permission: str, answer: Said, result: str, says: str
) -> None:
    found = (await Desk({asked: answer}).run())[f"permission.{kind}"]

    assert (found.result, says in found.says) == (result, True)
    assert (permission in found.fix) is (says == "the role may not")


async def test_a_full_account_is_a_warning_and_what_cannot_be_asked_in_time_is_told() -> None:
    desk = Desk({"FROM customer": said(429, "CONCURRENCY_LIMIT_EXCEEDED")})
    found = await desk.run(within_s=0.5)  # the clock stands still, so the pause after a 429 does not end

    assert (found["permission.suiteql"].result, found["permission.opportunity"].result) == ("warning", "ok")
    assert "too many requests" in found["permission.suiteql"].says
    assert found["concurrency"].result == "skipped"
    assert "no time left" in found["concurrency"].says


async def test_statuses_that_do_not_exist_are_named_and_nothing_is_claimed_without_an_answer() -> None:
    flow = {"statuses": {"won": "13", "lost": "14"}, "stages": {"1": "99"}}

    missing = (await Desk(flow=flow).run())["statuses"]
    assert (missing.result, missing.says) == ("failed", "NetSuite has no status 14, 99")
    for answer in (rows(), said(400, "INVALID_PARAMETER")):
        assert (await Desk({"FROM entitystatus": answer}, flow=flow).run())["statuses"].result == "warning"


async def test_a_oneworld_account_needs_a_subsidiary_from_the_flow() -> None:
    oneworld: dict[str, Said] = {"FROM subsidiary": rows("1")}
    needed = (await Desk(oneworld).run())["subsidiary"]

    assert needed.result == "failed"
    assert "defaults.subsidiary" in needed.fix
    assert (await Desk(oneworld, flow={"defaults": {"subsidiary": "'1'"}}).run())["subsidiary"].result == "ok"
    refused = await Desk({"FROM subsidiary": said(400, "INVALID_PARAMETER")}).run()
    assert refused["subsidiary"].result == "warning"


# -- currencies ---------------------------------------------------------------------------------------------------------


def with_currency(*expressions: str) -> dict[str, Any]:
    """A flow whose opportunities have them one after another, as `currency` and in custom fields."""
    fields = {"title": "data.title", **{f"custbody_{n}": one for n, one in enumerate(expressions)}}
    fields["currency"] = fields.pop("custbody_0")
    return {"entities": {**DOCUMENT["entities"], "deal": {"record": "opportunity", "fields": fields}}}


@pytest.mark.parametrize(
    ("expressions", "result", "says"),
    [
        (['lookup("currency", "EUR")'], "ok", "every currency that the flow names exists"),
        (["lookup('currency', 'us dollar')"], "ok", "every currency that the flow names exists"),
        (['lookup("currency", "XXX")'], "failed", "XXX does not exist"),
        (['lookup("currency", "SEK")', 'lookup("currency", "XXX")'], "failed", "SEK is inactive, XXX does not exist"),
        (['lookup("currency", data.currency)'], "ok", "NetSuite has EUR, USD; what has another currency"),
        (['data.value == null ? lookup("currency", data.currency) : lookup("currency", "DKK")'], "failed", "DKK does"),
    ],
)
async def test_currencies_that_a_flow_names_are_held_against_those_of_the_account(
    expressions: list[str], result: str, says: str
) -> None:
    found = (await Desk(flow=with_currency(*expressions)).run())["currencies"]

    assert (found.result, says in found.says) == (result, True), found


@pytest.mark.parametrize(
    ("described", "result", "says"),
    [
        (catalog("title"), "failed", "Multiple Currencies is switched off in this account: opportunity records"),
        (catalog("title", "currency"), "warning", "SuiteQL knows no currencies"),
        (said(403, "INSUFFICIENT_PERMISSION"), "warning", "SuiteQL knows no currencies"),
        (httpx2.Response(200, text="<html>"), "warning", "SuiteQL knows no currencies"),
    ],
)
async def test_an_account_without_currencies_is_told_from_one_that_does_not_show_them(
    described: Said, result: str, says: str
) -> None:
    answers = {"FROM currency": said(400, "INVALID_PARAMETER"), "metadata-catalog/opportunity": described}
    found = (await Desk(answers, flow=with_currency('lookup("currency", "EUR")')).run())["currencies"]

    assert (found.result, says in found.says) == (result, True), found
    assert ("take currency out" in found.fix) is (result == "failed")


@pytest.mark.parametrize("answer", [rows(), said(403), httpx2.ReadTimeout("x")])
async def test_nothing_is_claimed_of_currencies_that_are_not_shown(answer: Said) -> None:
    desk = Desk({"FROM currency": answer}, flow=with_currency('lookup("currency", "EUR")'))

    assert (await desk.run())["currencies"].result == "warning"
    assert "GET metadata-catalog/opportunity" not in desk.canned.asked


# -- mandatory custom fields -------------------------------------------------------------------------------------------

TIER: Final = {"scriptid": "CUSTENTITY_TIER", "name": "Tier"}
REGION: Final = {"scriptid": "CUSTENTITY_REGION", "name": "Region"}
SOURCE: Final = {"scriptid": "CUSTBODY_SOURCE", "name": "Source"}


async def test_mandatory_custom_fields_that_the_flow_does_not_give_are_named() -> None:
    flow = with_currency('lookup("currency", "EUR")')
    found = (await Desk({"FROM customfield": table(TIER, REGION, SOURCE)}, flow=flow).run())["required_fields"]

    assert found.result == "failed"
    assert found.says.endswith("does not give: customer: custentity_tier (Tier); opportunity: custbody_source (Source)")
    assert "Customization >" in found.fix


async def test_what_the_flow_gives_or_has_no_records_for_is_not_asked_about() -> None:
    flow = {"entities": {"organization": {"record": "customer", "fields": {"custentity_TIER": "data.name"}}}}
    desk = Desk({"FROM customfield": table(TIER, SOURCE)}, flow=flow)

    assert (await desk.run())["required_fields"].result == "ok"
    assert not any("metadata-catalog" in asked for asked in desk.canned.asked)


async def test_a_mandatory_field_of_other_records_is_nothing_to_us() -> None:
    assert (await Desk({"FROM customfield": table(REGION)}).run())["required_fields"].result == "ok"


@pytest.mark.parametrize("described", [said(403), catalog(), httpx2.ReadTimeout("x")])
async def test_without_the_catalog_a_mandatory_field_is_a_warning(described: Said) -> None:
    answers = {"FROM customfield": table(TIER), "metadata-catalog/customer": described}
    found = (await Desk(answers).run())["required_fields"]

    assert found.result == "warning"
    assert found.says.endswith("customer: custentity_tier (Tier)")


async def test_custom_fields_that_are_not_shown_are_a_warning() -> None:
    found = (await Desk({"FROM customfield": said(400, "INVALID_PARAMETER")}).run())["required_fields"]

    assert (found.result, "does not show which" in found.says) == ("warning", True)


# -- the rest ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("wanted", "result"), [(5, "ok"), ("auto", "ok"), (6, "warning")])
async def test_the_flows_number_is_held_against_what_is_granted(wanted: int | str, result: str) -> None:
    side = {**DOCUMENT["netsuite"], "concurrency": wanted}

    assert (await Desk(flow={"netsuite": side}).run())["concurrency"].result == result
    forbidden = await Desk({"/governanceLimits": said(403)}, flow={"netsuite": side}).run()
    assert forbidden["concurrency"].result == "warning"
    assert "administrators only" in forbidden["concurrency"].says


@pytest.mark.parametrize(
    ("off_s", "result"), [(0, "ok"), (60, "ok"), (-61, "warning"), (300, "warning"), (301, "failed"), (-9999, "failed")]
)
async def test_a_clock_that_is_off_is_told(off_s: int, result: str) -> None:
    date = formatdate(NOW_MS / 1000 + off_s, usegmt=True)
    found = await Desk({"address": httpx2.Response(401, headers={"date": date})}).run()

    assert found["clock"].result == result
    assert ("ahead" in found["clock"].says) is (off_s < 0)


@pytest.mark.parametrize("headers", [{}, {"date": "yesterday"}])
async def test_without_a_time_the_clock_is_a_warning(headers: dict[str, str]) -> None:
    assert (await Desk({"address": httpx2.Response(401, headers=headers)}).run())["clock"].result == "warning"


async def test_without_a_free_slot_the_check_ends_in_time_and_asks_nothing() -> None:
    desk = Desk()
    for _ in range(2):
        await desk.gate.enter()
    found = await desk.run(within_s=0.05)

    assert found["address"].result == "failed"
    assert "no free slot" in found["address"].says
    assert desk.canned.asked == []
    assert desk.governor.in_flight == 2


async def test_a_suspended_account_is_looked_at_all_the_same_and_goes_on_once_it_is_well() -> None:
    desk = Desk({"/token": httpx2.Response(400, json={"error": "invalid_client"})})
    desk.gate.restore("NetSuite refuses the credentials, also with a new token")

    assert (await desk.run())["authentication"].result == "failed"
    assert desk.gate.suspended
    desk.canned.answers = GOOD
    assert results(await desk.run()) == {}
    assert not desk.gate.suspended


async def test_a_failing_check_neither_suspends_the_account_nor_lowers_its_limit() -> None:
    desk = Desk({"/customer": said(401, "INVALID_LOGIN"), "/contact": said(500)})
    for _ in range(20):
        await desk.run()

    assert not desk.gate.suspended
    assert desk.gate.limit() == 2
    await asyncio.wait_for(desk.gate.enter(), 1)


async def test_an_account_that_somebody_else_owns_by_now_is_asked_nothing() -> None:
    desk = Desk()
    desk.ours = False
    found = await desk.run()

    assert found["address"].result == "failed"
    assert "somebody else owns" in found["address"].says
    assert desk.canned.asked == []
    assert desk.governor.in_flight == 0


@pytest.mark.parametrize(("off_s", "asked"), [(0, 1), (3600, 2), (3 * 86_400, 1)])
async def test_a_refusal_that_may_be_for_the_time_is_tried_once_with_netsuites_as_the_writer_does(
    off_s: int, asked: int
) -> None:
    date = {"date": formatdate(NOW_MS / 1000 - off_s, usegmt=True)}
    desk = Desk({"/token": httpx2.Response(400, headers=date, json={"error": "invalid_grant"})})

    found = await desk.run()

    assert desk.canned.asked.count("POST /token") == asked
    assert found["authentication"].result == "failed"
    assert found["clock"].result == ("failed" if off_s else "ok")


async def test_a_wrong_clock_is_told_although_netsuite_gives_a_token() -> None:
    desk = Desk()
    date = {"date": formatdate(NOW_MS / 1000 - 3600, usegmt=True)}
    refused = httpx2.Response(400, headers=date, json={"error": "invalid_grant"})
    desk.canned.answers = {**desk.canned.answers, "address": httpx2.Response(401, headers=date)}
    desk.canned.first = {"/token": refused}

    found = await desk.run()

    assert results(found) == {"clock": "failed"}
    assert "3600 s ahead" in found["clock"].says


# -- token-based authentication ----------------------------------------------------------------------------------------


def signing(answers: Mapping[str, Said] = {}) -> Desk:
    """A check of a flow that signs each request."""
    desk = Desk(answers, flow={"netsuite": {**DOCUMENT["netsuite"], "auth": "tba"}})
    desk.credential = lambda: NetsuiteTba("a", "b", "c", "d")
    return desk


async def test_a_flow_that_signs_asks_for_no_token_and_is_told_of_its_end() -> None:
    desk = signing()

    found = await desk.run()

    assert results(found) == {}
    assert "tba opens" in found["credentials"].says
    assert "2028.1" in found["authentication"].says
    assert "POST /token" not in desk.canned.asked


async def test_a_signature_that_is_refused_skips_what_needs_a_login() -> None:
    found = await signing({"/customer": said(401, "INVALID_LOGIN")}).run()

    assert found["authentication"].result == "failed"
    assert "consumer_key" in found["authentication"].fix
    assert found["permission.contact"].result == "skipped"
    assert found["clock"].result == "ok"


@pytest.mark.parametrize("answer", [said(403), said(400, "INSUFFICIENT_PERMISSION")])
async def test_a_role_that_may_not_read_customers_is_logged_in_all_the_same(answer: httpx2.Response) -> None:
    found = await signing({"/customer": answer}).run()

    assert results(found) == {"permission.customer": "failed"}


@pytest.mark.parametrize(("answer", "result"), [(said(503), "failed"), (said(418), "failed"), (said(429), "warning")])
async def test_an_answer_that_says_nothing_of_the_signature_is_told_as_it_is(answer: Said, result: str) -> None:
    assert (await signing({"/customer": answer}).run())["authentication"].result == result
