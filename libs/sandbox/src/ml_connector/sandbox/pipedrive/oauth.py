"""OAuth 2.0: authorize, token, revoke (facts/pipedrive.md section 7)."""

from __future__ import annotations

import base64
import binascii
import secrets
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from ml_connector.sandbox.clock import Clock
from ml_connector.sandbox.pipedrive.company import Company
from ml_connector.sandbox.web import Reply, Request, json_reply

CODE_LIFE_S: Final = 300.0
ACCESS_LIFE_S: Final = 3600.0
REFRESH_UNUSED_S: Final = 60 * 24 * 3600.0
TOKEN_CHARS: Final = 768  # "store at least 768 characters"


@dataclass(frozen=True, slots=True)
class App:
    """A registered integration, installed in one company."""

    client_id: str
    client_secret: str
    redirect_uri: str
    scopes: frozenset[str]
    company: Company


@dataclass(slots=True)
class Grant:
    """One authorization: its newest tokens and how long they are good."""

    app: App
    refresh_token: str
    access_tokens: dict[str, float] = field(default_factory=dict)
    used_s: float = 0.0


class OAuth:
    """All apps and what they were granted."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.apps: dict[str, App] = {}
        self._codes: dict[str, tuple[App, float]] = {}
        self._by_access: dict[str, Grant] = {}
        self._by_refresh: dict[str, Grant] = {}

    def grant_of(self, access_token: str) -> Grant | None:
        """None when the token is unknown, ended or revoked."""
        grant = self._by_access.get(access_token)
        if grant is None or grant.access_tokens.get(access_token, 0.0) <= self._clock.now_s():
            return None
        return grant

    def answer(self, request: Request) -> Reply:
        match (request.method, request.path):
            case ("GET", "/oauth/authorize"):
                return self._authorize(request)
            case ("POST", "/oauth/token"):
                return self._token(request)
            case ("POST", "/oauth/revoke"):
                return self._revoke(request)
        return json_reply(404, {"success": False, "error": "not found"})

    def _authorize(self, request: Request) -> Reply:
        """The user agrees at once, or with `X-Sandbox-Consent: denied` cancels (Pipedrive, app installation)."""
        app = self.apps.get(request.query.get("client_id", ""))
        redirect_uri = request.query.get("redirect_uri", "")
        if app is None or redirect_uri != app.redirect_uri:
            return _refused("invalid_client" if app is None else "invalid_request")
        if request.headers.get("x-sandbox-consent") == "denied":
            query = {"error": "user_denied"}
        else:
            code = secrets.token_urlsafe(24)
            self._codes[code] = (app, self._clock.now_s() + CODE_LIFE_S)
            query = {"code": code}
        query |= {"state": request.query["state"]} if "state" in request.query else {}
        return Reply(302, b"", {"location": f"{redirect_uri}?{urlencode(query)}"})

    def _token(self, request: Request) -> Reply:
        form = request.form()
        app = self._client(request, form)
        if app is None:
            return _refused("invalid_client", status=401)
        match form.get("grant_type"):
            case "authorization_code":
                grant = self._exchange(app, form)
            case "refresh_token":
                grant = self._refresh(app, form)
            case _:
                return _refused("unsupported_grant_type")
        return _refused("invalid_grant") if grant is None else json_reply(200, self._given(grant, request))

    def _client(self, request: Request, form: dict[str, str]) -> App | None:
        """HTTP Basic, or in the body, which is tolerated."""
        client_id, secret = form.get("client_id", ""), form.get("client_secret", "")
        scheme, _, pair = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            try:
                client_id, _, secret = base64.b64decode(pair, validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                return None
        app = self.apps.get(client_id)
        return app if app is not None and secrets.compare_digest(app.client_secret, secret) else None

    def _exchange(self, app: App, form: dict[str, str]) -> Grant | None:
        owner, until_s = self._codes.pop(form.get("code", ""), (None, 0.0))
        if owner is not app or until_s <= self._clock.now_s() or form.get("redirect_uri") != app.redirect_uri:
            return None
        grant = Grant(app, _random())
        self._by_refresh[grant.refresh_token] = grant
        return grant

    def _refresh(self, app: App, form: dict[str, str]) -> Grant | None:
        given = form.get("refresh_token", "")
        grant = self._by_refresh.get(given)
        if grant is None or grant.app is not app or self._clock.now_s() - grant.used_s > REFRESH_UNUSED_S:
            return None
        if app.company.terms.refresh_token == "rotated":  # noqa: S105  a switch's name
            del self._by_refresh[given]
            grant.refresh_token = _random()
            self._by_refresh[grant.refresh_token] = grant
        return grant

    def _given(self, grant: Grant, request: Request) -> dict[str, Any]:
        now_s = self._clock.now_s()
        access_token = "v1u:" + _random()
        grant.used_s = now_s
        grant.access_tokens[access_token] = now_s + ACCESS_LIFE_S
        self._by_access[access_token] = grant
        company, parts = grant.app.company, urlsplit(request.url)
        here = f"{parts.scheme}://{parts.netloc}"
        return {
            "access_token": access_token,
            "token_type": "Bearer",
            "refresh_token": grant.refresh_token,
            "scope": " ".join(sorted(grant.app.scopes)),
            "expires_in": int(ACCESS_LIFE_S),
            "api_domain": here if company.terms.api_domain == "here" else f"https://{company.host}",
        }

    def _revoke(self, request: Request) -> Reply:
        """RFC 7009: a refresh token ends its access tokens too; an unknown one is no error."""
        form = request.form()
        if self._client(request, form) is None:
            return _refused("invalid_client", status=401)
        token = form.get("token", "")
        grant = self._by_refresh.pop(token, None)
        if grant is not None:
            grant.access_tokens.clear()
        elif token in self._by_access:
            self._by_access.pop(token).access_tokens.pop(token, None)
        return Reply(200)


def _random() -> str:
    return secrets.token_urlsafe(TOKEN_CHARS)[:TOKEN_CHARS]


def _refused(error: str, *, status: int = 400) -> Reply:
    return json_reply(status, {"success": False, "message": error, "error": error})
