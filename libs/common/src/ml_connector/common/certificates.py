"""What an X.509 certificate says, and whether it belongs to a private key.

In: bytes as somebody gives them. Out: a Certificate, or Malformed, whose text never holds any of them.
Never: I/O, the clock.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Self

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
    load_pem_private_key,
)

from ml_connector.common.errors import Malformed

_PEM: Final = b"-----BEGIN"
_PRIVATE: Final = b"PRIVATE KEY-----"


@dataclass(frozen=True, slots=True)
class Certificate:
    """`fingerprint`: SHA-256 of the whole certificate, as openssl prints it. `public_key`: DER."""

    subject: str
    key: str
    begins: datetime
    ends: datetime
    fingerprint: str
    public_key: bytes

    @classmethod
    def read(cls, data: bytes) -> Self:
        """PEM or DER. Raises Malformed; a private key is named as one, since it must not be passed on."""
        if _PRIVATE in data or _is_private(data):
            raise Malformed("holds a private key, which nobody else may have: give the certificate's own file")
        try:
            found = x509.load_pem_x509_certificate(data) if _PEM in data else x509.load_der_x509_certificate(data)
            return cls(
                subject=found.subject.rfc4514_string(),
                key=_kind(found.public_key()),
                begins=found.not_valid_before_utc,
                ends=found.not_valid_after_utc,
                fingerprint=hashlib.sha256(found.public_bytes(Encoding.DER)).digest().hex(":").upper(),
                public_key=found.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
            )
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise Malformed("is not an X.509 certificate (PEM or DER)") from error

    def belongs_to(self, private_key_pem: bytes) -> bool:
        """Raises Malformed for what is no private key without a password."""
        try:
            public = load_pem_private_key(
                private_key_pem,
                password=None,
                unsafe_skip_rsa_key_validation=True,  # 200 ms on the event loop; who signs with it validates it
            ).public_key()
            return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == self.public_key
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise Malformed("is not a private key as PEM without a password") from error


def _kind(key: CertificatePublicKeyTypes) -> str:
    match key:
        case rsa.RSAPublicKey():
            return f"RSA {key.key_size}"
        case ec.EllipticCurvePublicKey():
            return f"EC {key.curve.name}"
        case _:
            return type(key).__name__.removesuffix("PublicKey")


def _is_private(data: bytes) -> bool:
    """Also without the lines of PEM, as `.der` and `.key` files may be."""
    try:
        load_der_private_key(data, password=None)
    except (ValueError, UnsupportedAlgorithm):
        return False
    except TypeError:  # it wants a password
        return True
    return True
