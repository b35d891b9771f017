"""How much of everything a load needs. Prints the table of docs/scaling.md, or with a load of yours one of your own.

Formulas only, fed by figures that other benchmarks measured (docs/performance.md); they are reckoned, not measured.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

DAY_S: Final = 86_400
GB: Final = 1e9


@dataclass(frozen=True, slots=True)
class Measured:
    """Of one CPU of the reference machine, or of one message. Where each comes from: docs/scaling.md."""

    ingest_per_cpu_s: float = 15_000  # benchmarks/ingest.py
    resolver_per_cpu_s: float = 8_000  # benchmarks/resolver.py, through Faust
    writer_per_cpu_s: float = 1 / 0.76e-3  # benchmarks/writer.py, single calls
    fold_per_cpu_s: float = 10_500  # benchmarks/timeline.py: audit entries that admin takes up
    restored_per_s: float = 1_000_000 / 19.0  # benchmarks/writer.py: observed records
    idle_record_bytes: float = 66  # benchmarks/writer.py: of the writer's memory
    stored_record_bytes: float = 477  # benchmarks/writer.py: of the writer's store on disk
    flow_bytes: float = 30_000  # benchmarks/flows.py: of each service's memory
    sql_entry_bytes: float = 710  # benchmarks/timeline.py
    # Bytes in the topics' logs of an event of the demo's flow, each message compressed alone (docs/scaling.md).
    events_bytes: float = 1_481
    desired_bytes: float = 2_134  # with its tombstone
    audit_bytes: float = 2_026  # three entries
    observed_bytes: float = 1_008  # attempt and state
    entries: float = 3  # of the audit, for each event


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked of it. The second half are assumptions, to be replaced by your own."""

    name: str
    accounts: int
    events_a_day: float
    records: float  # in all accounts together
    peak: float = 5  # times the day's mean
    busy: float = 0.6  # share of a CPU that a replica shall use at the peak
    slots: int = 5  # of an account
    call_s: float = 0.4  # of one NetSuite request
    copies: int = 3  # of each message: replication.factor
    events_kept_days: float = 30
    audit_kept_days: float = 7 * 365
    sql_kept_days: float = 90


@dataclass(frozen=True, slots=True)
class Needs:
    """Replicas are processes of one CPU each; never fewer than two, so that one may die."""

    mean_per_s: float
    peak_per_s: float
    ingest: int
    resolver: int
    writer: int
    fold_share: float  # of one admin's CPU, over the day
    partitions: int
    account_share: float  # of what its slots can do, for an account of mean size at its peak
    hour_s: float  # until an account has caught up with an hour in which NetSuite was away, at its mean rate
    writer_memory_mb: float  # of each replica, beside what every Python process has
    writer_store_gb: float  # of each replica
    restore_s: float  # of all partitions of a replica that starts with nothing
    kafka_gb: float
    sql_gb: float


def needs(load: Load, measured: Measured) -> Needs:
    mean = load.events_a_day / DAY_S
    peak = mean * load.peak

    def replicas(per_cpu_s: float) -> int:
        return max(2, math.ceil(peak / per_cpu_s / load.busy))

    resolver, writer = replicas(measured.resolver_per_cpu_s), replicas(measured.writer_per_cpu_s)
    of_account = mean / load.accounts
    capacity = load.slots / load.call_s
    records = load.records / writer
    return Needs(
        mean_per_s=mean,
        peak_per_s=peak,
        ingest=replicas(measured.ingest_per_cpu_s),
        resolver=resolver,
        writer=writer,
        fold_share=mean * measured.entries / measured.fold_per_cpu_s,
        partitions=next(count for count in (12, 24, 48, 96, 192, 384, 768) if count >= 3 * max(resolver, writer)),
        account_share=of_account * load.peak / capacity,
        hour_s=3600 * of_account / (capacity - of_account) if capacity > of_account else math.inf,
        writer_memory_mb=(records * measured.idle_record_bytes + load.accounts * measured.flow_bytes) / 1e6,
        writer_store_gb=records * measured.stored_record_bytes / GB,
        restore_s=records / measured.restored_per_s,
        kafka_gb=_kafka_gb(load, measured),
        sql_gb=load.events_a_day * measured.entries * measured.sql_entry_bytes * load.sql_kept_days / GB,
    )


def _kafka_gb(load: Load, measured: Measured) -> float:
    """Compacted topics hold one entry of each record, and about a day of what is not compacted yet."""
    by_time = measured.events_bytes * load.events_kept_days + measured.audit_bytes * load.audit_kept_days
    by_day = measured.desired_bytes + measured.observed_bytes
    records = load.records * measured.observed_bytes
    return (load.events_a_day * (by_time + by_day) + records) * load.copies / GB


EXAMPLES: Final[tuple[Load, ...]] = (
    Load("one company", 1, 2_000, 50_000),
    Load("an agency", 20, 100_000, 1_000_000),
    Load("a platform", 1_000, 5_000_000, 50_000_000),
    Load("ten thousand accounts", 10_000, 100_000_000, 500_000_000),
)
ROWS: Final[dict[str, Callable[[Needs], str]]] = {
    "events a second, mean / peak": lambda n: f"{n.mean_per_s:,.1f} / {n.peak_per_s:,.0f}",
    "ingest, resolver, writer: replicas": lambda n: f"{n.ingest}, {n.resolver}, {n.writer}",
    "partitions": lambda n: f"{n.partitions}",
    "admin: share of one CPU for folding": lambda n: f"{n.fold_share:.1%}",
    "an account at its peak: share of its slots": lambda n: f"{n.account_share:.1%}",
    "an hour's backlog of an account is done after": lambda n: f"{n.hour_s:,.0f} s",
    "a writer's memory for records and flows": lambda n: f"{n.writer_memory_mb:,.0f} MB",
    "a writer's store on disk": lambda n: f"{n.writer_store_gb:,.1f} GB",
    "a writer that starts with nothing restores for": lambda n: f"{n.restore_s:,.0f} s",
    "Kafka's disks, all copies": lambda n: f"{n.kafka_gb:,.0f} GB",
    "of that with an audit of 90 days": lambda n: "",  # filled in by `table`
    "admin's database, 90 days": lambda n: f"{n.sql_gb:,.0f} GB",
}


def table(loads: tuple[Load, ...], measured: Measured) -> list[str]:
    """Rows in Markdown."""
    found = [needs(load, measured) for load in loads]
    short = [needs(replace(load, audit_kept_days=90), measured) for load in loads]
    heads = [f"{load.name}: {load.accounts:,} accounts, {load.events_a_day:,.0f} events a day" for load in loads]
    lines = ["| | " + " | ".join(heads) + " |", "| --- |" + " --- |" * len(loads)]
    for name, show in ROWS.items():
        cells = [f"{one.kafka_gb:,.0f} GB" for one in short] if "audit of 90" in name else [show(one) for one in found]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int)
    parser.add_argument("--events-a-day", type=float)
    parser.add_argument("--records", type=float)
    given = parser.parse_args()
    loads = EXAMPLES
    if given.accounts or given.events_a_day or given.records:
        if not (given.accounts and given.events_a_day and given.records):
            parser.error("--accounts, --events-a-day and --records belong together; each above 0")
        loads = (Load("yours", given.accounts, given.events_a_day, given.records),)
    print("\n".join(table(loads, Measured())))


if __name__ == "__main__":
    main()
