"""A certificate authority of the test's own, as Strimzi has one: for a broker, and for each user."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_DAY = datetime.timedelta(days=1)


class Authority:
    """`folder`: gets `ca.crt`; for each name a folder with `user.crt` and `user.key`, as a KafkaUser's Secret has."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named("a test's CA")
        made = self._certificate(self._name, self._key.public_key(), x509.BasicConstraints(ca=True, path_length=0))
        self.file = folder / "ca.crt"
        self.file.write_bytes(made)

    def issue(self, name: str) -> Path:
        """A key and a certificate, good for a server on 127.0.0.1 too; their folder, with both in `both.pem`."""
        key = ec.generate_private_key(ec.SECP256R1())
        place = self._folder / name
        place.mkdir()
        address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        certificate = self._certificate(_named(name), key.public_key(), address)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        for file, content in {"user.crt": certificate, "user.key": pem, "both.pem": pem + certificate}.items():
            (place / file).write_bytes(content)
        return place

    def _certificate(self, subject: x509.Name, key: ec.EllipticCurvePublicKey, more: x509.ExtensionType) -> bytes:
        now = datetime.datetime.now(datetime.UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _DAY)
            .not_valid_after(now + _DAY)
            .add_extension(more, critical=isinstance(more, x509.BasicConstraints))
            .sign(self._key, hashes.SHA256())
        )
        return made.public_bytes(serialization.Encoding.PEM)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
