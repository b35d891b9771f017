"""Requests and limits are those of measured figures: docs/performance.md, benchmarks/capacity.py."""

from __future__ import annotations

import re

import pytest

from support.kustomize import ROOT, built

UNITS = {"Mi": 2**20, "Gi": 2**30}
MIB = 2**20
# `service  ready  CPU  memory  ready  CPU  memory`, with one flow and with a thousand ("A thousand flows").
ROW = re.compile(r"^(\S+) +\S+ s +\S+ s +(\d+) MiB +\S+ s +\S+ s +(\d+) MiB", re.MULTILINE)
MEASURED_MIB = {row[1]: int(row[3]) for row in ROW.finditer((ROOT / "docs/performance.md").read_text())}
# What comes on top in the worst case that was measured, in MiB.
MORE_MIB = {
    "ingest": 190 + 64,  # 10,000 unfinished requests (docs/proof/2026-11-28-ingest-memory.md); MLC_MAX_BUFFERED_BYTES
    "resolver": 138 - 75,  # comparing 200,000 records
    "netsuite-writer": 138 - 75,
    "admin": 187 - 103,  # a reconcile's report of 200,000
}
IDLE_RECORD_BYTES = 64  # both: benchmarks/writer.py restore
STORED_RECORD_BYTES = 477


def amount(text: str) -> int:
    return int(text[:-2]) * UNITS[text[-2:]]


@pytest.mark.parametrize("name", MORE_MIB)
def test_memory_is_enough_for_what_was_measured(name: str) -> None:
    one = next(o for o in built("production") if (o["kind"], o["metadata"]["name"]) == ("Deployment", name))
    pod = one["spec"]["template"]["spec"]
    [container] = pod["containers"]
    most = (MEASURED_MIB[name] + MORE_MIB[name]) * MIB
    for volume in pod["volumes"]:
        if volume["name"] == "store":  # what fills it is in memory, too
            most += amount(volume["emptyDir"]["sizeLimit"]) // STORED_RECORD_BYTES * IDLE_RECORD_BYTES

    assert amount(container["resources"]["requests"]["memory"]) >= MEASURED_MIB[name] * MIB
    assert amount(container["resources"]["limits"]["memory"]) >= most


def test_ingest_and_resolver_scale_at_what_one_replica_was_measured_to_do() -> None:
    """15,000 requests and 8,000 events of one CPU second."""
    production = {(one["kind"], one["metadata"]["name"]): one for one in built("production")}
    page = (ROOT / "docs/scaling.md").read_text()
    assert "| ingest: requests of one CPU second | 15,000 |" in page
    assert "| resolver, through Faust: events of one CPU second | 8,000 |" in page

    [trigger] = production["ScaledObject", "resolver"]["spec"]["triggers"]
    assert 8_000 / 2 < int(trigger["metadata"]["lagThreshold"]) <= 8_000  # about a second of its work
    [metric] = production["HorizontalPodAutoscaler", "ingest"]["spec"]["metrics"]
    ingest = production["Deployment", "ingest"]["spec"]["template"]["spec"]["containers"][0]
    cpus = int(ingest["resources"]["requests"]["cpu"].removesuffix("m")) / 1000
    assert 15_000 * cpus * metric["resource"]["target"]["averageUtilization"] / 100 == 4_500  # as its comment says
