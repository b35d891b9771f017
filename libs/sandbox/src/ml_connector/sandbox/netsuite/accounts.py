"""The accounts of the stand-in: who may log in, what they hold, how many requests they may have in flight."""

from __future__ import annotations

import hashlib
import secrets
import time
from dataclasses import dataclass, field
from typing import Any, Final

import jwt
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ml_connector.sandbox.netsuite.errors import NetsuiteError, invalid_login
from ml_connector.sandbox.netsuite.store import Records
from ml_connector.sandbox.web import Reply, Request, json_reply

ALGORITHMS: Final = ["PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]  # RS256 is refused
TOKEN_LIFE_S: Final = 3600
MAX_ASSERTION_LIFE_S: Final = 3600
TOKEN_PATH: Final = "/services/rest/auth/oauth2/v1/token"  # noqa: S105  a path


@dataclass(slots=True)
class Client:
    """One integration with one certificate."""

    client_id: str
    certificate_id: str
    public_key: str


@dataclass(slots=True)
class Account:
    """One account. `in_flight` counts the requests of all its clients."""

    name: str
    concurrency_limit: int = 5
    oneworld: bool = True
    unique_customer_names: bool = False
    references_by_external_id: bool = True
    records: Records = field(default_factory=Records)
    clients: dict[str, Client] = field(default_factory=dict)
    in_flight: int = 0
    peak_in_flight: int = 0
    refused_for_concurrency: int = 0
    commits: int = 0
    creates: int = 0
    updates: int = 0

    @property
    def host(self) -> str:
        return f"{self.name.lower().replace('_', '-')}.suitetalk.api.netsuite.com"


class Accounts:
    """All accounts, and the tokens that were given out."""

    def __init__(self) -> None:
        self.by_name: dict[str, Account] = {}
        self._tokens: dict[str, tuple[Account, float]] = {}

    def register(self, facts: dict[str, Any]) -> Account:
        """Add an account, or change one; a client's key is added to those it has."""
        account = self.by_name.setdefault(facts["account"], Account(facts["account"]))
        for name in ("concurrency_limit", "oneworld", "unique_customer_names", "references_by_external_id"):
            if name in facts:
                setattr(account, name, facts[name])
        if "client_id" in facts:
            key = facts.get("public_key_pem") or _key_of(facts["certificate_pem"])
            account.clients[facts["client_id"]] = Client(facts["client_id"], facts["certificate_id"], key)
        return account

    def of_request(self, request: Request) -> Account:
        """Whose token this is. Raises the printed 401."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        found = self._tokens.get(token) if scheme.lower() == "bearer" else None
        if found is None or found[1] < time.time():
            raise invalid_login()
        account = found[0]
        host = request.headers.get("host", "").partition(":")[0]
        if host.endswith(".netsuite.com") and host != account.host:
            raise invalid_login()
        return account

    def revoke(self, account: str) -> int:
        """Forget all tokens of an account."""
        gone = [token for token, (owner, _) in self._tokens.items() if owner.name == account]
        for token in gone:
            del self._tokens[token]
        return len(gone)

    def token(self, request: Request) -> Reply:
        """`POST .../token`: client credentials with a signed assertion (Oracle section_162755359851)."""
        form = request.form()
        if request.method != "POST" or form.get("grant_type") != "client_credentials":
            return json_reply(400, {"error": "unsupported_grant_type"})
        try:
            account = self._check(form.get("client_assertion", ""))
        except (jwt.PyJWTError, KeyError, ValueError, TypeError, NetsuiteError):
            return json_reply(400, {"error": "invalid_client"})
        token = _access_token(account)
        self._tokens[token] = (account, time.time() + TOKEN_LIFE_S)
        return json_reply(200, {"access_token": token, "expires_in": TOKEN_LIFE_S, "token_type": "Bearer"})

    def _check(self, assertion: str) -> Account:
        head = jwt.get_unverified_header(assertion)
        claimed = jwt.decode(assertion, options={"verify_signature": False})
        for account in self.by_name.values():
            client = account.clients.get(claimed["iss"])
            if client is not None and head["kid"] == client.certificate_id:
                found = jwt.decode(assertion, client.public_key, algorithms=ALGORITHMS, options={"verify_aud": False})
                _check_claims(found)
                return account
        raise ValueError("no such client")


def _check_claims(claims: dict[str, Any]) -> None:
    scope = claims["scope"] if isinstance(claims["scope"], list) else str(claims["scope"]).split(",")
    if "rest_webservices" not in [name.strip() for name in scope]:
        raise ValueError("scope")
    if not str(claims["aud"]).endswith(TOKEN_PATH):
        raise ValueError("aud")
    if claims["exp"] - claims["iat"] > MAX_ASSERTION_LIFE_S:
        raise ValueError("exp")


def _access_token(account: Account) -> str:
    """Shaped like the JWT that NetSuite gives; opaque to clients."""
    claims = {
        "sub": "3;1017",
        "iss": account.host,
        "jti": secrets.token_hex(16),
        "exp": int(time.time()) + TOKEN_LIFE_S,
    }
    return jwt.encode(claims, hashlib.sha512(account.name.encode()).hexdigest(), algorithm="HS256")


def _key_of(certificate_pem: str) -> str:
    certificate = x509.load_pem_x509_certificate(certificate_pem.encode())
    return certificate.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
