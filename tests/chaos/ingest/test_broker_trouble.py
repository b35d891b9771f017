"""The broker is stopped, killed, full: ingest says 503 in time, comes back by itself, and keeps every promise."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

import httpx2
import pytest

from ml_connector.cli.stack import Stack, StackOptions
from ml_connector.sandbox import broker as brokers
from ml_connector.sandbox.broker import Broker
from support.door import Door
from support.writing import until

ANSWER_WITHIN_S = 4.0  # Pipedrive gives up at 10 s


class Load:
    """Signed deliveries, each with its own body, four at a time, until `stop`."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._tasks: list[asyncio.Task[None]] = []
        self._ended = False
        self.accepted: list[bytes] = []
        self.refused = 0
        self.slowest_s = 0.0
        self.others: set[int] = set()

    def start(self) -> Self:
        self._tasks = [asyncio.create_task(self._post(name)) for name in range(4)]
        return self

    async def stop(self) -> None:
        self._ended = True
        await asyncio.gather(*self._tasks)

    async def _post(self, name: int) -> None:
        number = 0
        while not self._ended:
            number += 1
            body = b'{"load": "%d-%d"}' % (name, number)
            started_s = time.monotonic()
            answer = await self._door.post(body)
            self.slowest_s = max(self.slowest_s, time.monotonic() - started_s)
            if answer.status_code == 204:
                self.accepted.append(body)
            elif answer.status_code == 503 and int(answer.headers["retry-after"]) > 0:
                self.refused += 1
            else:
                self.others.add(answer.status_code)
            await asyncio.sleep(0.005)  # a busy company, not a flood

    async def until_accepted(self, more: int) -> None:
        await _until_more(lambda: len(self.accepted), more)

    async def until_refused(self, more: int) -> None:
        await _until_more(lambda: self.refused, more)


async def _until_more(count: Callable[[], int], more: int) -> None:
    start = count()

    async def reached() -> bool:
        return count() >= start + more

    await until(reached, within_s=60)


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[tuple[Broker, Door]]:
    broker = await asyncio.to_thread(brokers.start, folder)
    given = {"KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers}
    options = StackOptions(processes=("broker", "ingest"), environment={"broker": given})
    try:
        async with Stack(options) as stack, httpx2.AsyncClient(timeout=20) as http:
            yield broker, Door(stack, http)
    finally:
        await asyncio.to_thread(broker.stop)


async def judge(door: Door, load: Load) -> None:
    """Whatever was answered 204 is in the topic."""
    await load.stop()
    stored = {record.value for record in await door.events()}
    assert load.others == set()
    assert load.slowest_s <= ANSWER_WITHIN_S
    assert set(load.accepted) <= stored
    assert len(load.accepted) > 100


async def test_a_broker_that_hangs_or_dies(tmp_path: Path) -> None:
    async with running(tmp_path) as (broker, door):
        load = Load(door).start()
        await load.until_accepted(50)
        assert broker.pid is not None
        os.kill(broker.pid, signal.SIGSTOP)
        await load.until_refused(8)
        assert await lives(door)
        os.kill(broker.pid, signal.SIGCONT)
        await load.until_accepted(50)

        await asyncio.to_thread(broker.kill)
        await load.until_refused(8)
        assert await lives(door)
        await asyncio.to_thread(broker.restart)
        await load.until_accepted(50)

        await judge(door, load)


async def lives(door: Door) -> bool:
    """As Kubernetes asks; all services for longer: tests/soak/test_broker_away.py."""
    return (await door.http.get(f"{door.stack.urls['ingest']}/livez")).status_code == 200


def largest_log(folder: Path) -> int:
    return max(file.stat().st_size for file in folder.rglob("pipedrive.events-*/*.log"))


async def test_a_broker_whose_disk_is_full(tmp_path: Path) -> None:
    """It may write no file beyond a few more KiB: Kafka gives its only log folder up and ends."""
    async with running(tmp_path) as (broker, door):
        load = Load(door).start()
        await load.until_accepted(50)
        largest = await asyncio.to_thread(largest_log, tmp_path)
        assert broker.pid is not None
        resource.prlimit(broker.pid, resource.RLIMIT_FSIZE, (largest + 16_384, largest + 16_384))
        await load.until_refused(8)
        await asyncio.to_thread(broker.kill)
        await asyncio.to_thread(broker.restart)
        await load.until_accepted(50)

        await judge(door, load)


@pytest.mark.parametrize("keep_alive", [True, False])
async def test_sigterm_cuts_no_connection_that_has_sent_its_request(keep_alive: bool) -> None:
    """Each whole request gets its answer; 204 means stored; afterwards nobody listens."""
    async with Stack(StackOptions(processes=("broker", "ingest"))) as stack, httpx2.AsyncClient() as http:
        door = Door(stack, http)
        senders = [Sender(door, number, keep_alive=keep_alive) for number in range(16)]
        tasks = [asyncio.create_task(sender.run()) for sender in senders]

        async def enough() -> bool:
            return sum(len(sender.accepted) for sender in senders) >= 300

        await until(enough)
        code = await stack.stop_one("ingest")
        await asyncio.gather(*tasks)

        stored = {record.value for record in await door.events()}
        accepted = {body for sender in senders for body in sender.accepted}
        assert code == 0
        assert [sender.cut for sender in senders if sender.cut] == []
        assert accepted <= stored


class Sender:
    """One delivery after the other over raw sockets, until nobody listens any more."""

    def __init__(self, door: Door, number: int, *, keep_alive: bool) -> None:
        self._door = door
        self._number = number
        self._keep_alive = keep_alive
        self.accepted: list[bytes] = []
        self.cut = 0

    async def run(self) -> None:
        connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        for number in range(100_000):
            body = b'{"sender": "%d-%d"}' % (self._number, number)
            try:
                connection = connection or await self._door.connect()
            except OSError:
                return
            reader, writer = connection
            writer.write(self._door.whole_request(body, keep_alive=self._keep_alive))
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except (OSError, asyncio.IncompleteReadError):
                self.cut += 1
                return
            if b" 204 " in head:
                self.accepted.append(body)
            else:  # 503 with a short text
                await reader.readline()
            if not self._keep_alive or b"connection: close" in head.lower():
                writer.close()
                connection = None
