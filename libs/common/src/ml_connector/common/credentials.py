"""What is inside a secret, by its name. The `repr` of each hides its values."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import msgspec

from ml_connector.common.addresses import host_of
from ml_connector.common.certificates import Certificate
from ml_connector.common.errors import AddressRefused, Malformed, SecretUnreadable

LEAST_SECRET = 24  # characters of a secret that is sent as it is
LIVE_KEYS = 2  # an old and a new one, while a rotation is under way


class Credential(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The base: knows under which name and whose it is kept, and never shows itself."""

    NAME: ClassVar[str] = ""
    OWNER: ClassVar[str] = ""  # "flow", "pipedrive" or "netsuite": what stands before the `/` of its owner

    @classmethod
    def read(cls, value: dict[str, Any]) -> Self:
        """Raises SecretUnreadable with the path of what is wrong, not its value."""
        try:
            credential = msgspec.convert(value, cls)
        except msgspec.ValidationError as error:
            raise SecretUnreadable(f"{cls.NAME}: {_problem(error, cls)}") from error
        credential.check()
        return credential

    def check(self) -> None:
        """What the types do not say."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"


class HmacKey(msgspec.Struct, frozen=True):
    id: str
    secret: str

    def __repr__(self) -> str:
        return f"HmacKey(id={self.id!r})"


class WebhookHmac(Credential, frozen=True):
    """Keys that may have signed a delivery (HMAC-SHA256 over the raw body)."""

    NAME: ClassVar[str] = "webhook-hmac"
    OWNER: ClassVar[str] = "flow"
    keys: tuple[HmacKey, ...]

    def check(self) -> None:
        _at_most_two(self.NAME, self.keys)


class BasicKey(msgspec.Struct, frozen=True):
    id: str
    user: str
    password: str

    def __repr__(self) -> str:
        return f"BasicKey(id={self.id!r})"


class WebhookBasic(Credential, frozen=True):
    """User and password pairs that a delivery may carry (HTTP Basic)."""

    NAME: ClassVar[str] = "webhook-basic"
    OWNER: ClassVar[str] = "flow"
    keys: tuple[BasicKey, ...]

    def check(self) -> None:
        _at_most_two(self.NAME, self.keys)


class PushKey(msgspec.Struct, frozen=True):
    id: str
    secret: str

    def __repr__(self) -> str:
        return f"PushKey(id={self.id!r})"


class NetsuitePush(Credential, frozen=True):
    """Secrets, one of which a script in NetSuite sends with what it tells of changes."""

    NAME: ClassVar[str] = "netsuite-push"
    OWNER: ClassVar[str] = "flow"
    keys: tuple[PushKey, ...]

    def check(self) -> None:
        _at_most_two(self.NAME, self.keys)
        if any(len(key.secret) < LEAST_SECRET or not key.secret.isascii() for key in self.keys):
            raise SecretUnreadable(f"{self.NAME}: a secret has at least {LEAST_SECRET} characters, all of them ASCII")


class ApiToken(Credential, frozen=True):
    """A Pipedrive user's token, sent as `x-api-token`."""

    NAME: ClassVar[str] = "api-token"
    OWNER: ClassVar[str] = "pipedrive"
    token: str


class OAuthClient(Credential, frozen=True):
    """An app that is registered at Pipedrive."""

    NAME: ClassVar[str] = "oauth2-client"
    OWNER: ClassVar[str] = "pipedrive"
    client_id: str
    client_secret: str


class OAuthGrant(Credential, frozen=True):
    """What a company's administrator allowed our app; each time anew it is another version."""

    NAME: ClassVar[str] = "oauth2"
    OWNER: ClassVar[str] = "pipedrive"
    refresh_token: str
    access_token: str = ""
    expires_at_ms: int = 0
    api_domain: str = ""

    def check(self) -> None:
        try:
            if self.api_domain:
                host_of(self.api_domain)
        except AddressRefused as error:
            raise SecretUnreadable(f"{self.NAME}: api_domain is no https://HOST that may be called") from error


class OAuthToken(Credential, frozen=True):
    """What became of a grant, written by the resolver only; void under another version of the grant."""

    NAME: ClassVar[str] = "token"
    OWNER: ClassVar[str] = "pipedrive"
    access_token: str
    refresh_token: str
    expires_at_ms: int
    api_domain: str
    grant_version: int


class NetsuiteM2M(Credential, frozen=True):
    """OAuth 2.0 client credentials of a NetSuite integration (Oracle section_162755359851)."""

    NAME: ClassVar[str] = "oauth2-m2m"
    OWNER: ClassVar[str] = "netsuite"
    client_id: str
    certificate_id: str
    private_key_pem: str
    algorithm: str = "PS256"
    certificate_pem: str = ""  # may be left out: nobody is warned before its end then

    def check(self) -> None:
        if self.algorithm not in {"PS256", "PS384", "PS512", "ES256", "ES384", "ES512"}:
            raise SecretUnreadable(f"{self.NAME}: algorithm must be PS256, PS384, PS512, ES256, ES384 or ES512")
        field = "certificate_pem"
        try:
            certificate = self.certificate()
            field = "private_key_pem"
            fits = certificate is None or certificate.belongs_to(_pem(self.private_key_pem))
        except Malformed as error:
            raise SecretUnreadable(f"{self.NAME}: {field} {error}") from error
        if not fits:
            raise SecretUnreadable(f"{self.NAME}: certificate_pem is not the certificate of private_key_pem")

    def certificate(self) -> Certificate | None:
        """None when it was left out."""
        return Certificate.read(_pem(self.certificate_pem)) if self.certificate_pem else None


class NetsuiteTba(Credential, frozen=True):
    """Token-based authentication, OAuth 1.0a: of an integration record, and of a token of it."""

    NAME: ClassVar[str] = "tba"
    OWNER: ClassVar[str] = "netsuite"
    consumer_key: str
    consumer_secret: str
    token_id: str
    token_secret: str

    def check(self) -> None:
        lacking = [name for name in self.__struct_fields__ if not getattr(self, name)]
        if lacking:
            raise SecretUnreadable(f"{self.NAME}: {lacking[0]} is empty")


# What a person may store.
KINDS: dict[str, type[Credential]] = {
    kind.NAME: kind
    for kind in (WebhookHmac, WebhookBasic, NetsuitePush, ApiToken, OAuthClient, OAuthGrant, NetsuiteM2M, NetsuiteTba)
}


def _problem(error: msgspec.ValidationError, kind: type[Credential]) -> str:
    """msgspec quotes values in `'`, and unknown members by name: either may be the secret, in the wrong place."""
    text = str(error)
    if text.startswith("Object contains unknown field"):
        return f"it may only hold {', '.join(kind.__struct_fields__)}; there is something else in it"
    return text.partition("'")[0]


def _at_most_two(name: str, keys: tuple[Any, ...]) -> None:
    if not 1 <= len(keys) <= LIVE_KEYS or len({key.id for key in keys}) != len(keys):
        raise SecretUnreadable(f"{name}: one or two keys with different ids are needed")


def _pem(text: str) -> bytes:
    """What is no ASCII can only stand around it."""
    return text.encode("ascii", "replace")
