"""CPU of one record, from the message in `netsuite.desired` to its tombstone, beside that of one bare call."""

from __future__ import annotations

import statistics
from typing import Final

from writer_parts.rig import Options, Rig

SLOTS: Final = 15
LATENCIES_MS: Final = (0, 5)
AIM: Final = 1.6


async def measure(options: Options) -> None:
    records = 500 if options.quick else 4000
    print(f"CPU of a process per record, {records} records, {SLOTS} slots; aim: <= {AIM}x of the bare loop")
    print("  latency     bare loop        writer   of bare")
    async with Rig(slots=SLOTS) as rig:
        await rig.warm_up()
        for latency_ms in LATENCIES_MS[:1] if options.quick else LATENCIES_MS:
            await rig.latency(latency_ms)
            bare: list[float] = []
            writer: list[float] = []
            for _ in range(options.rounds):
                bare.append(await rig.bare(records, workers=SLOTS) / records)
                before_s = rig.cpu_s()
                await rig.write(records)
                writer.append((rig.cpu_s() - before_s) / records)
            mine, floor = statistics.median(writer), statistics.median(bare)
            print(
                f"  {latency_ms:4} ms  {1000 * floor:9.2f} ms  {1000 * mine:9.2f} ms  {mine / floor:7.2f}x", flush=True
            )
