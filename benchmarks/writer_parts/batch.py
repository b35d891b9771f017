"""Asynchronous batches: records for each second that a slot is taken, beside single calls and the protocol's bound.

Submits, polls, results and read-backs all take a slot, and all are counted; the records of a job take none.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

from support.desired import ACCOUNT
from writer_parts.rig import SINGLE_CALLS, Line, Options, Rig
from writer_parts.single import through_writer

BATCHES: Final = {"MLC_BATCH_FROM": "20"}
SLOTS: Final = 5
LATENCY_MS: Final = 400  # of every request, and of every record within a job
AIM: Final = 0.9
_ONE_RECORD: Final = re.compile(r"/record/v1/\w+/eid:")
_JOB: Final = re.compile(r"/async/v1/job/[^/]+(?P<rest>/.*)?\Z")


async def measure(options: Options) -> None:
    latency_ms = 50 if options.quick else LATENCY_MS
    records = 200 if options.quick else 2000  # some ten batches
    floor = per_slot_s(await log_of(SINGLE_CALLS, records=40, latency_ms=latency_ms))
    bound = 100 / (3 * latency_ms / 1000)
    print(f"batches: {records} new records at once, {SLOTS} slots, every request {latency_ms} ms")
    print(f"  {'single calls':<50} {floor:7.1f} records per slot-second")
    print(f"  {'bound: submit, one poll, one read-back for 100':<50} {bound:7.1f}")
    for what, dates in (("fields that a read-back can compare", False), ("two custom dates among them", True)):
        log = await log_of(BATCHES, records=records, latency_ms=latency_ms, dates=dates)
        tell(what, log, floor=floor, bound=bound)


def tell(what: str, log: Sequence[Line], *, floor: float, bound: float) -> None:
    batched = [line for line in log if not is_single(line)]
    jobs = len({line["job"] for line in log if line["job"]})
    if not jobs:
        print(f"  {what}: this writer made no batch", flush=True)
        return
    rows = [(f"batches, {what}", batched)]
    if jobs > 1:
        rows.append(("  once the first has shown how long they take", after_first(batched)))
    for which, lines in rows:
        mine = per_slot_s(lines)
        print(
            f"  {which:<50} {mine:7.1f}   {mine / floor:.1f}x of single calls, "
            f"{100 * mine / bound:.0f} % of the bound   (aim >= {100 * AIM:.0f} %)"
        )
    counts = ", ".join(f"{count} {kind}" for kind, count in Counter(map(kind_of, requests(log))).most_common())
    print(
        f"    {committed(batched)} records in {jobs} jobs; {counts}; the whole load {per_slot_s(log):.1f}", flush=True
    )


async def log_of(environment: dict[str, str], *, records: int, latency_ms: int, dates: bool = True) -> list[Line]:
    """What NetSuite saw of so many new records."""
    async with Rig(slots=SLOTS, environment=environment) as rig:
        await rig.write(1)  # there is a token after this
        await rig.latency(latency_ms)
        await rig.forget_log()
        await through_writer(rig, records, dates=dates)
        return [line for line in await rig.log() if line["account"] == ACCOUNT]


def after_first(batched: Sequence[Line]) -> list[Line]:
    """Without the first batch, of which nobody knows when to ask for it."""
    first = min(
        line["start_ms"] for line in batched if kind_of(line) == "queries" and line["start_ms"] > submit_ms(batched)
    )
    return [line for line in batched if line["start_ms"] > first]


def submit_ms(batched: Sequence[Line]) -> float:
    found: float = min(line["start_ms"] for line in batched if kind_of(line) == "submits")
    return found


def is_single(line: Line) -> bool:
    return not line["job"] and _ONE_RECORD.search(line["path"]) is not None


def kind_of(line: Line) -> str:
    if is_single(line):
        return "single calls"
    job = _JOB.search(line["path"])
    if job is None:
        return "queries" if "/query/" in line["path"] else "submits"
    rest = job["rest"] or ""
    return "results" if rest.endswith("/result") else "task lists" if rest else "polls"


def requests(log: Sequence[Line]) -> list[Line]:
    """Those that took a slot."""
    return [line for line in log if not line["job"]]


def committed(log: Sequence[Line]) -> int:
    return sum(line["commit_seq"] is not None for line in log)


def per_slot_s(log: Sequence[Line]) -> float:
    taken_ms: float = sum(line["end_ms"] - line["start_ms"] for line in requests(log))
    return committed(log) / (taken_ms / 1000)
