"""How fast is the whole way, from the webhook to NetSuite's commit, on this machine?

Broker, stand-ins (0 ms) and services share the machine's cores. Prints
- p50 and p99 at a steady 100 events/s, open loop: from when the webhook is due to the commit in the stand-in's log;
- the highest sustained rate: as many events as ingest takes, each naming its own record, until the last is committed;
- CPU milliseconds per event by process, and their share of the machine;
- memory of the services when idle, at the start and after `--idle-minutes`.
The judge is the NetSuite stand-in's request log: it must show exactly one write for each event.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import hmac
import json
import os
import platform
import statistics
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2

from ml_connector.cli.stack import Stack, StackOptions

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
SERVICES = ("ingest", "resolver", "netsuite-writer")
DRAIN_DEADLINE_S = 300.0


@dataclass(frozen=True)
class Target:
    """Where the load goes and where the truth is read."""

    client: httpx2.AsyncClient
    webhook_url: str
    signing_key: bytes
    company_id: str
    netsuite_url: str


def webhook(source_id: int, company_id: str) -> bytes:
    """An organization's `create` in the official member order, as compact JSON."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    data: dict[str, Any] = {
        "add_time": now, "address": None, "country_code": None, "custom_fields": {}, "id": source_id, "label": None,
        "name": f"Company {source_id}", "owner_id": 1, "picture_id": None, "update_time": now, "visible_to": "3",
    }  # fmt: skip
    meta = {
        "action": "create", "company_id": company_id, "correlation_id": str(uuid.uuid4()), "entity_id": str(source_id),
        "entity": "organization", "id": str(uuid.uuid4()), "is_bulk_edit": False, "timestamp": now, "type": "general",
        "user_id": "1", "version": "2.0", "webhook_id": "1", "webhook_owner_id": "1", "change_source": "app",
        "permitted_user_ids": ["1", "2", "3"], "attempt": 1, "host": "bench.pipedrive.com",
    }  # fmt: skip
    return json.dumps({"data": data, "previous": None, "meta": meta}, separators=(",", ":")).encode()


async def post(target: Target, source_id: int) -> None:
    body = webhook(source_id, target.company_id)
    signature = hmac.new(target.signing_key, body, hashlib.sha256).hexdigest()
    headers = {"content-type": "application/json", "x-pipedrive-signature": signature}
    answer = await target.client.post(target.webhook_url, content=body, headers=headers)
    if answer.status_code != 204:
        raise SystemExit(f"ingest answered {answer.status_code}: the figures would mean nothing")


async def steady(target: Target, first_id: int, *, rate: int, seconds: int) -> dict[int, float]:
    """Post at a fixed rate whatever the answers do; when each webhook was due, in ms since the epoch."""
    due: dict[int, float] = {}
    start = time.time()
    tasks = []
    for number in range(rate * seconds):
        at = start + number / rate
        await asyncio.sleep(max(0.0, at - time.time()))
        due[first_id + number] = at * 1000
        tasks.append(asyncio.create_task(post(target, first_id + number)))
    await asyncio.gather(*tasks)
    return due


async def flood(target: Target, first_id: int, *, events: int, at_once: int) -> float:
    """Post as fast as ingest answers; when the first was posted, in ms since the epoch."""
    start = time.time() * 1000
    ids = iter(range(first_id, first_id + events))

    async def worker() -> None:
        for source_id in ids:
            await post(target, source_id)

    await asyncio.gather(*(worker() for _ in range(at_once)))
    return start


async def commits(target: Target, first_id: int, events: int) -> dict[int, float]:
    """Wait until the stand-in has committed all of them; when each was, in ms since the epoch."""
    deadline = time.monotonic() + DRAIN_DEADLINE_S
    found: dict[int, float] = {}
    writes = after = 0
    while len(found) < events:
        if time.monotonic() > deadline:
            raise SystemExit(f"{events - len(found)} of {events} events were not written in {DRAIN_DEADLINE_S:.0f} s")
        for entry in await read_log(target, after):
            after = max(after, entry["seq"])
            source_id = organization_of(entry)
            if source_id is not None and first_id <= source_id < first_id + events:
                writes += 1
                found[source_id] = entry["end_ms"]
        await asyncio.sleep(0.2)
    if writes != events:
        raise SystemExit(f"{writes} writes for {events} events: the figures would mean nothing")
    return found


async def read_log(target: Target, after: int) -> list[dict[str, Any]]:
    answer = await target.client.get(f"{target.netsuite_url}/_sandbox/log", params={"after": after})
    entries: list[dict[str, Any]] = answer.raise_for_status().json()["entries"]
    return entries


def organization_of(entry: dict[str, Any]) -> int | None:
    if entry.get("commit_seq") is None or "-org-" not in (entry.get("external_id") or ""):
        return None
    return int(entry["external_id"].rpartition("-")[2])


def cpu_s(pid: int) -> float:
    """Of a process and its children (the broker is a child of its keeper)."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return own_cpu_s(pid) + sum(cpu_s(int(child)) for child in children)


def own_cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def memory_mb(pid: int) -> float:
    """Proportional set size: shared pages are counted once over all processes."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


async def measure_latency(target: Target, *, rate: int, seconds: int) -> None:
    first_id = 1_000_000
    due = await steady(target, first_id, rate=rate, seconds=seconds)
    done = await commits(target, first_id, len(due))
    took = [done[source_id] - at for source_id, at in due.items()]
    print(
        f"latency at {rate} events/s over {seconds} s: p50 {statistics.median(took):.0f} ms, "
        f"p99 {percentile(took, 0.99):.0f} ms, max {max(took):.0f} ms   (aim: p50 <= 60, p99 <= 250)"
    )


async def measure_rate(target: Target, stack: Stack, *, events: int) -> None:
    first_id = 2_000_000
    pids = stack.pids()
    before = {name: cpu_s(pid) for name, pid in pids.items()}
    own = time.process_time()
    start = await flood(target, first_id, events=events, at_once=64)
    done = await commits(target, first_id, events)
    took_s = (max(done.values()) - start) / 1000
    print(f"sustained: {events / took_s:.0f} events/s over {events} events, one write each   (aim: >= 300)")
    for name, pid in pids.items():
        used = cpu_s(pid) - before[name]
        print(f"  {name:<16} {1000 * used / events:6.2f} CPU ms per event, {100 * used / took_s:5.1f} % of a core")
    used = time.process_time() - own
    print(
        f"  {'load generator':<16} {1000 * used / events:6.2f} CPU ms per event, {100 * used / took_s:5.1f} % of a core"
    )


async def measure_idle(stack: Stack, *, minutes: float) -> None:
    pids = {name: stack.pids()[name] for name in SERVICES}
    first = {name: memory_mb(pid) for name, pid in pids.items()}
    print(f"idle memory of all services: {sum(first.values()):.0f} MB {rounded(first)}   (aim: <= 600)")
    if minutes:
        await asyncio.sleep(minutes * 60)
        last = {name: memory_mb(pid) for name, pid in pids.items()}
        growth = 100 * (sum(last.values()) / sum(first.values()) - 1)
        print(
            f"after {minutes:g} minutes: {sum(last.values()):.0f} MB {rounded(last)}, {growth:+.1f} %   (aim: <= +5 %)"
        )


def rounded(figures: dict[str, float]) -> dict[str, int]:
    return {name: round(figure) for name, figure in figures.items()}


async def main(arguments: argparse.Namespace) -> None:
    cores, python = os.cpu_count(), platform.python_version()
    print(f"{platform.machine()}, {cores} cores, Python {python}, {datetime.now(UTC):%Y-%m-%d}")
    async with Stack(StackOptions(netsuite_concurrency=20)) as stack, httpx2.AsyncClient(timeout=30) as client:
        target = Target(
            client, f"{stack.urls['ingest']}/webhooks/pipedrive/{stack.flow}", stack.signing_key.encode(),
            stack.company_id, stack.urls["netsuite"],
        )  # fmt: skip
        await flood(target, 500_000, events=500, at_once=16)  # everything is connected and compiled after this
        await commits(target, 500_000, 500)
        await measure_latency(target, rate=100, seconds=arguments.seconds)
        await measure_rate(target, stack, events=arguments.events)
        await measure_idle(stack, minutes=arguments.idle_minutes)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=30, help="of the steady load")
    parser.add_argument("--events", type=int, default=6000, help="of the flood")
    parser.add_argument("--idle-minutes", type=float, default=0, help="before memory is read again")
    asyncio.run(main(parser.parse_args()))
