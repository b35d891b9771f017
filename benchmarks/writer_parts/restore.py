"""Restore: how soon a writer without a store is ready when a partition holds a million records, and what they weigh."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from pathlib import Path
from typing import Final

from confluent_kafka import Producer

from ml_connector.cli.stack import StackFailed
from ml_connector.common import topics
from ml_connector.common.generation import Generation
from ml_connector.common.kafka.producer import base_config
from ml_connector.common.keys import external_id, record_key
from ml_connector.common.wire import Observed, Settled
from support.desired import ACCOUNT, FLOW
from writer_parts.rig import PARTITION, WRITER, Options, Rig

QUIET_S: Final = 5.0  # after which memory is read
DEADLINE_S: Final = 900.0
AIM_S: Final = 30
AIM_BYTES: Final = 250


async def measure(options: Options) -> None:
    records = 20_000 if options.quick else options.records
    with tempfile.TemporaryDirectory(prefix="writer-store-") as folder:
        store = Path(folder) / "store"
        async with Rig(environment={"MLC_STORE_DIR": str(store)}) as rig:
            empty_s = await restart(rig, store)
            empty = await memory_kib(rig)
            body_bytes = await asyncio.to_thread(fill, rig, records)
            took_s = await restart(rig, store)
            used_s = rig.cpu_s()
            full = await memory_kib(rig)
            on_disk = sum(path.stat().st_size for path in store.rglob("*"))
    grown = {name: (full[name] - empty[name]) * 1024 / records for name in full}
    print(f"restore: {records} observed records of {body_bytes} bytes, empty store")
    print(
        f"  ready after {took_s:.1f} s and {used_s:.1f} CPU s; with an empty topic after {empty_s:.1f} s"
        f"   (aim <= {AIM_S} s for a million)"
    )
    print(
        f"  memory {grown['VmRSS']:.0f} B per idle record (aim <= {AIM_BYTES}), of which {grown['RssAnon']:.0f} B are "
        f"no file's; {full['VmRSS'] / 1024:.0f} MiB, empty {empty['VmRSS'] / 1024:.0f} MiB"
    )
    print(f"  the store is {on_disk / records:.0f} B per record on disk", flush=True)


def fill(rig: Rig, records: int) -> int:
    """Entries as the writer leaves them a while after a record was written; the size of the last."""
    producer = Producer({**base_config(rig.kafka), "linger.ms": 20, "queue.buffering.max.messages": 1_000_000})
    value = b""
    for number in range(1, records + 1):
        value = written(number).encode()
        key = record_key(ACCOUNT, "customer", external_id("pd", "organization", str(number)))
        while True:
            try:
                producer.produce(topics.OBSERVED.name, key=key, value=value, partition=PARTITION)
            except BufferError:
                producer.poll(0.1)
            else:
                break
        if number % 1000 == 0:
            producer.poll(0)
    if producer.flush(120):
        raise SystemExit("the broker did not take all: the figures would mean nothing")
    return len(value)


def written(number: int) -> Observed:
    at_ms = 1_790_000_000_000 + number
    cause = f"6f1c2d3e:{number:08x}-43dd-8448-eb21-{number * 7919:012x}"
    return Observed(
        record_key=record_key(ACCOUNT, "customer", external_id("pd", "organization", str(number))),
        flow=FLOW,
        generation=Generation(at_ms - 250),
        cause=cause,
        outcome="written",
        action="upsert",
        at_ms=at_ms,
        internal_id=str(100 + number),
        digest=f"{number * 2654435761 % 2**128:032x}",
        settled=(Settled(cause, at_ms),),
    )


async def restart(rig: Rig, store: Path) -> float:
    """Without a store; seconds from the process's start until `/readyz`."""
    await rig.stack.stop_one(WRITER)
    await asyncio.to_thread(shutil.rmtree, store)
    started_s = time.monotonic()
    try:
        await rig.stack.start_one(WRITER)
    except StackFailed:  # it waits for 90 s, unless the process has died
        while rig.stack.pids()[WRITER] and time.monotonic() - started_s < DEADLINE_S and not rig.stack.died.is_set():
            try:
                await rig.stack.until_ready(WRITER)
            except StackFailed:
                continue
            break
        else:
            raise
    return time.monotonic() - started_s


async def memory_kib(rig: Rig) -> dict[str, int]:
    await asyncio.sleep(QUIET_S)
    status = await asyncio.to_thread(Path(f"/proc/{rig.pid}/status").read_text)
    lines = dict(line.split(":", 1) for line in status.splitlines())
    return {name: int(lines[name].split()[0]) for name in ("VmRSS", "RssAnon")}
