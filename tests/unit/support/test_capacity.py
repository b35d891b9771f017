"""docs/scaling.md says what benchmarks/capacity.py reckons, and that reckons as its formulas say."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def capacity() -> ModuleType:
    spec = importlib.util.spec_from_file_location("capacity", ROOT / "benchmarks/capacity.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["capacity"] = module  # where dataclasses look for its names
    spec.loader.exec_module(module)
    return module


def test_the_page_shows_what_is_reckoned(capacity: ModuleType) -> None:
    lines = (ROOT / "docs/scaling.md").read_text().splitlines()

    assert [line for line in capacity.table(capacity.EXAMPLES, capacity.Measured()) if line not in lines] == []


def test_a_load_by_hand(capacity: ModuleType) -> None:
    """864,000 events a day are 10 a second; in an account of two slots and half a second a request, of 4 it can do."""
    measured = replace(capacity.Measured(), ingest_per_cpu_s=50, resolver_per_cpu_s=10, writer_per_cpu_s=5)
    load = capacity.Load("", 10, 864_000, 1_000, peak=3, busy=0.5, slots=2, call_s=0.5, copies=1)

    found = capacity.needs(load, measured)

    assert (found.mean_per_s, found.peak_per_s) == (10, 30)
    assert (found.ingest, found.resolver, found.writer) == (2, 6, 12)
    assert found.partitions == 48
    assert found.account_share == 0.75
    assert found.hour_s == 1_200
