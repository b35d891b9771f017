"""Make a key pair and its self-signed certificate, as NetSuite takes them for OAuth 2.0 client credentials.

NetSuite takes RSA 3072 or 4096 and EC, and cuts a validity of more than two years (Oracle subsect_162755332391).
Never: I/O, the clock. The caller passes the moment, and keeps the private key from everybody else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from ml_connector.common.errors import BadInput

MAX_DAYS: Final = 730  # what is longer NetSuite cuts: it would end before the day it says
MAX_NAME: Final = 64  # RFC 5280 appendix A.1: ub-common-name


class Key(StrEnum):
    """The kinds of keys that can be made."""

    ec_p256 = "ec-p256"
    rsa_3072 = "rsa-3072"
    rsa_4096 = "rsa-4096"

    @property
    def algorithm(self) -> str:
        """What the credential says about it (`NetsuiteM2M.algorithm`)."""
        return "ES256" if self is Key.ec_p256 else "PS256"


@dataclass(frozen=True, slots=True)
class Pair:
    """Both as PEM."""

    private_key: bytes = field(repr=False)
    certificate: bytes


def make(kind: Key, *, name: str, days: int, now: datetime) -> Pair:
    """Valid from now on for so many days. Raises BadInput."""
    if not 1 <= days <= MAX_DAYS:
        raise BadInput(f"--days {days}: NetSuite takes certificates of at most two years, so 1 to {MAX_DAYS} days")
    if not name.strip() or len(name) > MAX_NAME or not name.isprintable():
        raise BadInput(f"--name must have 1 to {MAX_NAME} printable characters: it is the certificate's subject")
    key = _key(kind)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder(subject_name=subject, issuer_name=subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Pair(private, certificate.public_bytes(Encoding.PEM))


def _key(kind: Key) -> ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey:
    if kind is Key.ec_p256:
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=4096 if kind is Key.rsa_4096 else 3072)
