"""Who is asking: OAuth 2.0 client credentials with a signed assertion, and OAuth 1.0a (token-based authentication)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import jwt
from oauthlib.oauth1.rfc5849 import signature, utils

from ml_connector.sandbox.clock import Clock
from ml_connector.sandbox.netsuite.accounts import Account, Accounts, Certificate, TokenPair
from ml_connector.sandbox.netsuite.errors import invalid_login
from ml_connector.sandbox.web import Reply, Request, json_reply

TOKEN_PATH: Final = "/services/rest/auth/oauth2/v1/token"  # noqa: S105  a path
ALGORITHMS: Final = ["PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]  # RS256 is refused
ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
TOKEN_LIFE_S: Final = 3600
MAX_ASSERTION_LIFE_S: Final = 3600
IAT_AHEAD_S: Final = 60  # no document says how wrong a client's clock may be
TIMESTAMP_SLACK_S: Final = 300
_PARAMETER: Final = re.compile(r'([a-z_]+)="([^"]*)"')


class Login:
    """Gives tokens out, and knows whose they are."""

    def __init__(self, accounts: Accounts, clock: Clock) -> None:
        self._accounts = accounts
        self._clock = clock
        self._tokens: dict[str, tuple[Account, float]] = {}
        self._nonces: set[tuple[str, str]] = set()

    def account_of(self, request: Request) -> Account:
        """Raises the printed 401."""
        scheme, _, rest = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "oauth":
            return self._signed(request, rest)
        token = self._tokens.get(rest) if scheme.lower() == "bearer" else None
        if token is None or token[1] < self._clock.now_s():
            raise invalid_login()
        account = token[0]
        host = request.headers.get("host", "").partition(":")[0]
        if host.endswith(".netsuite.com") and host != account.host:
            raise invalid_login()
        return account

    def revoke(self, account: str) -> None:
        """Forget all tokens of an account."""
        self._tokens = {token: owner for token, owner in self._tokens.items() if owner[0].name != account}

    # -- OAuth 2.0 client credentials (Oracle section_162755359851, section_162790605110) ----------------------------

    def token(self, request: Request) -> Reply:
        """`POST .../token`."""
        form = request.form()
        if request.method != "POST":
            return json_reply(405, {"error": "invalid_request"})
        if form.get("grant_type") != "client_credentials":
            return json_reply(400, {"error": "unsupported_grant_type"})
        if form.get("client_assertion_type") != ASSERTION_TYPE:
            return json_reply(400, {"error": "invalid_request"})
        try:
            account, certificate = self._owner_of(form.get("client_assertion", ""))
        except (jwt.PyJWTError, KeyError, ValueError, TypeError):
            return json_reply(400, {"error": "invalid_client"})
        try:
            self._check(form["client_assertion"], certificate)
        except jwt.InvalidAlgorithmError:
            return json_reply(400, {"error": "invalid_client"})
        except (jwt.PyJWTError, KeyError, ValueError, TypeError):
            return json_reply(400, {"error": "invalid_grant"})
        token = _access_token(account, int(self._clock.now_s()))
        self._tokens[token] = (account, self._clock.now_s() + TOKEN_LIFE_S)
        return json_reply(200, {"access_token": token, "expires_in": TOKEN_LIFE_S, "token_type": "Bearer"})

    def claimed(self, request: Request) -> str:
        """Whose token a request asks for, as it says itself; empty when it does not say."""
        try:
            return self._owner_of(request.form().get("client_assertion", ""))[0].name
        except (jwt.PyJWTError, KeyError, ValueError, TypeError):
            return ""

    def _owner_of(self, assertion: str) -> tuple[Account, Certificate]:
        head = jwt.get_unverified_header(assertion)
        claimed = jwt.decode(assertion, options={"verify_signature": False})
        for account in self._accounts.by_name.values():
            certificate = account.certificates.get(claimed["iss"])
            if certificate is not None and head["kid"] == certificate.certificate_id:
                return account, certificate
        raise ValueError("no such client")

    def _check(self, assertion: str, certificate: Certificate) -> None:
        claims = jwt.decode(
            assertion,
            certificate.public_key,
            algorithms=ALGORITHMS,
            options={"verify_aud": False, "verify_exp": False, "verify_iat": False},  # the stand-in's clock decides
        )
        scope = claims["scope"] if isinstance(claims["scope"], list) else str(claims["scope"]).split(",")
        if "rest_webservices" not in [name.strip() for name in scope]:
            raise ValueError("scope")
        if not str(claims["aud"]).endswith(TOKEN_PATH):
            raise ValueError("aud")
        now_s = self._clock.now_s()
        if not now_s < claims["exp"] <= claims["iat"] + MAX_ASSERTION_LIFE_S or claims["iat"] > now_s + IAT_AHEAD_S:
            raise ValueError("exp")

    # -- OAuth 1.0a, HMAC-SHA256 (facts/netsuite.md section 10) ------------------------------------------------------

    def _signed(self, request: Request, header: str) -> Account:
        given = {name: unquote(value) for name, value in _PARAMETER.findall(header)}
        account = self._accounts.by_name.get(given.get("realm", ""))
        pair = account.token_pairs.get(given.get("oauth_token", "")) if account is not None else None
        if account is None or pair is None or not self._fresh(given) or not _signature_fits(request, given, pair):
            raise invalid_login()
        self._nonces.add((given["oauth_timestamp"], given["oauth_nonce"]))
        return account

    def _fresh(self, given: dict[str, str]) -> bool:
        stamp, nonce = given.get("oauth_timestamp", ""), given.get("oauth_nonce", "")
        if not stamp.isdigit() or not nonce or (stamp, nonce) in self._nonces:
            return False
        return abs(int(stamp) - self._clock.now_s()) <= TIMESTAMP_SLACK_S


def _signature_fits(request: Request, given: dict[str, str], pair: TokenPair) -> bool:
    """Query parameters belong into the signature; a client may sign http or https, whatever carries it here."""
    if given.get("oauth_consumer_key") != pair.consumer_key or given.get("oauth_signature_method") != "HMAC-SHA256":
        return False
    parts = urlsplit(request.url)
    parameters = signature.collect_parameters(
        uri_query=parts.query, headers={"Authorization": request.headers["authorization"]}, with_realm=False
    )
    normalized = signature.normalize_parameters(parameters)  # type: ignore[arg-type]  # the stubs err: it takes pairs
    for scheme in ("https", "http"):
        uri = signature.base_string_uri(f"{scheme}://{parts.netloc}{parts.path}")
        base = signature.signature_base_string(request.method, uri, normalized)  # type: ignore[arg-type]  # any method
        key = f"{utils.escape(pair.consumer_secret)}&{utils.escape(pair.token_secret)}"
        expected = _hmac_sha256(base, key)
        if secrets.compare_digest(expected, given.get("oauth_signature", "")):
            return True
    return False


def _hmac_sha256(base: str, key: str) -> str:
    return base64.b64encode(hmac.new(key.encode(), base.encode(), hashlib.sha256).digest()).decode()


def _access_token(account: Account, now_s: int) -> str:
    """Shaped like the JWT that NetSuite gives; opaque to clients."""
    claims: dict[str, Any] = {
        "sub": "3;1017", "aud": ["rest_webservices"], "scope": ["rest_webservices"], "iss": account.host,
        "iat": now_s, "exp": now_s + TOKEN_LIFE_S, "jti": secrets.token_hex(16),
    }  # fmt: skip
    return jwt.encode(claims, hashlib.sha512(account.name.encode()).hexdigest(), algorithm="HS256")
