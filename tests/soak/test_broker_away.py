"""While the broker hangs, or is gone, every service stays alive by its own probe; once it is back, all go on."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import httpx2
import pytest

from ml_connector.cli.stack import ADMIN, ALL, SERVICES, Stack, StackOptions
from ml_connector.sandbox import broker as brokers
from support.door import Door
from support.writing import until

# Longer than the longest time in which a loop may not come round (STALLED_S of the resolver) and some.
AWAY_S: Final = float(os.environ.get("BROKER_AWAY_S", "150"))
LOOK_S: Final = 5.0
PROBED: Final = (*SERVICES, ADMIN)


@pytest.mark.timeout(AWAY_S + 240)
@pytest.mark.parametrize("how", ["hangs", "is gone"])
async def test_every_service_stays_alive_and_goes_on(tmp_path: Path, how: str) -> None:
    broker = await asyncio.to_thread(brokers.start, tmp_path)
    options = StackOptions(processes=ALL, environment={"broker": {"KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers}})
    try:
        async with Stack(options) as stack, httpx2.AsyncClient(timeout=5) as http:
            door, pids = Door(stack, http), stack.pids()
            assert (await door.post()).status_code == 204

            away, back = _acts(broker, how)
            await asyncio.to_thread(away)
            dead = await _dead_ones(stack, http)
            await asyncio.to_thread(back)

            async def accepts() -> bool:
                return (await door.post()).status_code == 204

            await until(accepts, within_s=60)
            for name in PROBED:
                await stack.until_ready(name)
            assert dead == []
            assert stack.pids() == pids
    finally:
        await asyncio.to_thread(broker.stop)


def _acts(broker: brokers.Broker, how: str) -> tuple[Callable[[], None], Callable[[], object]]:
    """What takes the broker away, and what brings it back."""
    if how == "is gone":
        return broker.kill, broker.restart
    assert broker.pid is not None
    pid = broker.pid
    return lambda: os.kill(pid, signal.SIGSTOP), lambda: os.kill(pid, signal.SIGCONT)


async def _dead_ones(stack: Stack, http: httpx2.AsyncClient) -> list[tuple[str, float, int]]:
    """Who said that it is not alive, and when, in seconds."""
    found, began_s = [], time.monotonic()
    while (gone_s := time.monotonic() - began_s) < AWAY_S:
        for name in PROBED:
            status = (await http.get(f"{stack.urls[name]}/livez")).status_code
            if status != 200:
                found.append((name, gone_s, status))
        await asyncio.sleep(LOOK_S)
    return found
