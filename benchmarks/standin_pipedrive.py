"""How fast the Pipedrive stand-in is: a slow one would hide the product's speed.

Prints requests per CPU-second of its one process (aim: >= 2,000), next to those of an almost empty answer by the same
server (the floor).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
from datetime import UTC, datetime

import httpx2
from standin_netsuite import AT_ONCE, measure

from support.pipedrive_standin import PipedriveProcess


async def main(arguments: argparse.Namespace) -> None:
    cores, python = os.cpu_count(), platform.python_version()
    print(f"{platform.machine()}, {cores} cores, Python {python}, {datetime.now(UTC):%Y-%m-%d}")
    with PipedriveProcess() as process:
        token = process.company("bench")
        sizes = {"organizations": 1000, "persons": 1000, "deals": 1000}
        process.admin("POST", "companies/bench/objects", sizes)
        limits = httpx2.Limits(max_connections=AT_ONCE)
        headers = {"x-api-token": token}
        async with httpx2.AsyncClient(base_url=process.url, headers=headers, limits=limits, timeout=60) as client:
            print(f"requests, {AT_ONCE} at once   (aim: >= 2000)")
            n, api = arguments.requests, "/api/v2"
            await measure("almost nothing (the floor)", process.pid, n, lambda _: client.get("/_sandbox/lost"))
            await measure("GET one", process.pid, n, lambda i: client.get(f"{api}/organizations/{i % 1000 + 1}"))
            await measure("POST", process.pid, n, lambda i: client.post(f"{api}/deals", json={"title": f"Deal {i}"}))
            await measure(
                "PATCH",
                process.pid,
                n,
                lambda i: client.patch(f"{api}/persons/{i % 1000 + 1}", json={"name": f"N {i}"}),
            )
            pages = max(1, n // 100)
            await measure(
                "GET 500 of a list", process.pid, pages, lambda _: client.get(f"{api}/organizations?limit=500")
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=5000, help="of each kind")
    asyncio.run(main(parser.parse_args()))
