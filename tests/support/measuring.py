"""What a process costs, as Linux counts it, and how figures are told. For benchmarks and long proofs."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

CPUCLOCK_SCHED = 2  # of clockid_t: a process's CPU time in ns, as the scheduler counts it (clock_getcpuclockid(3))


def machine() -> str:
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {datetime.now(UTC):%Y-%m-%d}"


def cpu_s(pid: int) -> float:
    """CPU seconds of a process and its children (the broker is a child of its keeper)."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return own_cpu_s(pid) + sum(cpu_s(int(child)) for child in children)


def own_cpu_s(pid: int) -> float:
    """Of all its threads, also those that have ended; /proc would tell it in hundredths of a second."""
    return time.clock_gettime(~pid << 3 | CPUCLOCK_SCHED)


def memory_mib(pid: int) -> float:
    """Proportional set size: shared pages are counted once over all processes."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]
