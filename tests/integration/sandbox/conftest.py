"""One NetSuite stand-in for all tests of this folder; each test has an account of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.netsuite_standin import NetsuiteProcess


@pytest.fixture(scope="module")
def netsuite() -> Iterator[NetsuiteProcess]:
    with NetsuiteProcess() as process:
        yield process
