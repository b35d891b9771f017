"""No secret leaves the place where it belongs: not in logs at level debug, spans, metrics, errors, topics, files, the
database, process arguments or the API's answers; through failed logins, refused requests, dead letters and crashes.

What is planted on purpose is found, or the search would prove nothing.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
import pytest_asyncio

from ml_connector.cli.reading import newest_by_key, read_topic
from ml_connector.cli.stack import ACCOUNT, ADMIN, ALL, COMPANY, FLOW, SERVICES, StackOptions
from ml_connector.cli.tokens import new_signing_key
from ml_connector.common import topics
from ml_connector.common.vault import SecretEntry, Vault
from support.allowed_requests import refuse_strays
from support.canaries import Canaries, of_files
from support.listener import Listener
from support.operating import Api, Operating, webhook
from support.writing import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

OURS = (*SERVICES, ADMIN)
THEIRS = frozenset({"admin-key.pem"})  # whoever may make tokens reads it


class Exercise:
    """The whole product with planted secrets, and everything that it lets out."""

    def __init__(self, operating: Operating, exports: Listener, lines: list[tuple[str, str]]) -> None:
        self.operating = operating
        self.exports = exports
        self.lines = lines
        self.answers: list[bytes] = []
        self.planted = {name: f"canary-{name}-{secrets.token_hex(16)}" for name in PLANTED}
        self.wrong_key = new_signing_key()
        self.last = b""
        stack = operating.stack
        self.canaries = Canaries({
            **self.planted,
            "signing key": stack.signing_key,
            "api token": stack.api_token,
            "private key": stack.private_key_pem,
            "vault key": stack.vault_key.partition(":")[2],
            "admin key": stack.admin_key_pem,
            "wrong key": self.wrong_key,
        })  # fmt: skip
        self.admin = operating.api_of(ADMIN, role="admin")

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> int:
        answer = await self.admin.http.request(method, path, json=body, headers=headers)
        self.last = answer.content
        self.answers.append(self.last + repr(answer.headers).encode())
        return answer.status_code

    async def leaks(self) -> set[tuple[str, str]]:
        """(where, which secret)."""
        return {(where, name) for where, data in await self._everything() for name in self.canaries.found_in(data)}

    async def _everything(self) -> list[tuple[str, bytes]]:
        found = [("log", "\n".join(line for _, line in self.lines).encode()), ("answers", b"\n".join(self.answers))]
        found += [("export", heard.body) for heard in self.exports.heard]
        found += [(f"arguments of {name}", _arguments(pid)) for name, pid in self.operating.stack.pids().items()]
        found += await asyncio.to_thread(lambda: list(of_files(self.operating.stack._home, THEIRS)))
        return found + await asyncio.to_thread(lambda: list(self._messages()))

    def _messages(self) -> Iterator[tuple[str, bytes]]:
        for topic in topics.ALL:
            for record in read_topic(self.operating.kafka, topic.name):
                headers = b"\n".join(record.headers.values())
                yield f"topic {topic.name}", b"\n".join([record.key or b"", record.value or b"", headers])


SCOPES = ["deals:read", "contacts:read", "users:read", "webhooks:full"]
PLANTED = ("basic-password", "client-secret", "refresh-token", "wrong-token", "bearer", "misplaced", "forged")


def _arguments(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def exercise() -> AsyncIterator[Exercise]:
    lines: list[tuple[str, str]] = []
    with Listener(lambda _: 200) as exports:
        told = {
            "MLC_LOG_LEVEL": "debug",
            "OTEL_EXPORTER_OTLP_ENDPOINT": exports.url,
            "OTEL_METRIC_EXPORT_INTERVAL": "500",
            "OTEL_BSP_SCHEDULE_DELAY": "200",
        }
        options = StackOptions(processes=ALL, environment=dict.fromkeys(OURS, told))
        operating = Operating(options)
        operating.stack._on_line = lambda name, line: (
            lines.append((name, line)) if name.partition("#")[0] in OURS else None
        )
        async with operating:
            one = Exercise(operating, exports, lines)
            await _go_through(one)
            yield one
            await one.admin.close()


async def _go_through(one: Exercise) -> None:
    """All that could make software say too much."""
    await one.operating.rejected(2)  # dead letters, with the events in them
    await _store(one)
    await _be_refused(one)
    await _fail_to_log_in(one)
    await _connect(one)
    for name in ("resolver", "netsuite-writer", "ingest", ADMIN):
        await one.operating.stack.kill(name)
        await one.operating.stack.start_one(name)
    await one.operating.events([webhook(901, one.operating.stack.company_id)])
    for path in ("/secrets", "/flows", f"/flows/{FLOW}", "/acts", "/dead-letters", "/openapi.json", "/status"):
        assert await one.ask("GET", path) == 200
    for letter in await one.operating.api.letters(state="all"):
        assert await one.ask("GET", f"/dead-letters/{letter['id']}") == 200

    async def exported() -> bool:
        return any(b"ml_connector" in heard.body for heard in one.exports.heard)

    await until(exported)


async def _store(one: Exercise) -> None:
    planted = one.planted
    values = {
        f"flow/{FLOW}/webhook-basic": {"keys": [{"id": "a", "user": "u", "password": planted["basic-password"]}]},
        f"pipedrive/{COMPANY}/oauth2-client": {"client_id": "c", "client_secret": planted["client-secret"]},
        f"pipedrive/{COMPANY}/oauth2": {"refresh_token": planted["refresh-token"]},
    }
    for place, value in values.items():
        body = {"value": value, "environment": "sandbox", "reason": "planted"}
        assert await one.ask("PUT", f"/secrets/{place}", body) == 200


async def _be_refused(one: Exercise) -> None:
    """422, 401, 404, with secrets where none belong."""
    bad = one.planted["misplaced"]
    for place, body in (
        (f"/secrets/pipedrive/{COMPANY}/api-token", {"value": {"token": [bad]}, "reason": "wrong"}),
        (f"/secrets/pipedrive/{COMPANY}/api-token", {"value": bad, "reason": "wrong"}),
        (f"/secrets/netsuite/{ACCOUNT}/oauth2-m2m", {"value": {"private_key_pem": bad}, "reason": "wrong"}),
        (f"/secrets/flow/{FLOW}/webhook-hmac", {"value": {"keys": [{"id": "a", "secret": {"x": bad}}]}}),
        (f"/secrets/flow/{FLOW}/webhook-hmac", {"value": {}, "environment": bad}),
    ):
        assert await one.ask("PUT", place, body) == 422
    for document in ({"flow": bad}, {"flow": "x", "netsuite": {"account": bad}}, {"pipedrive": {"base_url": bad}}):
        assert await one.ask("POST", "/flows", {"document": document}) == 422
    assert await one.ask("GET", "/flows", authorization=f"Bearer {one.planted['bearer']}") == 401
    url = f"{one.operating.stack.urls['ingest']}/webhooks/pipedrive/{FLOW}"
    async with httpx2.AsyncClient() as client:
        for headers in (
            {"x-pipedrive-signature": one.planted["forged"]},
            {"authorization": httpx2.BasicAuth("u", one.planted["forged"])._auth_header},
        ):
            answer = await client.post(url, content=json.dumps({"data": {}}), headers=headers)
            one.answers.append(answer.content)
            assert answer.status_code == 401


async def _fail_to_log_in(one: Exercise) -> None:
    """A token that Pipedrive does not know, a key that NetSuite does not know; found out by doctor."""
    stack = one.operating.stack
    m2m = {"client_id": "dev-client", "certificate_id": "dev-certificate", "algorithm": "ES256"}
    for side, place, wrong, right in (
        (
            "pipedrive",
            f"pipedrive/{COMPANY}/api-token",
            {"token": one.planted["wrong-token"]},
            {"token": stack.api_token},
        ),
        (
            "netsuite",
            f"netsuite/{ACCOUNT}/oauth2-m2m",
            {**m2m, "private_key_pem": one.wrong_key},
            {**m2m, "private_key_pem": stack.private_key_pem},
        ),
    ):
        assert await one.ask("PUT", f"/secrets/{place}", {"value": wrong}) == 200
        await _until_found(one, f"{side}.authentication", "failed")
        assert await one.ask("PUT", f"/secrets/{place}", {"value": right}) == 200


async def _connect(one: Exercise) -> None:
    """A browser allows the app, and the flow goes over to OAuth; its API token is a wrong one from then on."""
    stack = one.operating.stack
    callback = f"{stack.urls[ADMIN]}/v1/pipedrive/callback"
    secret = one.planted["client-secret"]
    app = {"client_id": "c", "client_secret": secret, "redirect_uri": callback, "scopes": SCOPES}
    async with httpx2.AsyncClient() as browser:
        (
            await browser.post(f"{stack.urls['pipedrive']}/_sandbox/companies/{COMPANY}/apps", json=app)
        ).raise_for_status()
        asked = await one.admin.post(f"/pipedrive/{COMPANY}/connect", {})
        came = (await browser.get(asked["authorize_url"])).headers["location"]
        forged = f"{callback}?state={'f' * 43}&code={one.planted['forged']}"
        answers = [await browser.get(url) for url in (forged, came, came)]
    one.answers += [answer.content + repr(answer.headers).encode() for answer in answers]
    assert [answer.status_code for answer in answers] == [400, 200, 409]
    query = {name: values[0] for name, values in parse_qs(urlsplit(came).query).items()}
    grant = await asyncio.to_thread(_grant, one)
    tokens = {name: grant[name] for name in ("access_token", "refresh_token")}
    one.canaries.plant({"state": query["state"], "code": query["code"], **tokens})

    document = stack.flow_document()
    document["pipedrive"]["auth"] = "oauth2"
    wrong = {"value": {"token": one.planted["wrong-token"]}}
    assert await one.ask("PUT", f"/secrets/pipedrive/{COMPANY}/api-token", wrong) == 200
    assert await one.ask("POST", "/flows", {"document": document, "check": False}) == 200
    await _until_found(one, "pipedrive.authentication", "ok")


def _grant(one: Exercise) -> dict[str, Any]:
    owner, stack = f"pipedrive/{COMPANY}", one.operating.stack
    entry = SecretEntry.decode(newest_by_key(one.operating.kafka, topics.SECRETS.name)[f"{owner}/oauth2"])
    assert entry.version == 2, "after the one that was stored by hand"
    vault = Vault.from_text(stack.vault_key)
    return vault.decrypt(entry, owner=owner, name="oauth2", environment=entry.environment)


async def _until_found(one: Exercise, check: str, result: str) -> None:
    async def found_out() -> bool:
        await one.ask("POST", f"/flows/{FLOW}/check", {})
        findings = json.loads(one.last)["findings"]
        return {result} == {finding["result"] for finding in findings if finding["check"] == check}

    await until(found_out)


async def test_no_secret_is_found_anywhere(exercise: Exercise) -> None:
    assert {name for name, _ in exercise.lines} == set(OURS), "somebody said nothing"
    assert exercise.exports.heard, "nothing was exported"

    assert await exercise.leaks() == set()


async def test_nothing_was_asked_of_the_vendors_but_what_we_may(exercise: Exercise) -> None:
    """Through doctor, failed logins, crashes and dead letters."""
    await refuse_strays(exercise.operating.stack.urls)


async def test_planted_leak_is_found_wherever_it_went(exercise: Exercise) -> None:
    """A person types a secret as a reason: it goes into the audit, the database and the answers, and is found there."""
    leaked = exercise.planted["misplaced"]
    admin: Api = exercise.admin

    await admin.post(f"/flows/{FLOW}/pause", {"reason": leaked})
    assert await exercise.ask("GET", "/acts") == 200
    exercise.lines.append((ADMIN, f'{{"event": "planted", "problem": "{leaked}"}}'))
    found = await exercise.leaks()

    places = {where for where, name in found if name == "misplaced"}
    assert {"log", "answers", "topic audit"} <= places
    assert any(where.startswith("admin.sqlite") for where in places)
