"""What the NetSuite writer makes of its slots and of its process, each figure beside its bound in the same run.

- single      records/s at 5, 15 and 55 slots, 50 and 400 ms, beside a bare closed loop of as many httpx2 workers
- batch       records per slot-second of asynchronous batches, beside single calls and the protocol's own bound
- superseded  events/s when seventy per cent are older generations, beside one request per event
- cpu         CPU seconds of the process per record, beside the bare loop's per call
- restore     a million observed records into an empty store: seconds until ready, bytes of memory each
- isolation   a thousand accounts in one process: what the healthy keep while others are down or slow

The judge of throughput is the stand-in's request log. Broker, stand-in, writer and bare loop share this machine's
cores, so a figure is this machine's; the ratio is what counts. With `PYTHONPATH=tests`.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from writer_parts import batch, cpu, isolation, restore, single, superseded
from writer_parts.rig import Options

from support.measuring import machine

PARTS: Final[dict[str, Callable[[Options], Awaitable[None]]]] = {
    "single": single.measure,
    "batch": batch.measure,
    "superseded": superseded.measure,
    "cpu": cpu.measure,
    "restore": restore.measure,
    "isolation": isolation.measure,
}


async def main(parts: list[str], options: Options) -> None:
    print(machine(), flush=True)
    for part in parts:
        await PARTS[part](options)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(PARTS)}; none named: all")
    parser.add_argument("--quick", action="store_true", help="a few seconds each: whether it runs, not how fast")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each side (single, cpu)")
    parser.add_argument("--records", type=int, default=1_000_000, help="to restore")
    parser.add_argument("--accounts", type=int, default=1000, help="of the isolation")
    arguments = parser.parse_args()
    unknown = set(arguments.parts) - set(PARTS)
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    rounds = 1 if arguments.quick else arguments.rounds
    chosen = Options(arguments.quick, rounds, arguments.records, arguments.accounts)
    asyncio.run(main(arguments.parts or list(PARTS), chosen))
