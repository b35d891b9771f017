"""The NetSuite stand-in as a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from types import TracebackType
from typing import Any, Self

import httpx2
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from contract.netsuite.account import M2M, NetsuiteAccount

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class NetsuiteProcess:
    """`with NetsuiteProcess() as process:`."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "ml_connector.sandbox.netsuite"], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.url: str = json.loads(self._process.stdout.readline())["url"]
        self.http = httpx2.Client(timeout=30)
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


def _private(key: Key) -> str:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


def _public(key: Key) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()
