"""Who may do what: every role on every route. A route that is not in the table fails, until somebody has thought."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from fastapi import FastAPI
from fastapi.routing import _IncludedRouter
from starlette.routing import Route
from starlette.testclient import TestClient

from ml_connector.admin.api.services import Services
from ml_connector.admin.identity.keys import FileKeys
from ml_connector.admin.identity.tokens import Verifier
from ml_connector.admin.web import make_api, within_door
from ml_connector.cli.tokens import AUDIENCE, ISSUER, jwks_of, make_token, new_signing_key
from ml_connector.common.clock import SystemClock

ID = "0" * 12
SELECTION = {"selection": {"ids": [ID]}, "reason": "because"}

# The least role for each route, and a body that is valid there.
ACCESS: dict[tuple[str, str], tuple[str, Any]] = {
    ("GET", "/v1/openapi.json"): ("viewer", None),
    ("GET", "/v1/records"): ("viewer", None),
    ("GET", "/v1/timeline"): ("viewer", None),
    ("GET", "/v1/dead-letters"): ("viewer", None),
    ("GET", "/v1/dead-letters/groups"): ("viewer", None),
    ("GET", "/v1/dead-letters/{letter_id}"): ("viewer", None),
    ("PUT", "/v1/dead-letters/{letter_id}/edited"): ("operator", {"event": {}, "reason": "because"}),
    ("POST", "/v1/dead-letters/discard"): ("operator", SELECTION),
    ("POST", "/v1/replays"): ("operator", SELECTION),
    ("GET", "/v1/replays"): ("viewer", None),
    ("GET", "/v1/replays/{job_id}"): ("viewer", None),
    ("GET", "/v1/replays/{job_id}/items"): ("viewer", None),
    ("POST", "/v1/replays/{job_id}/{act}"): ("operator", {"reason": "because"}),
    ("POST", "/v1/syncs"): ("operator", {"flow": "acme", "mode": "full"}),
    ("GET", "/v1/syncs"): ("viewer", None),
    ("GET", "/v1/syncs/{job_id}"): ("viewer", None),
    ("POST", "/v1/syncs/{job_id}/{act}"): ("operator", {}),
    ("POST", "/v1/polls"): ("operator", {"flow": "acme"}),
    ("GET", "/v1/polls"): ("viewer", None),
    ("GET", "/v1/polls/{job_id}"): ("viewer", None),
    ("POST", "/v1/polls/{job_id}/cancel"): ("operator", {}),
    ("GET", "/v1/drift"): ("viewer", None),
    ("GET", "/v1/schedules"): ("viewer", None),
    ("GET", "/v1/schedules/{flow}"): ("viewer", None),
    ("POST", "/v1/reconciles"): ("operator", {"flow": "acme"}),
    ("GET", "/v1/reconciles"): ("viewer", None),
    ("GET", "/v1/reconciles/{job_id}"): ("viewer", None),
    ("GET", "/v1/reconciles/{job_id}/results"): ("viewer", None),
    ("POST", "/v1/reconciles/{job_id}/fix"): ("operator", {}),
    ("POST", "/v1/reconciles/{job_id}/{act}"): ("operator", {}),
    ("GET", "/v1/catch-ups"): ("viewer", None),
    ("GET", "/v1/flows"): ("viewer", None),
    ("POST", "/v1/flows"): ("admin", {"document": {}}),
    ("GET", "/v1/flows/{flow}"): ("viewer", None),
    ("GET", "/v1/flows/{flow}/versions/{version}"): ("viewer", None),
    ("POST", "/v1/flows/{flow}/activate"): ("admin", {"version": 1}),
    ("POST", "/v1/flows/{flow}/pause"): ("operator", {}),
    ("POST", "/v1/flows/{flow}/resume"): ("operator", {}),
    ("POST", "/v1/flows/{flow}/preview"): ("viewer", {"event": {}}),
    ("POST", "/v1/flows/preview"): ("admin", {"document": {}, "event": {}}),
    ("POST", "/v1/flows/{flow}/check"): ("operator", None),
    ("GET", "/v1/secrets"): ("admin", None),
    ("PUT", "/v1/secrets/{kind}/{owner}/{name}"): ("admin", {"value": {}}),
    ("DELETE", "/v1/secrets/{kind}/{owner}/{name}"): ("admin", None),
    ("GET", "/v1/vault"): ("admin", None),
    ("POST", "/v1/vault/rotate"): ("admin", {}),
    ("GET", "/v1/flows/{flow}/webhooks"): ("viewer", None),
    ("POST", "/v1/flows/{flow}/webhooks"): ("admin", {"url": "https://in.example.com"}),
    ("POST", "/v1/flows/{flow}/webhooks/rotate"): ("admin", {}),
    ("POST", "/v1/pipedrive/{company}/connect"): ("admin", {}),
    ("GET", "/v1/status"): ("viewer", None),
    ("GET", "/v1/accounting"): ("viewer", None),
    ("POST", "/v1/accounting"): ("operator", None),
    ("GET", "/v1/acts"): ("viewer", None),
}
# Routes that need no token: a browser comes back to it from Pipedrive, and its `state` says who asked.
PUBLIC = {("GET", "/v1/pipedrive/callback")}
IN_PATHS = {
    "letter_id": ID,
    "job_id": ID,
    "act": "pause",
    "flow": "acme",
    "company": "acme",
    "version": "1",
    "kind": "flow",
    "owner": "acme",
    "name": "webhook-hmac",
}
ROLES = ("viewer", "operator", "admin")
KEY = new_signing_key()


class Nothing:
    """Services that a call may only reach when it is allowed to: touching them is an error of its own."""

    def __getattr__(self, name: str) -> Any:
        raise ReachedError(name)


class ReachedError(Exception):
    """The route's own code ran."""


def routes_of(api: FastAPI) -> Iterator[tuple[str, str]]:
    """Every route, also of included routers, also those that the schema leaves out."""
    for route in api.routes:
        found = list(route.effective_route_contexts()) if isinstance(route, _IncludedRouter) else [cast(Route, route)]
        for one in found:
            yield from ((method, str(one.path)) for method in sorted(one.methods or ()) if method != "HEAD")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    jwks = tmp_path_factory.mktemp("keys") / "jwks.json"
    write_jwks(jwks)
    verifier = Verifier(
        FileKeys(jwks),
        issuer=ISSUER,
        audience=AUDIENCE,
        algorithms=["ES256"],
        clock_skew_s=0,
        roles_claim="roles",
        roles={role: role for role in ROLES},
        clock=SystemClock(),
    )
    yield TestClient(within_door(make_api(cast(Services, Nothing())), verifier))


def write_jwks(path: Path) -> None:
    import json

    path.write_text(json.dumps(jwks_of(KEY)))


def token(role: str) -> str:
    now_s = int(time.time())
    return make_token(KEY, issuer=ISSUER, audience=AUDIENCE, subject="anna", roles=[role], lifetime_s=60, now_s=now_s)


def call(client: TestClient, method: str, path: str, body: Any, headers: dict[str, str]) -> int:
    """The status; 200 when the route's own code ran."""
    filled = path.format(**IN_PATHS)
    query = {"q": "Acme"} if path in {"/v1/records", "/v1/timeline"} else None
    try:
        return client.request(method, filled, json=body, headers=headers, params=query).status_code
    except ReachedError:
        return 200


def test_every_route_is_in_the_table_and_the_table_has_no_other() -> None:
    assert sorted(routes_of(make_api(cast(Services, Nothing())))) == sorted([*ACCESS, *PUBLIC])


def test_route_that_nobody_thought_of_would_be_found() -> None:
    api = make_api(cast(Services, Nothing()))
    api.get("/v1/new", include_in_schema=False)(lambda: None)

    assert ("GET", "/v1/new") in set(routes_of(api))


@pytest.mark.parametrize(("method", "path"), ACCESS)
def test_nobody_gets_anywhere_without_a_token(client: TestClient, method: str, path: str) -> None:
    assert call(client, method, path, ACCESS[method, path][1], {}) == 401


def test_callback_is_open_to_anybody_and_only_it(client: TestClient) -> None:
    """Paths beside it, and longer ones, are behind the door."""
    for query, status in (("", 400), (f"?state={'x' * 43}&code=c", 200)):
        assert call(client, "GET", f"/v1/pipedrive/callback{query}", None, {}) == status
    for path in ("/v1/pipedrive/callback/", "/v1/pipedrive/callback/x", "/v1/pipedrive", "/v1/pipedrive/CALLBACK"):
        assert call(client, "GET", path, None, {}) == 401


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(("method", "path"), ACCESS)
def test_role_may_do_exactly_what_the_table_says(client: TestClient, method: str, path: str, role: str) -> None:
    least, body = ACCESS[method, path]
    allowed = ROLES.index(role) >= ROLES.index(least)

    status = call(client, method, path, body, {"authorization": f"Bearer {token(role)}"})

    assert status == (200 if allowed else 403)


def test_body_of_somebody_unknown_is_not_even_looked_at(client: TestClient) -> None:
    """It would be refused as no JSON."""
    answer = client.post("/v1/replays", content=b"{", headers={"content-type": "application/json"})

    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


@pytest.mark.parametrize(
    "body",
    [
        "CANARY",
        {"value": "CANARY"},
        {"value": ["CANARY"]},
        {"value": {}, "environment": "CANARY"},
        {"value": {}, "environment": {"token": "CANARY"}},
        {"value": {}, "expect": "CANARY"},
        {"value": {}, "reason": ["CANARY"]},
        {"value": {}, "token": "CANARY"},
    ],
)
def test_credential_in_a_wrong_place_is_refused_without_being_quoted(client: TestClient, body: Any) -> None:
    headers = {"authorization": f"Bearer {token('admin')}"}
    answer = client.put("/v1/secrets/flow/acme/webhook-hmac", json=body, headers=headers)

    assert answer.status_code == 422 and answer.json()["problem"]
    assert "CANARY" not in answer.text


def test_credential_in_what_is_no_json_is_not_quoted(client: TestClient) -> None:
    headers = {"authorization": f"Bearer {token('admin')}", "content-type": "application/json"}
    answer = client.put("/v1/secrets/flow/acme/webhook-hmac", content=b'{"value": "CANARY', headers=headers)

    assert answer.status_code == 422 and "CANARY" not in answer.text
