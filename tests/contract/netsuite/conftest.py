"""`account`: the stand-in by default; with `--target` the account that NETSUITE_* in the environment describes.

NETSUITE_CLIENT_ID, NETSUITE_CERTIFICATE_ID, NETSUITE_PRIVATE_KEY_FILE, NETSUITE_ALGORITHM, NETSUITE_SUBSIDIARY.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from contract.netsuite.account import M2M, NetsuiteAccount
from support.netsuite_standin import NetsuiteProcess


@pytest.fixture(scope="session")
def standin() -> Iterator[NetsuiteProcess]:
    with NetsuiteProcess() as process:
        yield process


@pytest.fixture(scope="session")
def account(request: pytest.FixtureRequest) -> NetsuiteAccount:
    target = request.config.getoption("--target", None)
    if target:
        environment = os.environ
        m2m = M2M(
            environment["NETSUITE_CLIENT_ID"],
            environment["NETSUITE_CERTIFICATE_ID"],
            Path(environment["NETSUITE_PRIVATE_KEY_FILE"]).read_text(),
            environment.get("NETSUITE_ALGORITHM", "PS256"),
        )
        return NetsuiteAccount(target.rstrip("/"), m2m, environment.get("NETSUITE_SUBSIDIARY", "1"))
    process: NetsuiteProcess = request.getfixturevalue("standin")
    return process.account("1234567_SB1")


@pytest.fixture(scope="session")
def another_key() -> str:
    """A key that no account knows."""
    key = ec.generate_private_key(ec.SECP256R1())
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


@pytest.fixture
def bare() -> Iterator[httpx2.Client]:
    with httpx2.Client(timeout=30) as client:
        yield client
