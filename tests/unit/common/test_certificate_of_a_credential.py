"""A credential that names a certificate names the one of its own key."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ml_connector.cli.certificates import Key, Pair, make
from ml_connector.common.certificates import Certificate
from ml_connector.common.credentials import NetsuiteM2M
from ml_connector.common.errors import SecretUnreadable


def pair(kind: Key) -> Pair:
    return make(kind, name="n", days=1, now=datetime(2026, 1, 1, tzinfo=UTC))


EC, OTHER_EC, RSA = pair(Key.ec_p256), pair(Key.ec_p256), pair(Key.rsa_3072)


def read(key: bytes, certificate: str) -> NetsuiteM2M:
    ids = {"client_id": "c", "certificate_id": "k"}
    return NetsuiteM2M.read({**ids, "private_key_pem": key.decode(), "certificate_pem": certificate})


@pytest.mark.parametrize("own", [EC, RSA])
def test_own_certificate_is_taken(own: Pair) -> None:
    assert read(own.private_key, own.certificate.decode()).certificate_pem == own.certificate.decode()


def test_text_around_it_does_no_harm() -> None:
    certificate = read(EC.private_key, f"subject=Z\u00fcrich \udcff\n{EC.certificate.decode()}").certificate()

    assert certificate == Certificate.read(EC.certificate)


@pytest.mark.parametrize(
    ("key", "certificate", "problem"),
    [
        (EC.private_key, OTHER_EC.certificate.decode(), "certificate_pem is not the certificate of private_key_pem"),
        (RSA.private_key, EC.certificate.decode(), "certificate_pem is not the certificate of private_key_pem"),
        (EC.private_key, "CANARY", "certificate_pem is not an X.509 certificate (PEM or DER)"),
        (EC.private_key, "CANARY \udcff", "certificate_pem is not an X.509 certificate (PEM or DER)"),
        (b"CANARY", EC.certificate.decode(), "private_key_pem is not a private key as PEM without a password"),
        (EC.private_key, EC.private_key.decode(), "certificate_pem holds a private key, which nobody else may have"),
    ],
)
def test_any_other_is_refused_without_being_quoted(key: bytes, certificate: str, problem: str) -> None:
    with pytest.raises(SecretUnreadable) as error:
        read(key, certificate)

    assert str(error.value).startswith(f"oauth2-m2m: {problem}")
    assert "CANARY" not in str(error.value)
    assert not any(line in str(error.value) for line in key.decode().splitlines() if len(line) > 20)
