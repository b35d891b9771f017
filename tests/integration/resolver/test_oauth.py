"""A company that is logged in to by OAuth 2.0: when tokens are refreshed, and what is left after a crash at any point.
The stand-in answers; its log judges."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
import pytest_asyncio

from ml_connector.common import topics
from ml_connector.common.clock import ManualClock
from ml_connector.common.credentials import KINDS, Credential, OAuthClient, OAuthGrant, OAuthToken
from ml_connector.common.errors import SecretUnreadable, VendorUnavailable
from ml_connector.common.flows import PipedriveLimits
from ml_connector.common.telemetry import Carried
from ml_connector.common.traceparent import trace_id
from ml_connector.common.vault import SecretEntry, Vault, new_key, secret_key
from ml_connector.common.wire import Hydrate
from ml_connector.resolver.pipedrive.breaker import Breaker
from ml_connector.resolver.pipedrive.budget import Budget
from ml_connector.resolver.pipedrive.client import PipedriveClient
from ml_connector.resolver.pipedrive.grant import REVOKED, Grant, GrantRevoked
from ml_connector.resolver.pipedrive.login import OAuthLogin
from support.pipedrive_standin import PipedriveProcess
from support.recording import RECORDED, Recording
from support.resolving import Resolving
from support.state_topic import StateTopic
from support.writing import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

C = TypeVar("C", bound=Credential)
REDIRECT = "https://connector.test/callback"
SCOPES = ["deals:read", "contacts:read", "users:read"]


class Crash(Exception):
    """The process is gone."""


@pytest.fixture(scope="module")
def pipedrive() -> Iterator[PipedriveProcess]:
    with PipedriveProcess() as process:
        yield process


class Acme:
    """A company whose administrator allows our app; `secrets` of its own, which outlive a crash."""

    def __init__(self, pipedrive: PipedriveProcess, http: httpx2.AsyncClient, **terms: Any) -> None:
        self.pipedrive = pipedrive
        self.name = f"acme-{uuid.uuid4().hex[:8]}"
        self.owner = f"pipedrive/{self.name}"
        self.clock = ManualClock(time.time_ns() // 1_000_000)
        self.entries: dict[str, SecretEntry] = {}
        self.state = StateTopic()
        self.crash = ""  # "before" or "after" the broker has the entry
        self._vault = Vault.from_text(new_key("k1"))
        self._http = http
        pipedrive.company(self.name, **terms)
        app = {"client_id": self.name, "client_secret": "hush", "redirect_uri": REDIRECT, "scopes": SCOPES}
        pipedrive.admin("POST", f"companies/{self.name}/apps", app)
        self.put("oauth2-client", {"client_id": self.name, "client_secret": "hush"})
        self.connect()
        self.restart()

    def restart(self) -> None:
        """Nothing is remembered but what was kept."""
        self.grant = Grant(
            self._http, f"{self.pipedrive.url}/oauth/token", company=self.name, environment="sandbox",
            secrets=self, keep=self._keep, clock=self.clock,
        )  # fmt: skip
        self.standing = self.state.standing(self.name, self.clock)
        self.client = PipedriveClient(
            self._http, OAuthLogin("http://127.0.0.1:9", None, self.grant),
            breaker=Breaker(first_s=5, longest_s=300, chance=random.Random(1)),
            budget=Budget(), limits=PipedriveLimits(), standing=self.standing, clock=self.clock,
        )  # fmt: skip

    def connect(self) -> None:
        """The administrator agrees, and the grant is stored."""
        given = exchanged(self.pipedrive.http, self.pipedrive.url, self.name)
        self.put("oauth2", {"refresh_token": given["refresh_token"]})

    def revoke(self) -> None:
        grant, url = self.secret(OAuthGrant, owner=self.owner, environment="sandbox"), self.pipedrive.url
        form = {"token": grant.refresh_token}
        httpx2.post(f"{url}/oauth/revoke", data=form, auth=(self.name, "hush")).raise_for_status()

    def move(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.pipedrive.admin("POST", "clock", {"advance_s": seconds})

    async def read(self) -> None:
        """An object that is not there: 404 is an answer, too."""
        await self.client.read("organization", "1")

    def refreshes(self) -> int:
        return len([line for line in self.pipedrive.admin("GET", "log") if line["path"] == "/oauth/token"])

    # -- as the directory and the broker -----------------------------------------------------------------------------

    def put(self, name: str, value: dict[str, Any]) -> None:
        KINDS[name].read(value)
        known = self.entries.get(secret_key(self.owner, name))
        version = (known.version if known is not None else 0) + 1
        entry = self._vault.encrypt(self.owner, name, "sandbox", version=version, value=value)
        self.entries[entry.key] = entry

    def secret(self, kind: type[C], *, owner: str, environment: Any) -> C:
        entry = self.entries.get(secret_key(owner, kind.NAME))
        if entry is None:
            raise SecretUnreadable("not set")
        return kind.read(self._vault.decrypt(entry, owner=owner, name=kind.NAME, environment=environment))

    def version_of(self, kind: type[Credential], *, owner: str) -> int:
        entry = self.entries.get(secret_key(owner, kind.NAME))
        return 0 if entry is None else entry.version

    def sealed(self, credential: Credential, *, owner: str, environment: Any, version: int) -> SecretEntry:
        value = {name: getattr(credential, name) for name in credential.__struct_fields__}
        return self._vault.encrypt(owner, credential.NAME, environment, version=version, value=value)

    async def _keep(self, entry: SecretEntry) -> None:
        if self.crash == "before":
            raise Crash
        self.entries[entry.key] = entry
        if self.crash == "after":
            raise Crash


def exchanged(http: httpx2.Client, url: str, client_id: str) -> dict[str, Any]:
    """What the token endpoint gives for a code."""
    query = {"client_id": client_id, "redirect_uri": REDIRECT, "state": "s"}
    answer = http.get(f"{url}/oauth/authorize", params=query)
    code = parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT}
    answer = http.post(f"{url}/oauth/token", data=form, auth=(client_id, "hush"))
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest_asyncio.fixture(loop_scope="module")
async def http() -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient() as one:
        yield one


@pytest.fixture(params=["same", "rotated"])
def acme(request: pytest.FixtureRequest, pipedrive: PipedriveProcess, http: httpx2.AsyncClient) -> Acme:
    """Official pages disagree on what becomes of the refresh token."""
    return Acme(pipedrive, http, refresh_token=request.param)


@pytest.fixture
def steady(pipedrive: PipedriveProcess, http: httpx2.AsyncClient) -> Acme:
    return Acme(pipedrive, http)


async def test_concurrent_callers_wait_for_one_refresh_and_it_is_ahead_of_the_end(acme: Acme) -> None:
    already = acme.refreshes()

    await asyncio.gather(*(acme.read() for _ in range(8)))
    acme.move(54 * 60)
    await acme.read()
    assert acme.refreshes() - already == 1
    acme.move(2 * 60)
    await asyncio.gather(*(acme.read() for _ in range(8)))

    assert acme.refreshes() - already == 2
    stored = acme.secret(OAuthToken, owner=acme.owner, environment="sandbox")
    assert (stored.grant_version, stored.api_domain) == (1, acme.pipedrive.url)


async def test_refresh_is_in_the_trace_of_what_needs_it(monkeypatch: pytest.MonkeyPatch, steady: Acme) -> None:
    recording = Recording(monkeypatch)

    with Carried(RECORDED):
        await steady.read()

    asked = recording.named("POST /oauth/token")
    assert f"{asked.context.trace_id:032x}" == trace_id(RECORDED)
    assert dict(asked.attributes or {}) == {
        "http.request.method": "POST", "http.response.status_code": 200, "server.address": "127.0.0.1",
        "url.template": "/oauth/token", "ml_connector.attempt": 1,
    }  # fmt: skip


async def test_restart_goes_on_with_what_was_kept(acme: Acme) -> None:
    await acme.read()
    already = acme.refreshes()

    acme.restart()
    await acme.read()
    acme.move(2 * 3600)
    await acme.read()

    assert acme.refreshes() - already == 1


@pytest.mark.parametrize("point", ["before", "after"])
async def test_crash_leaves_a_token_that_works(steady: Acme, point: str) -> None:
    steady.crash = point
    with pytest.raises(Crash):
        await steady.read()

    steady.crash = ""
    steady.restart()

    await steady.read()


async def test_crash_after_it_was_kept_loses_no_rotated_token(acme: Acme) -> None:
    acme.crash = "after"
    with pytest.raises(Crash):
        await acme.read()

    acme.crash = ""
    acme.restart()
    acme.move(3600)

    await acme.read()


async def test_answer_that_the_broker_did_not_take_is_not_used(steady: Acme) -> None:
    steady.crash = "before"
    with pytest.raises(Crash):
        await steady.read()

    steady.crash = ""
    await steady.read()

    assert steady.version_of(OAuthToken, owner=steady.owner) == 1


async def test_new_grant_makes_the_token_of_the_old_one_void(acme: Acme) -> None:
    await acme.read()
    acme.connect()

    token = await acme.grant.token()

    assert token.grant_version == 2
    assert acme.secret(OAuthToken, owner=acme.owner, environment="sandbox") == token


async def test_caller_that_gives_up_does_not_cut_the_refresh_off(acme: Acme) -> None:
    waiting = asyncio.create_task(acme.grant.token())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)

    await acme.grant.close()

    assert acme.version_of(OAuthToken, owner=acme.owner) == 1


async def test_grant_that_came_during_a_refresh_wins(acme: Acme) -> None:
    already = acme.refreshes()
    waiting = asyncio.create_task(acme.grant.token())
    await asyncio.sleep(0)
    acme.connect()  # nothing of ours runs meanwhile: the answer comes after it

    token = await waiting

    assert token.grant_version == 2
    assert acme.refreshes() - already == 3, "for the old grant, the new code and the new grant"
    assert acme.version_of(OAuthToken, owner=acme.owner) == 1, "the late answer was not kept"


async def test_grant_of_a_new_consent_during_a_refresh_is_used_as_it_is(acme: Acme) -> None:
    """`mlc pipedrive connect` stores the access token, too."""
    already = acme.refreshes()
    waiting = asyncio.create_task(acme.grant.token())
    await asyncio.sleep(0)
    given = exchanged(acme.pipedrive.http, acme.pipedrive.url, acme.name)
    ends = {"expires_at_ms": acme.clock.now_ms() + given["expires_in"] * 1000}
    acme.put("oauth2", {name: given[name] for name in ("refresh_token", "access_token", "api_domain")} | ends)

    token = await waiting
    await acme.read()

    assert (token.access_token, token.grant_version) == (given["access_token"], 2)
    assert acme.refreshes() - already == 2, "for the old grant and the new code"
    assert acme.version_of(OAuthToken, owner=acme.owner) == 0, "the late answer was not kept"


async def test_refused_token_is_refreshed_once_and_then_tried_once_more(steady: Acme) -> None:
    await steady.read()
    steady.pipedrive.admin("POST", "clock", {"advance_s": 3601})  # only theirs: the token ends sooner than we think
    already = steady.refreshes()

    await asyncio.gather(*(steady.read() for _ in range(4)))

    assert steady.refreshes() - already == 1


async def test_revoked_company_waits_without_calls_until_it_is_connected_anew(acme: Acme) -> None:
    acme.revoke()
    with pytest.raises(VendorUnavailable, match=REVOKED):
        await acme.read()
    already = len(acme.pipedrive.admin("GET", "log"))

    for _ in range(3):
        acme.clock.advance(70)
        with pytest.raises(VendorUnavailable, match=REVOKED):
            await acme.read()
    with pytest.raises(GrantRevoked):
        await acme.client.log_in()
    assert len(acme.pipedrive.admin("GET", "log")) == already
    assert acme.client.budget.by_hour == {}, "what was not asked costs nothing"

    acme.restart()
    with pytest.raises(VendorUnavailable, match=REVOKED):
        await acme.read()
    assert acme.state.told(acme.name) == [REVOKED]
    acme.connect()
    acme.clock.advance(70)
    await acme.read()
    assert acme.state.told(acme.name) == [REVOKED, None]


async def test_wrong_client_secret_is_no_revoked_grant(steady: Acme) -> None:
    steady.put("oauth2-client", {"client_id": steady.name, "client_secret": "wrong"})
    with pytest.raises(VendorUnavailable, match="does not accept the client"):
        await steady.read()

    steady.put("oauth2-client", {"client_id": steady.name, "client_secret": "hush"})
    steady.clock.advance(6)

    await steady.read()


async def test_grant_of_another_address_is_refused_and_nobody_sees_a_token() -> None:
    with pytest.raises(SecretUnreadable, match="api_domain"):
        OAuthGrant.read({"refresh_token": "r3fresh", "api_domain": "http://elsewhere.test"})
    assert "r3fresh" not in repr(OAuthGrant(refresh_token="r3fresh"))
    assert "hush" not in repr(OAuthClient(client_id="c", client_secret="hush"))
    assert "token" not in KINDS, "only the resolver writes it"


async def test_resolver_logs_in_and_keeps_the_token_in_the_topic() -> None:
    async with Resolving() as resolving:
        name, url = f"acme-{uuid.uuid4().hex[:8]}", resolving.stack.urls["pipedrive"]
        await resolving.company(name)
        objects = {"organizations": 1, "persons": 0, "deals": 0}
        await resolving.sandbox("POST", f"companies/{name}/objects", objects)
        app = {"client_id": name, "client_secret": "hush", "redirect_uri": REDIRECT, "scopes": SCOPES}
        await resolving.sandbox("POST", f"companies/{name}/apps", app)
        with httpx2.Client() as http:
            given = exchanged(http, url, name)
        resolving.secret(name, "oauth2-client", {"client_id": name, "client_secret": "hush"})
        resolving.secret(name, "oauth2", {"refresh_token": given["refresh_token"]})
        side = {"auth": "oauth2", "oauth_url": f"{url}/oauth/token"}
        resolving.flows([resolving.flow(name, {"companyName": "data.name"}, **side)])

        request = Hydrate(
            request_id=name, flow=name, entity="organization", source_id="1", lane="live", reason="a test", at_ms=1
        )
        resolving.ask(request, company=name)
        await resolving.caused({f"hyd:{name}"})

        kept = [record.key for record in await resolving.read(topics.SECRETS)]
        assert kept.count(f"pipedrive/{name}/token".encode()) == 1
        found = await resolving.check(name, company=name)
        assert [found[one].result for one in ("credentials", "address", "authentication")] == ["ok"] * 3
        await _revoked_and_connected_anew(resolving, name, given["refresh_token"])


async def _revoked_and_connected_anew(resolving: Resolving, name: str, refresh_token: str) -> None:
    """Others are told, and told again once it works; nothing but the new grant is needed for that."""
    url = resolving.stack.urls["pipedrive"]
    with httpx2.Client() as http:
        form = {"token": refresh_token}
        http.post(f"{url}/oauth/revoke", data=form, auth=(name, "hush")).raise_for_status()
        assert (await resolving.check(name, company=name))["credentials"].result == "ok", "nobody has told us yet"
        standing = await resolving.standing(name)
        assert standing is not None
        assert (standing.state, standing.reason) == ("suspended", REVOKED)

        resolving.secret(name, "oauth2", {"refresh_token": exchanged(http, url, name)["refresh_token"]}, version=2)

    async def goes_on() -> bool:
        return await resolving.standing(name) is None

    await until(goes_on)
