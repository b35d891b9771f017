"""Faust is told of TLS and SASL what librdkafka is told, or the resolver says what it cannot use."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ml_connector.cli.certificates import Key, make
from ml_connector.common.errors import InvalidSettings
from ml_connector.resolver.faust_login import credentials

EC = make(Key.ec_p256, name="n", days=1, now=datetime(2026, 1, 1, tzinfo=UTC))


def test_nothing_is_plain_text() -> None:
    assert credentials({"bootstrap.servers": "k:9092"}) is None


def test_certificate_and_key_are_read_and_names_are_checked(tmp_path: Path) -> None:
    (tmp_path / "user.crt").write_bytes(EC.certificate)
    (tmp_path / "user.key").write_bytes(EC.private_key)

    made = credentials(
        {
            "security.protocol": "ssl",
            "ssl.ca.location": str(tmp_path / "user.crt"),
            "ssl.certificate.location": str(tmp_path / "user.crt"),
            "ssl.key.location": str(tmp_path / "user.key"),
        }
    )

    assert made.protocol.value == "SSL"
    assert made.context.check_hostname
    assert made.context.verify_mode == ssl.CERT_REQUIRED
    assert made.context.cert_store_stats()["x509"] == 1  # that one, and not the system's


def test_sasl_over_tls() -> None:
    made = credentials(
        {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": "resolver",
            "sasl.password": "p",
        }
    )

    assert (made.protocol.value, made.mechanism.value, made.username) == ("SASL_SSL", "SCRAM-SHA-512", "resolver")
    assert made.ssl_context.check_hostname


@pytest.mark.parametrize(
    ("kafka", "said"),
    [
        (
            {"security.protocol": "sasl_ssl", "sasl.mechanism": "GSSAPI"},
            "sasl.mechanism is one of PLAIN, SCRAM-SHA-256",
        ),
        ({"security.protocol": "ssl", "ssl.ca.pem": "x"}, "cannot use ssl.ca.pem; write certificates as files"),
        ({"security.protocol": "ssl", "ssl.ca.location": "/nowhere"}, "a certificate cannot be read"),
        ({"security.protocol": "tls"}, "security.protocol is plaintext, ssl"),
    ],
)
def test_what_it_cannot_use_is_told(kafka: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidSettings, match=said):
        credentials(kafka)
