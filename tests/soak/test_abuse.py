"""While ingest is abused in every way at once, its memory stays within bounds, and Pipedrive's deliveries notice nothing.

Its memory may grow by a tenth in all: an idle connection is a socket and a few words, a body is kept until the broker
has it.

The good sender keeps its pace whatever happens: a delivery's time counts from the moment at which it was due, so a stall
shows in everything that had to wait for it. The abusers are a process of their own (`support/abusing.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import hmac
import json
import os
import resource
import sys
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
import uvloop

from ml_connector.cli.stack import FLOW, Stack, StackOptions
from support.measuring import machine, percentile
from support.sockets import place_of
from support.writing import until

SECONDS = float(os.environ.get("ABUSE_SECONDS", "60"))
SMOKE = SECONDS < 30  # too short for a figure: it shows that all of it runs
IDLE = 10_000
RATE = 500  # deliveries a second
CONNECTIONS = 64
WARM_UP_S = min(15.0, max(4.0, SECONDS / 4))
P99_MS = 150.0
GROWN = 0.10  # of what it had before, at most, and afterwards
RECOVERED_S = 60.0
STOOD = 0.9  # of the idle connections, on average: ingest ends them after 5 s, they come back
ALLOWED = {204, 400, 401, 404, 405, 408, 411, 413, 415, 431, 503}
CLOSED = 0  # without an answer
TESTS = Path(__file__).parents[1]
FILES = IDLE + 2_000
PATH = f"/webhooks/pipedrive/{FLOW}"


@pytest.mark.timeout(600 + SECONDS)
def test_abused_ingest_serves_the_good_and_does_not_grow() -> None:
    _allow_many_files()
    figures = uvloop.run(_abused())
    print(figures.told())
    assert figures.broken() == []


async def _abused() -> Figures:
    async with Stack(StackOptions(processes=("broker", "ingest"))) as stack:
        figures = Figures(memory=Memory(stack.pids()["ingest"]))
        good, memory = Good(stack), figures.memory
        await good.connect()
        gc.freeze()  # what is loaded is not gone through again: that would be a stall of the sender's
        sending = asyncio.create_task(good.send())
        await asyncio.sleep(WARM_UP_S)  # the load itself
        figures.calm, memory.before_mib = good.turn(), memory.now_mib()
        async with abusers(stack, figures.abuse) as begin:
            async with memory.watched():
                await asyncio.sleep(WARM_UP_S)  # idle connections are ended and come back for a while
            memory.held_mib = memory.peak_mib
            begin()
            async with memory.watched():
                await asyncio.sleep(SECONDS)  # the abuse itself
        figures.abused = good.turn()
        await memory.recovered()
        await good.end(sending)
        figures.after = good.turn()
        await stack.until_ready("ingest")
        figures.died = stack.death
    return figures


class Connection(asyncio.Protocol):
    """One of the good sender's; kept open."""

    def __init__(self, good: Good) -> None:
        self._good = good
        self._due_s: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._good.free.append(self)

    def send(self, due_s: float, request: bytes) -> None:
        self._due_s = due_s
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        due_s, self._due_s = self._due_s, None
        whole = data.startswith(b"HTTP/1.1 204") and data.endswith(b"\r\n\r\n")
        self._good.answered(due_s or 0, "204" if whole else repr(data[:60]))
        self._good.free.append(self)

    def connection_lost(self, error: Exception | None) -> None:
        if self._due_s is not None:
            self._good.answered(self._due_s, f"connection lost: {error!r}")


@dataclass
class Turn:
    """What became of the deliveries of some time."""

    took_ms: list[float] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)

    @property
    def p99_ms(self) -> float:
        return percentile(self.took_ms, 0.99)

    def told(self) -> str:
        answers = ", ".join(f"{count} times {answer}" for answer, count in self.answers.items())
        p50_ms = percentile(self.took_ms, 0.5)
        return f"{answers}; p50 {p50_ms:.1f} ms, p99 {self.p99_ms:.1f} ms, max {max(self.took_ms):.1f} ms"


class Good:
    """Signed deliveries, each due at its time, over connections that are kept."""

    def __init__(self, stack: Stack) -> None:
        self.free: deque[Connection] = deque()
        self._stack = stack
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._turn = Turn()
        self._open = 0
        self._ended = False
        self._requests = [_request(stack.signing_key, number) for number in range(500)]

    async def connect(self) -> None:
        loop, (host, port) = asyncio.get_running_loop(), place_of(self._stack.urls["ingest"])
        for _ in range(CONNECTIONS):
            await loop.create_connection(lambda: Connection(self), host, port)

    async def send(self) -> None:
        start_s, number = time.perf_counter(), 0
        while not self._ended:
            while (due_s := start_s + number / RATE) <= time.perf_counter():
                self._waiting.append((due_s, self._requests[number % len(self._requests)]))
                self._open += 1
                number += 1
            self._serve()
            await asyncio.sleep(0.5 / RATE)  # the pace itself

    def _serve(self) -> None:
        while self.free and self._waiting:
            self.free.popleft().send(*self._waiting.popleft())

    def answered(self, due_s: float, answer: str) -> None:
        self._open -= 1
        self._turn.took_ms.append((time.perf_counter() - due_s) * 1000)
        self._turn.answers[answer] += 1
        self._serve()

    def turn(self) -> Turn:
        """What was answered since the last time this was asked."""
        turn, self._turn = self._turn, Turn()
        return turn

    async def end(self, sending: asyncio.Task[None]) -> None:
        self._ended = True
        await sending

        async def answered() -> bool:
            return not self._open

        await until(answered)


def _request(key: str, number: int) -> bytes:
    body = json.dumps({"data": {"id": number, "name": "x" * 1000}, "meta": {"id": f"good-{number}"}}).encode()
    signature = hmac.new(key.encode(), body, hashlib.sha256).hexdigest()
    head = (
        f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        f"x-pipedrive-signature: {signature}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Memory:
    """Resident, of one process. (Not its proportional share: that changes with who else runs the same Python.)"""

    def __init__(self, pid: int) -> None:
        self.before_mib = self.held_mib = self.peak_mib = self.after_mib = 0.0
        self._status = Path(f"/proc/{pid}/status")

    def now_mib(self) -> float:
        lines = self._status.read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        watching = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            watching.cancel()

    async def _watch(self) -> None:
        while True:
            self.peak_mib = max(self.peak_mib, self.now_mib())
            await asyncio.sleep(0.1)  # a sample now and then

    async def recovered(self) -> None:
        """Until it is back within GROWN, or has had its time."""

        async def back() -> bool:
            return self.now_mib() / self.before_mib - 1 <= GROWN

        with contextlib.suppress(AssertionError):  # the figures will say so
            await until(back, within_s=RECOVERED_S)
        self.after_mib = self.now_mib()

    @property
    def kept_growth(self) -> float:
        return self.after_mib / self.before_mib - 1

    @property
    def growth(self) -> float:
        """At most, with all the abuse at once."""
        return self.peak_mib / self.before_mib - 1

    @property
    def held_kib(self) -> float:
        """Of each idle connection."""
        return (self.held_mib - self.before_mib) * 1024 / IDLE

    def told(self) -> str:
        return (
            f"ingest's memory {self.before_mib:.1f} MiB, {self.held_mib:.1f} with the idle connections "
            f"({self.held_kib:.1f} KiB each), at most {self.peak_mib:.1f} under abuse "
            f"({self.growth:+.1%}), {self.after_mib:.1f} after ({self.kept_growth:+.1%})"
        )


@dataclass
class Figures:
    """What was measured, and what of the claim does not hold. `abuse`: what `support/abusing.py` printed."""

    memory: Memory
    calm: Turn = field(default_factory=Turn)
    abused: Turn = field(default_factory=Turn)
    after: Turn = field(default_factory=Turn)
    abuse: dict[str, Any] = field(default_factory=dict)
    died: str = ""

    def broken(self) -> list[str]:
        kinds: dict[str, dict[str, int]] = self.abuse["answers"]
        got = {int(status) for counts in kinds.values() for status in counts}
        good = set(self.calm.answers) | set(self.abused.answers) | set(self.after.answers)
        claims = {
            f"ingest lives: {self.died}": not self.died,
            f"the good are all answered 204: {good}": good == {"204"},
            f"p99 <= {P99_MS:.0f} ms under abuse": SMOKE or self.abused.p99_ms <= P99_MS,
            f"the abuse took place: {self.abuse}": self.abuse["idle_mean"] >= STOOD * IDLE and all(kinds.values()),
            f"abusers get documented answers: {got}": got <= ALLOWED | {CLOSED},
            f"memory grows by at most {GROWN:.0%}: {self.memory.growth:+.1%}": self.memory.growth <= GROWN,
            f"and comes back: {self.memory.kept_growth:+.1%}": self.memory.kept_growth <= GROWN,
        }
        return [claim for claim, holds in claims.items() if not holds]

    def told(self) -> str:
        turns = (("calm", self.calm), ("abused", self.abused), ("after", self.after))
        kinds = (f"  {kind:<22} {_counted(counts)}" for kind, counts in sorted(self.abuse["answers"].items()))
        return "\n".join([
            f"{machine()}; {RATE} good deliveries/s over {CONNECTIONS} connections, abuse for {SECONDS:.0f} s",
            *(f"  {name:<8} {turn.told()}" for name, turn in turns),
            f"{IDLE} idle connections, {self.abuse['idle_mean']:.0f} held on average, opened {self.abuse['idle_opened']} times; "
            f"abusers sent {self.abuse['sent_mib']} MiB and were answered",
            *kinds,
            self.memory.told(),
        ])  # fmt: skip


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{'closed' if int(status) == CLOSED else status}: {count}" for status, count in counts.items())


@contextlib.asynccontextmanager
async def abusers(stack: Stack, told: dict[str, Any]) -> AsyncIterator[Callable[[], None]]:
    """Inside, the idle connections stand, and once the callable was called all the others are at it; after, `told` is
    what they say of it."""
    host, port = place_of(stack.urls["ingest"])
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "support.abusing", host, str(port), PATH, str(IDLE),
        env={**os.environ, "ABUSE_KEY": stack.signing_key, "PYTHONPATH": str(TESTS)},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdin is not None and process.stdout is not None
        assert await asyncio.wait_for(process.stdout.readline(), 60) == b"standing\n"
        stdin = process.stdin
        yield lambda: stdin.write(b"go\n")
        process.stdin.close()
        told |= json.loads(await asyncio.wait_for(process.stdout.readline(), 30))
        await asyncio.wait_for(process.wait(), 30)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _allow_many_files() -> None:
    """For this process, and for ingest and the abusers, who inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard >= FILES, f"{IDLE} connections need {FILES} file descriptors; the hard limit is {hard}"
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
