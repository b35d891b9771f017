"""How fast and how small the NetSuite stand-in is: a slow one would hide the product's speed.

Prints requests per CPU-second of its one process (aim: >= 2,000), next to those of an almost empty
answer by the same server (the floor), and its memory with a million records (aim: <= 1.5 GiB).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import httpx2

from support.netsuite_standin import NetsuiteProcess

RECORD = "/services/rest/record/v1/customer"
AT_ONCE = 20
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
Ask = Callable[[int], Awaitable[httpx2.Response]]


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS


def memory_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


async def measure(name: str, pid: int, count: int, ask: Ask) -> None:
    numbers = iter(range(count))

    async def work() -> None:
        for number in numbers:
            answer = await ask(number)
            assert answer.status_code < 300, answer.text

    cpu_before, started_s = cpu_s(pid), time.monotonic()
    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    took_s, used_s = time.monotonic() - started_s, cpu_s(pid) - cpu_before
    print(f"  {name:<28} {count / used_s:7.0f} requests per CPU-second   ({count / took_s:5.0f}/s, client-bound)")


async def main(arguments: argparse.Namespace) -> None:
    cores, python = os.cpu_count(), platform.python_version()
    print(f"{platform.machine()}, {cores} cores, Python {python}, {datetime.now(UTC):%Y-%m-%d}")
    with NetsuiteProcess() as process:
        account = process.account("BENCH", concurrency_limit=AT_ONCE)
        account.create()  # logs in
        token = account.request("GET", f"{RECORD}?limit=1").request.headers["authorization"]
        headers = {"authorization": token, "content-type": "application/json"}
        limits = httpx2.Limits(max_connections=AT_ONCE)
        async with httpx2.AsyncClient(base_url=process.url, headers=headers, limits=limits, timeout=60) as client:
            body = {
                "companyName": "Bench",
                "email": "b@example.com",
                "subsidiary": {"id": "1"},
                "custentity_score": 1.5,
            }
            eid = f"{RECORD}/eid:pd-org-"
            print(f"requests, {AT_ONCE} at once   (aim: >= 2000)")
            n = arguments.requests
            await measure("almost nothing (the floor)", process.pid, n, lambda _: client.get("/_sandbox/accounts"))
            await measure("PUT eid: (creates)", process.pid, n, lambda i: client.put(f"{eid}{i}", json=body))
            await measure("PUT eid: (updates)", process.pid, n, lambda i: client.put(f"{eid}{i}", json=body))
            await measure("GET eid:", process.pid, n, lambda i: client.get(f"{eid}{i}"))
        load(process, arguments.records)


def load(process: NetsuiteProcess, records: int) -> None:
    """Customers as the demo's flow writes them."""
    before = memory_mib(process.pid)
    started_s = time.monotonic()
    for start in range(0, records, 10_000):
        rows = [
            {
                "externalId": f"pd-org-1{number:07}",
                "fields": {
                    "companyName": f"Company number {number}",
                    "entityId": f"CUST{number}",
                    "email": f"billing{number}@example.com",
                    "subsidiary": {"type": "subsidiary", "id": "2"},
                    "custentity_tier": "Gold",
                    "custentity_annual_value": number * 1.25,
                    "custentity_hq_city": "Hamburg",
                },
            }
            for number in range(start, min(start + 10_000, records))
        ]
        process.admin("POST", "records/BENCH/customer", rows)
    after = memory_mib(process.pid)
    print(
        f"{records} records: {after:.0f} MiB, {(after - before) * 2**20 / records:.0f} B each"
        "   (aim: <= 1536 MiB for a million)"
    )
    print(f"  loaded in {time.monotonic() - started_s:.0f} s")
    account = process.account("BENCH")
    wanted = ", ".join(f"'pd-org-1{number:07}'" for number in range(0, records, max(1, records // 100)))
    started_s = time.monotonic()
    rows = account.suiteql(f"SELECT id, externalid FROM customer WHERE externalid IN ({wanted})").json()["items"]
    print(f"  SuiteQL finds {len(rows)} of them by external id in {(time.monotonic() - started_s) * 1000:.0f} ms")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=5000, help="of each kind")
    parser.add_argument("--records", type=int, default=1_000_000, help="to hold")
    asyncio.run(main(parser.parse_args()))
