"""How many records a walk of a sync reads and emits, from Pipedrive's pages to `netsuite.desired`.

The resolver as a process with a real broker, and the Pipedrive stand-in without latency. The flow maps 11 fields, 3 of
them custom; each record is three messages (two audit entries and the desired record), each acknowledged before the next
page is asked for. Beside it, as the floor: a process that only gets the same pages by the same HTTP client and decodes
their JSON. Records per CPU second, and per second of the clock: pages come one after another, and the stand-in and the
broker work on the same cores.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import time
import uuid
from typing import Any

import httpx2

from ml_connector.common.codec import decode_json
from ml_connector.common.syncing import SyncPage
from support.measuring import cpu_s, machine
from support.resolving import RESOLVER, Resolving, token_of
from support.writing import until

AIM = 3_000
COMPANY = "acme"
FIELDS = {
    "companyName": "data.name",
    "entityId": "data.id",
    "accountNumber": "data.owner_id",
    "comments": "data.address.value",
    "email": "data.email",
    "phone": "data.phone",
    "url": "data.website",
    "custentity_added": "data.add_time",
    "custentity_tier": 'custom["Tier"]',
    "custentity_reference": 'custom["Reference"]',
    "custentity_industry": 'custom["Industry"]',
}
FLOOR, WALK = "the same pages, decoded only", "the resolver's walk"


async def measure(*, records: int, rounds: int) -> None:
    rates: list[float] = []
    costs: dict[str, list[float]] = {FLOOR: [], WALK: []}
    async with Resolving(MLC_LOG_LEVEL="warning") as resolving:
        await resolving.company(COMPANY)
        for name in ("Tier", "Reference", "Industry"):
            body = {"field_name": name, "field_type": "varchar"}
            await resolving.pipedrive(COMPANY, "POST", "/api/v2/organizationFields", body)
        objects = {"organizations": records, "persons": 0, "deals": 0}
        await resolving.sandbox("POST", f"companies/{COMPANY}/objects", objects)
        resolving.flows([resolving.flow(COMPANY, FIELDS, limits={"burst": 1_000, "daily_tokens": 10_000_000})])
        await walked(resolving, records)  # connected, compiled, definitions read
        for _ in range(rounds):
            took_s, spent_s = await walked(resolving, records)
            rates.append(records / took_s)
            costs[WALK].append(records / spent_s)
            costs[FLOOR].append(records / await floor(resolving))
    print(f"a walk over {records} organizations, {rounds} times:")
    for what, found in costs.items():
        print(f"  {what:<30} {statistics.median(found):6.0f} records per CPU second")
    by_clock = f"{statistics.median(rates):6.0f} records/s ({min(rates):.0f} to {max(rates):.0f})"
    print(f"  {'the walk, by the clock':<30} {by_clock}")
    print(f"  aim: >= {AIM} records/s on one core")


async def walked(resolving: Resolving, records: int) -> tuple[float, float]:
    """Seconds of the clock and of the resolver's CPU."""
    pid, job = resolving.stack.pids()[RESOLVER], uuid.uuid4().hex[:8]
    began_ms, before_s = time.time_ns() // 10**6, cpu_s(pid)
    page = SyncPage(job_id=job, flow=COMPANY, entity="organization", at_ms=began_ms)
    ended: list[float] = []

    async def is_done() -> bool:
        state = await resolving.walk(COMPANY, job, "organization")
        if state is None or state.state != "done":
            return False
        if state.progress.desired != records:
            raise SystemExit(f"not all were emitted, the figures would mean nothing: {state.progress}")
        ended.append((state.changed_at_ms - state.started_at_ms) / 1000)
        return True

    resolving.sync(page, company=COMPANY)
    await until(is_done, within_s=300, every_s=0.5)
    return ended[0], cpu_s(pid) - before_s


async def floor(resolving: Resolving) -> float:
    """CPU seconds of a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, "--floor", resolving.stack.urls["pipedrive"], env=os.environ,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said, _ = await process.communicate()
    return float(said)


async def get_only(url: str) -> float:
    async with httpx2.AsyncClient(headers={"x-api-token": token_of(COMPANY)}) as http:
        query: dict[str, Any] = {"limit": 500, "sort_by": "id", "sort_direction": "asc"}
        before_s = time.process_time()
        while True:
            body = decode_json((await http.get(f"{url}/api/v2/organizations", params=query)).content)
            query["cursor"] = body["additional_data"]["next_cursor"]
            if query["cursor"] is None:
                return time.process_time() - before_s


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--floor", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.floor:
        print(asyncio.run(get_only(arguments.floor)))
        raise SystemExit
    print(machine())
    asyncio.run(measure(records=arguments.records, rounds=arguments.rounds))
