"""The NetSuite stand-in as a process of its own."""

from __future__ import annotations

import datetime
import ipaddress
import json
import os
import ssl
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from contract.netsuite.account import M2M, NetsuiteAccount

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class NetsuiteProcess:
    """`with NetsuiteProcess() as process:`. With `tls_folder` it serves HTTPS; the certificate is put there."""

    def __init__(self, tls_folder: Path | None = None) -> None:
        self.certificate = None if tls_folder is None else tls_folder / "certificate.pem"
        self._environment = {}
        if self.certificate is not None:
            key = self.certificate.with_name("key.pem")
            _write_certificate(self.certificate, key)
            prefix = "MLC_SANDBOX_NETSUITE_TLS_"
            self._environment = {f"{prefix}CERTIFICATE": str(self.certificate), f"{prefix}KEY": str(key)}

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "ml_connector.sandbox.netsuite"],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **self._environment},
        )
        assert self._process.stdout is not None
        self.url: str = json.loads(self._process.stdout.readline())["url"]
        trusted = True if self.certificate is None else ssl.create_default_context(cafile=str(self.certificate))
        self.http = httpx2.Client(timeout=30, verify=trusted)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.http.close()
        self._process.terminate()
        assert self._process.wait(10) == 0

    @property
    def pid(self) -> int:
        return self._process.pid

    def account(self, name: str, *, rsa_key: bool = False, **switches: Any) -> NetsuiteAccount:
        """Register an account with a new key."""
        key: Key = rsa.generate_private_key(65537, 3072) if rsa_key else ec.generate_private_key(ec.SECP256R1())
        client = {
            "client_id": f"client-{name}",
            "certificate_id": f"certificate-{name}",
            "public_key_pem": _public(key),
        }
        self.admin("POST", "accounts", {"account": name, **client, **switches})
        algorithm = "PS256" if rsa_key else "ES256"
        return NetsuiteAccount(self.url, M2M(client["client_id"], client["certificate_id"], _private(key), algorithm))

    def admin(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.http.request(method, f"{self.url}/_sandbox/{path}", json=body)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def log(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.admin("GET", "log")["entries"]
        return found


def _write_certificate(certificate: Path, key_file: Path) -> None:
    """Its own authority, for 127.0.0.1, for a day."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "NetSuite stand-in")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_text(_private(key))


def _private(key: Key) -> str:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


def _public(key: Key) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()
