"""An issuer of one's own, for a stack on one machine: a key, its public half, tokens.

There is no way into the admin service without a token, so `mlc` makes what an identity provider makes elsewhere.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from jwt.algorithms import ECAlgorithm

ALGORITHM: Final = "ES256"
ISSUER: Final = "mlc"
AUDIENCE: Final = "ml-connector"


def new_signing_key() -> str:
    """A private key for ES256, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def jwks_of(pem: str) -> dict[str, Any]:
    """The JSON Web Key Set to publish: the public half. Raises ValueError for what is no such key."""
    public = _public_members(pem)
    return {"keys": [{**public, "kid": _thumbprint(public), "use": "sig", "alg": ALGORITHM}]}


def make_token(
    pem: str, *, issuer: str, audience: str, subject: str, roles: Sequence[str], lifetime_s: int, now_s: int
) -> str:
    """Valid from now on. Raises ValueError for what is no key of `new_signing_key`."""
    claims = {
        "iss": issuer,
        "aud": audience,
        "sub": subject,
        "roles": list(roles),
        "iat": now_s,
        "nbf": now_s,
        "exp": now_s + lifetime_s,
    }
    return jwt.encode(claims, pem, algorithm=ALGORITHM, headers={"kid": _thumbprint(_public_members(pem))})


def _public_members(pem: str) -> dict[str, Any]:
    key = load_pem_private_key(pem.encode(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError(f"not a private key for {ALGORITHM}")  # noqa: TRY004  the text is wrong, not its type
    return ECAlgorithm.to_jwk(key.public_key(), as_dict=True)


def _thumbprint(public: dict[str, Any]) -> str:
    """RFC 7638: the required members (RFC 7518 section 6.2.1), sorted, without spaces."""
    required = {name: public[name] for name in ("crv", "kty", "x", "y")}
    digest = hashlib.sha256(json.dumps(required, separators=(",", ":"), sort_keys=True).encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
