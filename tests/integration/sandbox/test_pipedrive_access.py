"""Who may ask the Pipedrive stand-in, how much, and somebody else's client (facts/pipedrive.md 7 and 10)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from pypipedrive.api import Api  # type: ignore[import-untyped]  # it has no types

from support.pipedrive_standin import PipedriveProcess

REDIRECT = "http://127.0.0.1/callback"


@pytest.fixture(scope="module")
def pipedrive() -> Iterator[PipedriveProcess]:
    with PipedriveProcess() as process:
        yield process


class Installed:
    """An app in a company, and its OAuth."""

    def __init__(self, pipedrive: PipedriveProcess, name: str, scopes: list[str], **terms: Any) -> None:
        self.url = pipedrive.url
        self.http = httpx2.Client(auth=(f"id-{name}", "secret"), timeout=30)
        pipedrive.company(name, **terms)
        app = {"client_id": f"id-{name}", "client_secret": "secret", "redirect_uri": REDIRECT, "scopes": scopes}
        pipedrive.admin("POST", f"companies/{name}/apps", app)
        self._client_id = f"id-{name}"

    def code(self) -> str:
        query = {"client_id": self._client_id, "redirect_uri": REDIRECT, "state": "s"}
        answer = self.http.get(f"{self.url}/oauth/authorize", params=query)
        found = parse_qs(urlsplit(answer.headers["location"]).query)
        assert (answer.status_code, found["state"]) == (302, ["s"])
        return found["code"][0]

    def token(self, **form: str) -> httpx2.Response:
        return self.http.post(f"{self.url}/oauth/token", data=form)

    def exchange(self) -> dict[str, Any]:
        answer = self.token(grant_type="authorization_code", code=self.code(), redirect_uri=REDIRECT)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def ask(self, path: str, access_token: str, method: str = "GET", **more: Any) -> httpx2.Response:
        headers = {"authorization": f"Bearer {access_token}"}
        return httpx2.request(method, f"{self.url}{path}", headers=headers, **more)


def test_a_code_buys_tokens_once(pipedrive: PipedriveProcess) -> None:
    app = Installed(pipedrive, "code", ["deals:read"])
    code = app.code()

    first = app.token(grant_type="authorization_code", code=code, redirect_uri=REDIRECT)
    again = app.token(grant_type="authorization_code", code=code, redirect_uri=REDIRECT)

    given = first.json()
    assert given.keys() == {"access_token", "token_type", "refresh_token", "scope", "expires_in", "api_domain"}
    assert (given["expires_in"], given["api_domain"]) == (3600, pipedrive.url)
    assert len(given["access_token"]) >= 768
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
    assert app.ask("/api/v2/deals", given["access_token"]).status_code == 200


def test_user_who_cancels_gives_no_code(pipedrive: PipedriveProcess) -> None:
    """As "App installation" has it."""
    app = Installed(pipedrive, "cancel", ["deals:read"])
    query = {"client_id": "id-cancel", "redirect_uri": REDIRECT, "state": "s"}

    answer = app.http.get(f"{app.url}/oauth/authorize", params=query, headers={"x-sandbox-consent": "denied"})

    assert (answer.status_code, answer.headers["location"]) == (302, f"{REDIRECT}?error=user_denied&state=s")


def test_grant_may_name_the_company_s_own_domain(pipedrive: PipedriveProcess) -> None:
    app = Installed(pipedrive, "domain", ["deals:read"], api_domain="company")

    assert app.exchange()["api_domain"] == "https://domain.pipedrive.com"


def test_a_wrong_client_secret_gets_nothing(pipedrive: PipedriveProcess) -> None:
    app = Installed(pipedrive, "wrong", ["deals:read"])
    form = {"grant_type": "authorization_code", "code": app.code(), "redirect_uri": REDIRECT}

    answer = httpx2.post(f"{pipedrive.url}/oauth/token", data=form, auth=("id-wrong", "guess"))

    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


@pytest.mark.parametrize("kind", ["same", "rotated"])
def test_refreshing(pipedrive: PipedriveProcess, kind: str) -> None:
    """Official pages disagree: the same token, or one that was already exchanged is refused."""
    app = Installed(pipedrive, f"refresh-{kind}", ["deals:read"], refresh_token=kind)
    first = app.exchange()

    second = app.token(grant_type="refresh_token", refresh_token=first["refresh_token"]).json()
    third = app.token(grant_type="refresh_token", refresh_token=first["refresh_token"])

    assert (second["refresh_token"] == first["refresh_token"]) is (kind == "same")
    assert third.status_code == (200 if kind == "same" else 400)
    assert app.ask("/api/v2/deals", second["access_token"]).status_code == 200


def test_tokens_end(pipedrive: PipedriveProcess) -> None:
    """An access token after 60 minutes, a refresh token after 60 unused days."""
    app = Installed(pipedrive, "end", ["deals:read"])
    given = app.exchange()

    pipedrive.admin("POST", "clock", {"advance_s": 3601})
    late = app.ask("/api/v2/deals", given["access_token"])
    refreshed = app.token(grant_type="refresh_token", refresh_token=given["refresh_token"])
    pipedrive.admin("POST", "clock", {"advance_s": 61 * 24 * 3600})
    unused = app.token(grant_type="refresh_token", refresh_token=given["refresh_token"])

    assert (late.status_code, refreshed.status_code) == (401, 200)
    assert (unused.status_code, unused.json()["error"]) == (400, "invalid_grant")


def test_revoking_ends_all(pipedrive: PipedriveProcess) -> None:
    """RFC 7009."""
    app = Installed(pipedrive, "revoke", ["deals:read"])
    given = app.exchange()

    answer = app.http.post(f"{app.url}/oauth/revoke", data={"token": given["refresh_token"]})

    assert answer.status_code == 200
    assert app.ask("/api/v2/deals", given["access_token"]).status_code == 401
    assert app.token(grant_type="refresh_token", refresh_token=given["refresh_token"]).status_code == 400


def test_scopes_are_enforced(pipedrive: PipedriveProcess) -> None:
    """The scopes of the OpenAPI document."""
    app = Installed(pipedrive, "scopes", ["deals:read"])
    token = app.exchange()["access_token"]

    assert app.ask("/api/v2/deals", token).status_code == 200
    assert app.ask("/api/v2/persons", token).status_code == 403
    assert app.ask("/api/v2/deals", token, "POST", json={"title": "x"}).status_code == 403
    assert app.ask("/v1/webhooks", token).status_code == 403


# -- limits -----------------------------------------------------------------------------------------------------------


def flood(pipedrive: PipedriveProcess, headers: dict[str, str], count: int) -> list[httpx2.Response]:
    """Requests that cost 20 tokens each."""
    with httpx2.Client(headers=headers, timeout=30) as client:
        return [client.get(f"{pipedrive.url}/api/v2/deals/archived") for _ in range(count)]


def test_the_burst_limit_of_a_plan(pipedrive: PipedriveProcess) -> None:
    """20 requests in any two seconds for an API token on Lite, with headers."""
    token = pipedrive.company("burst", plan="lite", seats=100)

    answers = flood(pipedrive, {"x-api-token": token}, 25)

    statuses = [answer.status_code for answer in answers]
    refused = answers[statuses.index(429)]
    assert statuses[:20] == [200] * 20 and statuses.count(429) >= 3
    assert (answers[0].headers["x-ratelimit-limit"], answers[0].headers["x-ratelimit-remaining"]) == ("20", "19")
    assert refused.headers["x-ratelimit-remaining"] == "0"
    assert 1 <= int(refused.headers["x-ratelimit-reset"]) <= 2
    assert "retry-after" not in refused.headers


def test_the_daily_budget_is_counted_in_tokens(pipedrive: PipedriveProcess) -> None:
    """30,000 x 1 x 1 on Lite; archived deals cost 20. Refused until midnight, and not as a burst."""
    token = pipedrive.company("budget", plan="lite")
    now = datetime.fromisoformat(pipedrive.admin("GET", "clock")["now"])
    midnight = datetime.combine(now.date() + timedelta(days=1), datetime.min.time(), UTC)
    pipedrive.admin("POST", "clock", {"advance_s": (midnight - now).total_seconds()})
    spent = 0
    while spent < 30_000:  # the clock moves, so that the burst limit does not
        answers = flood(pipedrive, {"x-api-token": token}, 20)
        assert {answer.status_code for answer in answers} == {200}
        spent += 20 * len(answers)
        pipedrive.admin("POST", "clock", {"advance_s": 2.1})

    (refused,) = flood(pipedrive, {"x-api-token": token}, 1)
    pipedrive.admin("POST", "clock", {"advance_s": 24 * 3600})
    (next_day,) = flood(pipedrive, {"x-api-token": token}, 1)

    assert refused.status_code == 429
    assert refused.headers["x-ratelimit-remaining"] != "0"
    assert next_day.status_code == 200


def test_hammering_meets_a_wall(pipedrive: PipedriveProcess) -> None:
    """A Cloudflare 403 with an HTML body."""
    token = pipedrive.company("hammer", plan="lite", seats=100)

    answers = flood(pipedrive, {"x-api-token": token}, 400)

    assert answers[-1].status_code == 403
    assert answers[-1].headers["content-type"].startswith("text/html")
    assert b"<html" in answers[-1].content


# -- a company, and somebody else's client ----------------------------------------------------------------------------


def test_the_same_seed_makes_the_same_company(pipedrive: PipedriveProcess) -> None:
    sizes = {"organizations": 20, "persons": 40, "deals": 30}
    seen: list[list[tuple[str, float]]] = []
    for seed in (1, 1, 2):
        name = f"generated-{len(seen)}"
        token = pipedrive.company(name)
        pipedrive.admin("POST", f"companies/{name}/objects", {**sizes, "seed": seed})
        rows = pipedrive.http.get(f"{pipedrive.url}/api/v2/deals", headers={"x-api-token": token}).json()["data"]
        seen.append([(row["title"], row["value"]) for row in rows])

    assert len(seen[0]) == 30
    assert seen[0] == seen[1] != seen[2]


def test_edits_are_played_at_a_rate(pipedrive: PipedriveProcess) -> None:
    pipedrive.company("edited")
    pipedrive.admin("POST", "companies/edited/objects", {"organizations": 5, "persons": 5, "deals": 5})

    pipedrive.admin("POST", "companies/edited/edits", {"rate": 200, "count": 50, "seed": 1})
    quiet = pipedrive.admin("GET", "quiet?timeout_s=10")

    rows = pipedrive.admin("GET", "companies/edited")
    assert quiet["pending"] == 0
    assert rows["objects"] == {"organization": 5, "person": 5, "deal": 5}


def test_somebody_elses_client(pipedrive: PipedriveProcess) -> None:
    """PyPI pypipedrive-client 1.0.2: pages by cursor, PATCH in v2; only its host is another."""
    api = Api(pipedrive.company("client"))
    api.endpoint_url = f"{pipedrive.url}/api/v2/"
    for number in range(7):
        api.post("persons", json={"name": f"Person {number}"})
    first = api.all("persons", params={"limit": 3}).data[0]

    api.patch(f"persons/{first['id']}", json={"name": "Renamed Person"})
    found = api.get(f"persons/{first['id']}").data
    api.delete(f"persons/{first['id']}")

    assert len(api.all("persons", params={"limit": 3}).data) == 6
    assert (found["first_name"], found["last_name"]) == ("Renamed", "Person")
