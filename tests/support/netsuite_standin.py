"""The NetSuite stand-in as a process of its own."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from contract.netsuite.account import M2M, NetsuiteAccount
from support.standin import StandInProcess

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class NetsuiteProcess(StandInProcess):
    """`with NetsuiteProcess() as process:`. With `tls_folder` it serves HTTPS; the certificate is put there."""

    def __init__(self, tls_folder: Path | None = None) -> None:
        self.certificate = None if tls_folder is None else tls_folder / "certificate.pem"
        files = {}
        if self.certificate is not None:
            files = {"TLS_CERTIFICATE": self.certificate, "TLS_KEY": self.certificate.with_name("key.pem")}
            _write_certificate(*files.values())
        super().__init__("netsuite", files, trust=self.certificate)

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
