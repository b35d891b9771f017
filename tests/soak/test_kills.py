"""Kill resolver and writer again and again while a company works: nothing is lost, doubled or out of order in the end.

Not ingest: after ten failed first attempts Pipedrive bans the endpoint; what it drops then, a sync must fetch.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time

import pytest

from ml_connector.cli.stack import StackOptions
from support.living import Living
from support.writing import until

SERVICES = ("resolver", "netsuite-writer")
KILLS = int(os.environ.get("KILLS", "18"))
OBJECTS = 60


@pytest.mark.timeout(900)
async def test_killed_services_lose_nothing() -> None:
    """At whatever line each kill hits."""
    chance = random.Random(7)
    async with Living(StackOptions(keep_alive=True)) as living:
        refs = [await living.create("organization", {"name": f"Company {n}"}) for n in range(OBJECTS)]
        await living.settle(within_s=120)
        names: dict[str, str] = {}
        ended = asyncio.Event()

        async def edit() -> int:
            edits = 0
            while not ended.is_set():
                ref = chance.choice(refs)
                names[ref] = f"Edit {edits}"
                await living.update(ref, {"name": names[ref]})
                edits += 1
                await asyncio.sleep(0.05)  # the rate of a busy sales team, not a wait for something
            return edits

        editing = asyncio.create_task(edit())
        kills = 0
        for number in range(KILLS):
            name = SERVICES[number % len(SERVICES)]
            await asyncio.sleep(chance.uniform(1, 4))  # anywhere in its work
            await kill(living, name)
            kills += 1
            await living.stack.until_ready(name)
        ended.set()
        edits = await editing
        started_s = time.monotonic()
        account = await living.settle(within_s=300)
        print(f"{edits} edits, {kills} kills; settled {time.monotonic() - started_s:.0f} s after the last: {account}")

        lost = [ref for ref, name in names.items() if ((await living.record(ref)) or {}).get("companyName") != name]
        assert account.balanced
        assert lost == []
        assert len([ref for ref in refs if await living.record(ref) is not None]) == OBJECTS


async def kill(living: Living, name: str) -> None:
    """SIGKILL, and wait until `keep_alive` has started another."""
    pid = living.stack.pids()[name]
    os.kill(pid, signal.SIGKILL)

    async def restarted() -> bool:
        return living.stack.pids()[name] != pid

    await until(restarted)
