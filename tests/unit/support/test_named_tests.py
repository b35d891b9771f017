"""Tests that the documents name are there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[3]
TESTS: Final = ROOT / "tests"
_NAMED: Final = re.compile(r"`((?:/[\w/]+/)?test_\w+\.py)(?:::(test_\w+))?`")


@pytest.mark.parametrize(("document", "at_least"), [("netsuite-writer.md", 80), ("ingest-and-resolver.md", 60)])
def test_every_test_that_is_named_for_a_promise_is_there(document: str, at_least: int) -> None:
    named = _NAMED.findall((ROOT / "docs" / "proof" / document).read_text())

    assert len(named) > at_least
    assert [one for one in named if not _is_there(*one)] == []


def _is_there(path: str, name: str) -> bool:
    file = TESTS / path[1:] if path.startswith("/") else TESTS / "unit" / "netsuite_writer" / path
    return file.is_file() and (not name or f"def {name}(" in file.read_text())
