"""The accounts of the stand-in: who may log in, what they hold, how many requests they have in flight."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ml_connector.sandbox.netsuite.store import Records
from ml_connector.sandbox.netsuite.switches import Switches


@dataclass(frozen=True, slots=True)
class Certificate:
    """One integration with one certificate, for OAuth 2.0 client credentials."""

    client_id: str
    certificate_id: str
    public_key: str


@dataclass(frozen=True, slots=True)
class TokenPair:
    """One integration with one access token, for token-based authentication (OAuth 1.0a)."""

    consumer_key: str
    consumer_secret: str
    token_id: str
    token_secret: str


@dataclass(slots=True)
class Account:
    """One account. `in_flight` counts the requests of all its clients, without those of `others_in_flight`."""

    name: str
    switches: Switches = field(default_factory=Switches)
    records: Records = field(default_factory=Records)
    certificates: dict[str, Certificate] = field(default_factory=dict)
    token_pairs: dict[str, TokenPair] = field(default_factory=dict)
    push_url: str = ""
    push_secret: str = ""
    in_flight: int = 0
    peak_in_flight: int = 0
    refused_for_concurrency: int = 0
    commits: int = 0
    creates: int = 0
    updates: int = 0

    @property
    def host(self) -> str:
        return f"{self.name.lower().replace('_', '-')}.suitetalk.api.netsuite.com"

    @property
    def full(self) -> bool:
        return self.in_flight + self.switches.others_in_flight >= self.switches.slots


class Accounts:
    """All accounts, by name in capitals with an underscore."""

    def __init__(self) -> None:
        self.by_name: dict[str, Account] = {}

    def register(self, facts: dict[str, Any]) -> Account:
        """Add an account, or change one; a key is added to those it has. Raises KeyError and ValueError."""
        facts = dict(facts)
        name = str(facts.pop("account"))
        account = self.by_name.get(name) or Account(name)
        certificate = _certificate(facts)
        pair = _token_pair(facts)
        push_url, push_secret = facts.pop("push_url", account.push_url), facts.pop("push_secret", account.push_secret)
        account.switches = Switches.model_validate({**account.switches.model_dump(), **facts})
        account.push_url, account.push_secret = push_url, push_secret
        if certificate is not None:
            account.certificates[certificate.client_id] = certificate
        if pair is not None:
            account.token_pairs[pair.token_id] = pair
        self.by_name[name] = account
        return account


def _certificate(facts: dict[str, Any]) -> Certificate | None:
    if "client_id" not in facts:
        return None
    key = facts.pop("public_key_pem", None) or _key_of(facts.pop("certificate_pem"))
    return Certificate(facts.pop("client_id"), facts.pop("certificate_id"), key)


def _token_pair(facts: dict[str, Any]) -> TokenPair | None:
    if "consumer_key" not in facts:
        return None
    names = ("consumer_key", "consumer_secret", "token_id", "token_secret")
    return TokenPair(*(str(facts.pop(name)) for name in names))


def _key_of(certificate_pem: str) -> str:
    certificate = x509.load_pem_x509_certificate(certificate_pem.encode())
    return certificate.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
