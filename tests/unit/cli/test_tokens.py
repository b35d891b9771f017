"""The issuer of a stack on one machine."""

from __future__ import annotations

import json
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ml_connector.admin.identity.keys import FileKeys
from ml_connector.admin.identity.roles import Actor, Role, Unauthenticated
from ml_connector.admin.identity.tokens import Verifier
from ml_connector.cli.tokens import jwks_of, make_token, new_signing_key
from ml_connector.common.clock import ManualClock

NOW_S = 1_700_000_000


def verifier(path: Path, clock: ManualClock) -> Verifier:
    return Verifier(
        FileKeys(path),
        issuer="mlc",
        audience="ml-connector",
        algorithms=("ES256",),
        clock_skew_s=0,
        roles_claim="roles",
        roles={"admin": "admin"},
        clock=clock,
    )


async def test_admin_service_believes_the_token_for_its_lifetime(tmp_path: Path) -> None:
    pem, clock = new_signing_key(), ManualClock(NOW_S * 1000)
    (tmp_path / "jwks.json").write_text(json.dumps(jwks_of(pem)))
    checks = verifier(tmp_path / "jwks.json", clock)
    token = make_token(
        pem, issuer="mlc", audience="ml-connector", subject="dev", roles=["admin"], lifetime_s=60, now_s=NOW_S
    )

    assert await checks.verify(f"Bearer {token}") == Actor("dev", Role.admin)

    clock.advance(60)
    with pytest.raises(Unauthenticated, match="expired"):
        await checks.verify(f"Bearer {token}")


def test_only_the_public_half_is_published_under_its_thumbprint() -> None:
    pem = new_signing_key()

    (key,) = jwks_of(pem)["keys"]

    assert set(key) == {"kty", "crv", "x", "y", "kid", "use", "alg"}
    assert jwks_of(pem) == jwks_of(pem)
    assert jwks_of(new_signing_key())["keys"][0]["kid"] != key["kid"]


def test_token_names_the_published_key() -> None:
    pem = new_signing_key()

    token = make_token(pem, issuer="i", audience="a", subject="s", roles=[], lifetime_s=1, now_s=NOW_S)

    assert jwt.get_unverified_header(token) == {
        "alg": "ES256",
        "typ": "JWT",
        "kid": jwks_of(pem)["keys"][0]["kid"],
    }


@pytest.mark.parametrize("key", [rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())])
def test_other_keys_are_refused(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> None:
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

    with pytest.raises(ValueError, match="not a private key for ES256"):
        jwks_of(pem)
