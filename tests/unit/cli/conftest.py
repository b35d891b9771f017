"""An admin service of canned answers, which remembers what it was asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest
import typer
from typer.testing import CliRunner

from ml_connector.cli import (
    dlq,
    flows,
    following,
    pipedrive,
    reconciles,
    reconciling,
    records,
    replays,
    schedules,
    secrets,
    syncing,
    syncs,
    webhooks,
)
from ml_connector.cli.admin_api import AdminApi, Credentials
from ml_connector.cli.doctor import doctor

SECRET = "the-token-itself"
BEHIND = {"messages": 0, "age_s": 0.5}
LETTER: dict[str, Any] = {
    "id": "5f0c1e9a77d2",
    "state": "open",
    "account": "1234567_SB1",
    "flow": "acme-eu",
    "entity": "organization",
    "source_id": "5",
    "record_key": "1234567_sb1/customer/pd-org-5",
    "stage": "vendor",
    "code": "USER_ERROR",
    "field": "subsidiary",
    "message": "Please enter value(s) for: Subsidiary.",
    "group": "7be1b0a4c3",
    "suggested_fix": "Map Subsidiary in the flow, then replay.",
    "cause": "w:1",
    "replay_of": "",
    "trace": "",
    "attempts": 3,
    "first_failed_at": "2026-07-28T01:00:00Z",
    "failed_at": "2026-07-28T03:00:00Z",
    "expires_at": "2026-08-28T03:00:00Z",
    "waiting_behind": 12,
    "resolution": "",
    "resolved_by": "",
    "resolved_at": None,
}
EVENT: dict[str, Any] = {"meta": {"id": "5"}, "data": {"name": "Acme", "emails": [{"value": "a@b.de"}]}}
REPLAY: dict[str, Any] = {
    "id": "9d2f77a01c3e",
    "state": "done",
    "why": "",
    "reason": "mapped now",
    "actor": "mlc:ann",
    "created_at": "2026-07-28T03:00:00Z",
    "changed_at": "2026-07-28T03:00:00Z",
    "selection": {"group": "7be1b0a4c3"},
    "dry_run": False,
    "mapping": "today",
    "rate_per_s": None,
    "stop_after": None,
    "force": False,
    "total": 2,
    "issued": 2,
    "items": {"written": 2},
}


def detail(**more: Any) -> dict[str, Any]:
    """A dead letter as `GET /v1/dead-letters/{id}` shows it."""
    return {
        **LETTER,
        "event": EVENT,
        "event_at": "pipedrive.events/1/5",
        "edited": None,
        "request": {"companyName": "Acme"},
        "response": {"status": 400},
        "mapping_version": 3,
        "discarded_because": "",
        "replays": [],
        "behind": BEHIND,
        **more,
    }


@dataclass
class Asked:
    method: str
    path: str
    query: dict[str, str]
    body: Any


@dataclass
class Service:
    """`answers`: by method and path below `/v1`, each used once, the last one again and again."""

    answers: dict[str, list[httpx2.Response | BaseException]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    def put(self, place: str, *answers: Any, status: int = 200) -> None:
        self.answers[place] = [
            one if isinstance(one, httpx2.Response | BaseException) else httpx2.Response(status, json=one)
            for one in answers
        ]

    def handle(self, request: httpx2.Request) -> httpx2.Response:
        assert request.headers["authorization"] == f"Bearer {SECRET}"
        path = request.url.path.removeprefix("/v1/")
        body = json.loads(request.content) if request.content else None
        self.asked.append(Asked(request.method, path, dict(request.url.params), body))
        left = self.answers[f"{request.method} {path}"]
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def api(self) -> AdminApi:
        credentials = Credentials("MLC_ADMIN_TOKEN", lambda: SECRET)
        return AdminApi("http://admin:8085", credentials, transport=httpx2.MockTransport(self.handle))


@dataclass
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Mlc = Callable[..., Ran]


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Service:
    made = Service()
    monkeypatch.setattr(AdminApi, "here", made.api)
    monkeypatch.setattr(following, "LOOK_S", 0.0)
    return made


@pytest.fixture
def mlc(service: Service) -> Mlc:
    """Run `mlc` against the service; what it printed must never be a token."""
    app = typer.Typer(pretty_exceptions_enable=False)
    parts = {"dlq": dlq, "replay": replays, "record": records, "flows": flows, "secrets": secrets, "webhooks": webhooks}
    parts["pipedrive"] = pipedrive
    for name, part in parts.items():
        app.add_typer(part.app, name=name)
    app.add_typer(syncs.app, name="syncs")
    app.add_typer(schedules.app, name="schedule")
    app.command()(syncing.sync)
    app.add_typer(reconciles.app, name="reconciles")
    app.command()(reconciling.reconcile)
    app.add_typer(secrets.vault, name="vault")
    app.command()(records.token)
    app.command()(doctor)

    def run(*arguments: str, typed: str | None = None) -> Ran:
        result = CliRunner().invoke(app, arguments, input=typed)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert SECRET not in result.output
        return Ran(result.exit_code, result.stdout, result.stderr)

    return run
