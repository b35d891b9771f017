"""Prove where a delivery comes from, over its raw bytes, before anything is decoded. Pure.

In: headers, body, the flow's live keys. Out: which keys proved it, or None. Every key is compared in constant time, and
all of them always, so that the time tells nothing.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ml_connector.common.asking import Why
from ml_connector.common.credentials import NetsuitePush, WebhookBasic, WebhookHmac

Headers = Iterable[tuple[bytes, bytes]]

SIGNATURE: Final = (
    b"x-pipedrive-signature"  # lowercase hex of HMAC-SHA256(secret, raw body); facts/pipedrive.md section 6
)
AUTHORIZATION: Final = b"authorization"
SHARED_SECRET: Final = b"x-netsuite-shared-secret"


@dataclass(frozen=True, slots=True)
class HmacProof:
    """`X-Pipedrive-Signature`, exactly one, signed with one of the live keys."""

    keys: tuple[tuple[str, hmac.HMAC], ...]

    @classmethod
    def of(cls, credential: WebhookHmac) -> HmacProof:
        return cls(tuple((key.id, hmac.new(key.secret.encode(), digestmod="sha256")) for key in credential.keys))

    def check(self, headers: Headers, body: bytes) -> str | None:
        """`hmac-sha256:<key id>`, or None."""
        given = _only(headers, SIGNATURE)
        found: str | None = None
        for key_id, keyed in self.keys:
            mac = keyed.copy()  # hmac.digest would give the GIL away for every body, and wait to have it back
            mac.update(body)
            if hmac.compare_digest(mac.hexdigest().encode(), given):
                found = f"hmac-sha256:{key_id}"
        return found

    def lacks(self, headers: Headers) -> Why:
        if _only(headers, SIGNATURE):
            return "signature"
        return "basic_instead" if _credentials(_only(headers, AUTHORIZATION)) else "unsigned"


@dataclass(frozen=True, slots=True)
class BasicProof:
    """`Authorization: Basic`, exactly one, with one of the live user and password pairs."""

    keys: tuple[tuple[str, bytes], ...]

    @classmethod
    def of(cls, credential: WebhookBasic) -> BasicProof:
        return cls(tuple((key.id, f"{key.user}:{key.password}".encode()) for key in credential.keys))

    def check(self, headers: Headers, body: bytes) -> str | None:
        """`basic:<key id>`, or None."""
        given = _credentials(_only(headers, AUTHORIZATION))
        found: str | None = None
        for key_id, pair in self.keys:
            if hmac.compare_digest(pair, given):
                found = f"basic:{key_id}"
        return found

    def lacks(self, headers: Headers) -> Why:
        return "basic" if _credentials(_only(headers, AUTHORIZATION)) else "no_basic"


@dataclass(frozen=True, slots=True)
class SecretProof:
    """`X-NetSuite-Shared-Secret`, exactly one, that is one of the live secrets: for what NetSuite's scripts push."""

    keys: tuple[tuple[str, bytes], ...]

    @classmethod
    def of(cls, credential: NetsuitePush) -> SecretProof:
        return cls(tuple((key.id, key.secret.encode()) for key in credential.keys))

    def check(self, headers: Headers, body: bytes) -> str | None:
        """`secret:<key id>`, or None."""
        given = _only(headers, SHARED_SECRET)
        found: str | None = None
        for key_id, secret in self.keys:
            if hmac.compare_digest(secret, given):
                found = f"secret:{key_id}"
        return found

    def lacks(self, headers: Headers) -> Why:
        return "secret" if _only(headers, SHARED_SECRET) else "no_secret"


Proof = HmacProof | BasicProof | SecretProof


def verified_by(proofs: tuple[Proof, ...], headers: Headers, body: bytes) -> str | None:
    """All proofs joined by `+`; None if any fails, or if there is none at all: an unset secret opens nothing."""
    found = [proof.check(headers, body) for proof in proofs]
    named = [name for name in found if name is not None]
    return "+".join(named) if named and len(named) == len(found) else None


def refused_for(proofs: tuple[Proof, ...], headers: Headers, body: bytes) -> Why:
    """Why a delivery was not verified. The last proof is not tried again: if no other failed, it did."""
    if not proofs:
        return "unsigned"
    failed = next((proof for proof in proofs[:-1] if proof.check(headers, body) is None), proofs[-1])
    return failed.lacks(headers)


def _only(headers: Headers, name: bytes) -> bytes:
    """A header that must come once; a doubled one proves nothing."""
    values = [value for key, value in headers if key == name]
    return values[0] if len(values) == 1 else b""


def _credentials(value: bytes) -> bytes:
    scheme, _, encoded = value.partition(b" ")
    if scheme.lower() != b"basic":
        return b""
    try:
        return base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        return b""
