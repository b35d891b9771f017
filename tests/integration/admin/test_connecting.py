"""Connecting a company: from the address to the stored grant, and every page that a person may see instead."""

from __future__ import annotations

import asyncio
import random
import string
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from ml_connector.admin.connect.pages import PAGES, Ending, page_of
from ml_connector.common.ports import free_port
from support.canaries import Canaries
from support.connecting import PUBLIC, REDIRECT, Desk, state_of
from support.listener import Listener
from support.pipedrive_standin import PipedriveProcess

pytestmark = pytest.mark.asyncio(loop_scope="module")

STATE = "x" * 43  # as long as one of ours


@pytest.fixture(scope="module")
def pipedrive() -> Iterator[PipedriveProcess]:
    with PipedriveProcess() as process:
        yield process


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def desk(pipedrive: PipedriveProcess, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    one = Desk(tmp_path_factory.mktemp("desk"), pipedrive)
    yield one
    await one.close()


async def refused(desk: Desk, company: str, ending: Ending, query: dict[str, str], named: bool = True) -> None:
    """The page, word for word, and nothing stored."""
    answer = await desk.come_back(query)

    assert answer.status_code == PAGES[ending].status
    assert answer.text == page_of(ending, company if named else "")
    assert desk.stored(company)[0] == 0


async def test_administrator_agrees_and_the_grant_is_stored(desk: Desk) -> None:
    company = await desk.company()
    began_ms = desk.clock.now_ms()

    answer = await desk.come_back(desk.agree(await desk.asked(company)))

    assert (answer.status_code, answer.text) == (200, page_of(Ending.connected, company))
    version, grant = desk.stored(company)
    assert version == 1
    assert set(grant) == {"refresh_token", "access_token", "expires_at_ms", "api_domain"}
    assert grant["api_domain"] == desk.pipedrive.url and grant["expires_at_ms"] == began_ms + 3600_000
    works = desk.pipedrive.http.get(
        f"{desk.pipedrive.url}/v1/currencies", headers={"authorization": f"Bearer {grant['access_token']}"}
    )
    assert works.status_code != 401
    assert desk.acts(company) == {
        ("pipedrive.connect", "anna", "asked"),
        ("secret.set", "anna", ""),
        ("pipedrive.connect", "anna", "connected"),
    }


async def test_page_is_plain_and_kept_by_nobody(desk: Desk) -> None:
    answer = await desk.come_back(desk.agree(await desk.asked(await desk.company())))

    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert (answer.headers["cache-control"], answer.headers["referrer-policy"]) == ("no-store", "no-referrer")
    assert not any(mark in answer.text for mark in ("<script", "<style", "<img", "<link", "<a ", "http"))


async def test_connecting_anew_makes_another_version(desk: Desk) -> None:
    company = await desk.company()

    for version in (1, 2):
        asked = (await desk.ask(company)).json()
        await desk.come_back(desk.agree(asked["authorize_url"]))

        assert (asked["version"], desk.stored(company)[0]) == (version - 1, version)


async def test_answer_is_heard_once(desk: Desk) -> None:
    company = await desk.company()
    query = desk.agree(await desk.asked(company))

    answers = await asyncio.gather(*(desk.come_back(query) for _ in range(8)))

    assert sorted(one.status_code for one in answers) == [200] + 7 * [409]
    assert (await desk.come_back(query)).text == page_of(Ending.used, "")
    assert desk.stored(company)[0] == 1


async def test_administrator_says_no(desk: Desk) -> None:
    company = await desk.company()

    query = desk.agree(await desk.asked(company), **{"x-sandbox-consent": "denied"})

    assert query["error"] == "user_denied"
    await refused(desk, company, Ending.denied, query)
    assert desk.acts(company) == {("pipedrive.connect", "anna", step) for step in ("asked", "denied")}


@pytest.mark.parametrize(
    ("error", "ending"),
    [("access_denied", Ending.denied), ("server_error", Ending.refused), ("<b>x</b>", Ending.refused)],
)
async def test_other_errors_of_the_authorization(desk: Desk, error: str, ending: Ending) -> None:
    company = await desk.company()

    await refused(desk, company, ending, {"state": state_of(await desk.asked(company)), "error": error})


async def test_who_comes_after_ten_minutes_is_told(desk: Desk) -> None:
    company = await desk.company()
    query = desk.agree(await desk.asked(company))

    desk.clock.advance(600)

    await refused(desk, company, Ending.expired, query, named=False)


async def test_state_that_nobody_asked_for_is_not_known(desk: Desk) -> None:
    company = await desk.company()

    query = desk.agree(await desk.asked(company)) | {"state": STATE}

    await refused(desk, company, Ending.unknown, query, named=False)


async def test_grant_of_another_company_is_not_stored(desk: Desk) -> None:
    desk.install("other", api_domain="company")
    company = await desk.company(client_of="other")

    await refused(desk, company, Ending.wrong_company, desk.agree(await desk.asked(company)))


async def test_grant_that_names_the_company_s_own_domain_is_stored(desk: Desk) -> None:
    company = await desk.company()
    desk.install(company, api_domain="company")

    answer = await desk.come_back(desk.agree(await desk.asked(company)))

    assert answer.status_code == 200
    assert desk.stored(company)[1]["api_domain"] == f"https://{company}.pipedrive.com"


async def test_code_that_is_not_pipedrive_s(desk: Desk) -> None:
    company = await desk.company()

    await refused(desk, company, Ending.code_refused, desk.agree(await desk.asked(company)) | {"code": "guessed"})


async def test_client_secret_that_is_wrong(desk: Desk) -> None:
    company = await desk.company()
    query = desk.agree(await desk.asked(company))
    await desk.store(company, "oauth2-client", {"client_id": company, "client_secret": "wrong"})

    await refused(desk, company, Ending.client_refused, query)


@pytest.mark.parametrize("status", [200, 302, 429, 500])
async def test_token_endpoint_that_answers_something_else_is_asked_once(desk: Desk, status: int) -> None:
    with Listener(lambda _: status) as listener:
        company = await desk.company(oauth_url=f"{listener.url}/oauth/token")
        state = state_of(await desk.asked(company))

        await refused(desk, company, Ending.unreachable, {"state": state, "code": "a-code"})

    [heard] = listener.heard
    assert heard.headers["authorization"].startswith("Basic ")
    assert b"client_secret" not in heard.body and b"code=a-code" in heard.body


@pytest.mark.parametrize("address", ["nobody", "private"])
async def test_token_endpoint_that_cannot_be_connected_to(desk: Desk, address: str) -> None:
    urls = {"nobody": f"http://127.0.0.1:{free_port()}/token", "private": "https://10.255.255.1/token"}
    company = await desk.company(oauth_url=urls[address])
    state = state_of(await desk.asked(company))

    async with asyncio.timeout(5):  # the private address is refused, not tried
        await refused(desk, company, Ending.unreachable, {"state": state, "code": "a-code"})


async def test_token_endpoint_that_says_nothing_is_not_waited_for(desk: Desk) -> None:
    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    silent = await asyncio.start_server(hear, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    company = await desk.company(oauth_url=f"http://127.0.0.1:{port}/token")
    query = {"state": state_of(await desk.asked(company)), "code": "a-code"}

    async with silent, desk.client(PUBLIC, deadline_s=0.2) as http, asyncio.timeout(5):
        answer = await desk.come_back(query, http)

        assert answer.text == page_of(Ending.unreachable, company)


async def test_grant_that_cannot_be_stored(desk: Desk) -> None:
    company = await desk.company()
    query = desk.agree(await desk.asked(company))
    asked = len(desk.pipedrive.admin("GET", "log"))
    desk.behind = True
    try:
        await refused(desk, company, Ending.not_kept, query)
    finally:
        desk.behind = False

    assert len(desk.pipedrive.admin("GET", "log")) == asked, "the code is not spent for nothing"


# -- what comes back from a browser may be anything --------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        "",
        "state={0}",
        "code=c",
        "state={0}&code=",
        "state={0}&code=c&error=access_denied",
        "state={0}&code=c&code=d",
        "state={0}&state={0}&code=c",
        "state=short&code=c",
        "state=%00{0}&code=c",
        "state={0}&code=" + "c" * 2049,
    ],
)
async def test_answer_that_is_none_of_pipedrive_s_does_not_use_the_state_up(desk: Desk, query: str) -> None:
    company = await desk.company()
    good = desk.agree(await desk.asked(company))

    answer = await desk.http.get(f"/v1/pipedrive/callback?{query.format(good['state'])}")

    assert (answer.status_code, answer.text) == (400, page_of(Ending.malformed, ""))
    assert (await desk.come_back(good)).status_code == 200


async def test_nothing_of_a_query_is_ever_shown(desk: Desk) -> None:
    known = {page_of(ending, "") for ending in Ending}
    loop, texts = asyncio.get_running_loop(), st.text(max_size=60)

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(query=st.dictionaries(st.sampled_from(["state", "code", "error", "error_description", "x"]), texts))
    def ask(query: dict[str, str]) -> None:
        if random.random() < 0.5:
            query["state"] = "".join(random.choices(string.ascii_letters, k=43))
        answer = asyncio.run_coroutine_threadsafe(desk.come_back(query), loop).result(10)
        assert answer.text in known and answer.status_code == 400

    await asyncio.to_thread(ask)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_callback_takes_no_other_method(desk: Desk, method: str) -> None:
    """Pipedrive sends DELETE there when the app is removed: the next refresh finds out."""
    assert (await desk.http.request(method, "/v1/pipedrive/callback")).status_code == 405


async def test_state_code_and_tokens_are_in_no_log_no_act_and_no_answer(desk: Desk) -> None:
    company = await desk.company()
    authorize_url = await desk.asked(company)
    query = desk.agree(authorize_url)
    with capture_logs() as lines:
        answers = [await desk.come_back(query), await desk.come_back(query)]
        guessed = {"state": state_of(await desk.asked(company)), "code": query["code"]}
        answers.append(await desk.come_back(guessed))
        denied = {"state": state_of(await desk.asked(company)), "error": "canary-in-the-error"}
        answers.append(await desk.come_back(denied))

    _, grant = desk.stored(company)
    canaries = Canaries({
        "state": query["state"], "code": query["code"], "guessed": guessed["state"], "denied": denied["state"],
        "access": grant["access_token"], "refresh": grant["refresh_token"], "client": "hush-hush-hush",
        "error": "canary-in-the-error",
    })  # fmt: skip
    assert [one.status_code for one in answers] == [200, 409, 502, 502]
    assert {line["event"] for line in lines} >= {"pipedrive_connected", "pipedrive_not_connected"}
    assert canaries.found_in(repr(lines).encode()) == set()
    assert canaries.found_in(b"".join(one.content + repr(one.headers).encode() for one in answers)) == set()
    files = b"".join(path.read_bytes() for path in Path(str(desk.database.engine.url.database)).parent.iterdir())
    assert canaries.found_in(files) == set()
    assert canaries.found_in(authorize_url.encode()) == {"state"}, "what is planted is found"


# -- asking ------------------------------------------------------------------------------------------------------------


async def test_address_says_who_asks_and_where_to_come_back(desk: Desk) -> None:
    company = await desk.company()

    answer = (await desk.ask(company)).json()

    address, _, query = answer["authorize_url"].partition("?")
    assert address == f"{desk.pipedrive.url}/oauth/authorize"
    assert query.startswith(f"client_id={company}&redirect_uri=https%3A%2F%2Fops.example.com%2Fv1%2Fpipedrive%2F")
    assert (answer["environment"], answer["version"], len(state_of(answer["authorize_url"]))) == ("sandbox", 0, 43)


async def test_company_without_a_flow_is_asked_at_pipedrive_itself(desk: Desk) -> None:
    await desk.store("early", "oauth2-client", {"client_id": "early", "client_secret": "hush-hush-hush"})

    answer = await desk.ask("early", environment="sandbox")
    nowhere = await desk.ask("early")

    assert answer.json()["authorize_url"].startswith("https://oauth.pipedrive.com/oauth/authorize?client_id=early&")
    assert nowhere.status_code == 422 and "sandbox or production" in nowhere.json()["problem"]


async def test_what_is_missing_is_named(desk: Desk) -> None:
    await desk.flow("bare", "bare")
    await desk.flow("bare-2", "bare", oauth_url="https://gate.example.com/token")
    await desk.flow("odd", "odd", oauth_url="https://gate.example.com/login")
    await desk.flow("alone", "alone")
    await desk.store("live", "oauth2-client", {"client_id": "c", "client_secret": "s"}, "production")

    async with desk.client(None) as unset:
        for http, company, body, said in (
            (unset, "alone", {}, "set MLC_ADMIN_PUBLIC_URL"),
            (None, "alone", {}, "mlc secrets set pipedrive/alone oauth2-client --environment sandbox"),
            (None, "live", {"environment": "sandbox"}, "is stored for production, not for sandbox"),
            (None, "bare", {}, "different token endpoints (bare, bare-2)"),
            (None, "odd", {}, "must end in /token"),
        ):
            answer = await desk.ask(company, http, **body)

            assert (answer.status_code, said in answer.json()["problem"]) == (409, True), answer.text


@pytest.mark.parametrize("company", ["Acme", "acme.eu", "-acme", "a" * 64])
async def test_company_that_is_no_name_is_refused(desk: Desk, company: str) -> None:
    assert (await desk.ask(company)).status_code == 422


async def test_client_that_no_key_opens_is_named(desk: Desk) -> None:
    company: str = await desk.company()
    kept: Any = desk.vault
    desk.vault = type(kept).from_text("k2:" + "A" * 43 + "=")
    try:
        answer = await desk.ask(company)
    finally:
        desk.vault = kept

    assert answer.status_code == 409 and "to store it anew: mlc secrets set" in answer.json()["problem"]
    assert REDIRECT not in answer.text
