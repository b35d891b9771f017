"""The contract suites run against the stand-ins, or unchanged against a real account: `--target URL`."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--target", default=None, help="base URL of a real account; credentials come from the environment")
