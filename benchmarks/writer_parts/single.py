"""Single calls: how near the writer comes to a bare closed loop of as many httpx2 workers, without one 429."""

from __future__ import annotations

import statistics
from typing import Final

from writer_parts.rig import Options, Rig, steady_per_s

SLOTS: Final = (5, 15, 55)
LATENCIES_MS: Final = (50, 400)
SECONDS: Final = 8.0  # that slots and latency alone would take for one turn
AIM: Final = 0.98


async def measure(options: Options) -> None:
    print(
        "single calls, steady state (first and last tenth left out), records/s; "
        f"aims: >= {AIM} of the bare loop, no 429, in flight <= slots"
    )
    print(
        "  slots  latency   slots/latency     bare loop        writer   of bare   writer of slots/latency   429s   peak"
    )
    async with Rig() as rig:
        await rig.warm_up()
        for slots in SLOTS[:2] if options.quick else SLOTS:
            await rig.slots(slots)
            for latency_ms in LATENCIES_MS[:1] if options.quick else LATENCIES_MS:
                await one(rig, options, slots=slots, latency_ms=latency_ms)


async def one(rig: Rig, options: Options, *, slots: int, latency_ms: int) -> None:
    """Both in turns."""
    await rig.latency(latency_ms)
    bound = slots / (latency_ms / 1000)
    records = max(4 * slots, int(bound * (1.5 if options.quick else SECONDS)))
    bare: list[float] = []
    writer: list[float] = []
    refused = 0
    for number in range(options.rounds):
        for is_writer in (False, True) if number % 2 else (True, False):
            await rig.forget_log()
            if not is_writer:
                await rig.bare(records, workers=slots)
                bare.append(steady_per_s(await rig.log(), slots))
                continue
            before = await rig.stats()
            await through_writer(rig, records)
            refused += (await rig.stats())["refused_for_concurrency"] - before["refused_for_concurrency"]
            log = await rig.log()
            peak = 1 + max(line["in_flight_at_start"] for line in log if line["account"])
            writer.append(steady_per_s(log, slots))
    mine, floor = statistics.median(writer), statistics.median(bare)
    print(
        f"  {slots:5}  {latency_ms:4} ms  {bound:12.1f}/s  {floor:10.1f}/s  {mine:10.1f}/s  {mine / floor:7.2f}x"
        f"  {100 * mine / bound:15.0f} % (bare {100 * floor / bound:3.0f} %)  {refused:5}  {peak:5}",
        flush=True,
    )


async def through_writer(rig: Rig, records: int, *, dates: bool = True) -> None:
    await rig.queue(records, dates=dates)
    done = await rig.commits() + records
    await rig.pause(False)
    await rig.until_commits(done)
    await rig.until_settled()
