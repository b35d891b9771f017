"""All that hostile senders do to ingest at once, as a process of its own so that the measured sender is not held up.

`ABUSE_KEY=... python abusing.py HOST PORT PATH IDLE` prints one line when the idle connections stand, sends all the rest
once its stdin has a line, goes on until its stdin ends, and then prints as JSON what was answered to whom. The pauses are the attack itself: without them it would
be a flood, which no server with as many cores as its attacker survives.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import hmac
import json
import os
import random
import sys
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import cast

import uvloop

from support.sockets import statuses

MIB = 1024 * 1024
PIECE = b"x" * 65_536
CHUNK = b"10000\r\n" + PIECE + b"\r\n"
UPLOAD_BYTES = 300 * MIB
OPENING = 64  # connections that are being opened at once
OPENED_PER_S = 4_000  # ingest ends an idle one after 5 s, so 10,000 need 2,000 a second to stand
WITHIN_S = 20.0  # an exchange that takes longer is one that the server let hang
ADDRESSES = 8  # of ours: one alone has 28,000 ports, and a closed connection keeps its own for a minute

Parts = Iterator[bytes] | Iterable[bytes]


@dataclass
class Target:
    host: str
    port: int
    path: str
    key: bytes

    def head(self, *headers: bytes) -> bytes:
        return b"\r\n".join([b"POST %s HTTP/1.1" % self.path.encode(), b"host: x", *headers, b"", b""])

    def sign(self, body: bytes) -> bytes:
        return b"x-pipedrive-signature: " + hmac.new(self.key, body, hashlib.sha256).hexdigest().encode()


@dataclass
class Seen:
    """`answers`: by kind of abuse, how often each status came; 0: closed without one, -1: neither in time."""

    answers: dict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    sent_mib: float = 0
    idle: int = 0
    idle_mean: float = 0
    idle_opened: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def until_standing(self, count: float) -> None:
        """Until so many idle ones are held."""
        while self.idle < count:
            self.changed.clear()
            await self.changed.wait()

    async def average(self) -> None:
        """How many idle ones are held, all the time: ingest ends them, they come back."""
        samples = 0
        while True:
            samples += 1
            self.idle_mean += (self.idle - self.idle_mean) / samples
            await asyncio.sleep(0.05)  # a sample now and then

    def as_json(self) -> str:
        answers = {kind: dict(counts) for kind, counts in self.answers.items()}
        idle = {name: value for name, value in vars(self).items() if name.startswith("idle")}
        return json.dumps({**idle, "answers": answers, "sent_mib": round(self.sent_mib)})


class Idle(asyncio.Protocol):
    """Says nothing, or one thing; when it is shut out it comes back."""

    def __init__(self, seen: Seen, first: bytes, lost: asyncio.Queue[bytes]) -> None:
        self._seen, self._first, self._lost = seen, first, lost

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._seen.idle += 1
        self._seen.idle_opened += 1
        self._seen.changed.set()
        if self._first:
            cast(asyncio.Transport, transport).write(self._first)

    def data_received(self, data: bytes) -> None:
        self._seen.answers["idle"].update(statuses(data))

    def connection_lost(self, error: Exception | None) -> None:
        self._seen.idle -= 1
        self._lost.put_nowait(self._first)


class Abuse:
    def __init__(self, target: Target, seen: Seen) -> None:
        self._target = target
        self._seen = seen
        self._opened = 0

    def _ours(self) -> tuple[str, int]:
        self._opened += 1
        return f"127.0.0.{2 + self._opened % ADDRESSES}", 0

    async def keep_idle(self, lost: asyncio.Queue[bytes]) -> None:
        """One of those who open, and open again; together no faster than OPENED_PER_S, so that not all end at once."""
        loop = asyncio.get_running_loop()
        while True:
            next_s = loop.time() + OPENING / OPENED_PER_S
            first = await lost.get()
            idle = functools.partial(Idle, self._seen, first, lost)
            try:
                await loop.create_connection(idle, self._target.host, self._target.port, local_addr=self._ours())
            except OSError:
                self._seen.answers["idle"][0] += 1
                lost.put_nowait(first)
            await asyncio.sleep(max(0, next_s - loop.time()))

    async def again(self, kind: str, parts: Callable[[], Parts], *, every_s: float, drip_s: float = 0) -> None:
        """One attacker of this kind; it starts at a moment of its own."""
        await asyncio.sleep(random.uniform(0, every_s))
        while True:
            self._seen.answers[kind].update([await self._once(parts(), drip_s)])
            await asyncio.sleep(every_s)

    async def _once(self, parts: Parts, drip_s: float) -> int:
        try:
            async with asyncio.timeout(WITHIN_S), self._connected() as (reader, writer):
                sending = asyncio.create_task(self._send(writer, parts, drip_s))
                try:
                    return await _first_status(reader)
                finally:
                    sending.cancel()
                    await asyncio.gather(sending, return_exceptions=True)
        except TimeoutError:
            return -1
        except OSError:
            return 0

    async def _send(self, writer: asyncio.StreamWriter, parts: Parts, drip_s: float) -> None:
        for part in parts:
            writer.write(part)
            self._seen.sent_mib += len(part) / MIB
            await writer.drain()
            if drip_s:
                await asyncio.sleep(drip_s)

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection(self._target.host, self._target.port, local_addr=self._ours())
        try:
            yield reader, writer
        finally:
            writer.transport.abort()


async def _first_status(reader: asyncio.StreamReader) -> int:
    heard = b""
    while b"\r\n\r\n" not in heard and (more := await reader.read(65_536)):
        heard += more
    return next(iter(statuses(heard)), 0)


def attackers(abuse: Abuse, target: Target) -> list[asyncio.Task[None]]:
    """Who comes how often; all at the same time."""
    wrong = b"x-pipedrive-signature: " + b"0" * 64
    bomb = b"[" * 900_000
    declared = target.head(wrong, b"content-length: %d" % UPLOAD_BYTES)
    chunked = target.head(wrong, b"transfer-encoding: chunked")
    slow_body = target.head(wrong, b"content-length: 1000")
    many = target.head(*(b"x-%d: a" % number for number in range(1000)))
    plans: list[tuple[str, int, Callable[[], Parts], float, float]] = [
        # kind, how many at once, what each sends, seconds between two times, seconds between two parts
        ("300 MiB declared", 5, lambda: _repeated(declared, PIECE), 2, 0),
        ("300 MiB in chunks", 5, lambda: _repeated(chunked, CHUNK), 2, 0),
        ("slow headers", 200, lambda: _bytewise(b"", target.head(wrong, b"x: " + b"y" * 1000)), 0.1, 0.5),
        ("slow body", 200, lambda: _bytewise(slow_body, b"y" * 1000), 0.1, 0.5),
        ("header of 1 MiB", 5, lambda: [target.head(b"x: " + b"y" * MIB)], 0.5, 0),
        ("1000 headers", 5, lambda: [many], 0.5, 0),
        ("junk", 10, lambda: [random.randbytes(2000) + b"\r\n\r\n"], 0.5, 0),
        ("wrong signature", 20, lambda: [target.head(wrong, b"content-length: 2"), b"{}"], 0.2, 0),
        ("JSON bomb, well signed", 2, lambda: [target.head(target.sign(bomb), b"content-length: 900000"), bomb], 2, 0),
    ]
    return [
        asyncio.create_task(abuse.again(kind, parts, every_s=every_s, drip_s=drip_s))
        for kind, count, parts, every_s, drip_s in plans
        for _ in range(count)
    ]


def _repeated(head: bytes, piece: bytes) -> Iterator[bytes]:
    yield head
    for _ in range(UPLOAD_BYTES // len(PIECE)):
        yield piece


def _bytewise(head: bytes, rest: bytes) -> Iterator[bytes]:
    yield head
    for byte in rest:
        yield bytes([byte])


async def main(host: str, port: str, path: str, idle: str) -> None:
    target, seen = Target(host, int(port), path, os.environ["ABUSE_KEY"].encode()), Seen()
    abuse = Abuse(target, seen)
    lost: asyncio.Queue[bytes] = asyncio.Queue()
    once = target.head(b"x-pipedrive-signature: 0", b"content-length: 2") + b"{}"
    for number in range(int(idle)):
        lost.put_nowait(once if number % 2 else b"")
    tasks = [asyncio.create_task(abuse.keep_idle(lost)) for _ in range(OPENING)]
    await seen.until_standing(int(idle) * 0.99)
    print("standing", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    tasks += [asyncio.create_task(seen.average()), *attackers(abuse, target)]
    await asyncio.to_thread(sys.stdin.read)
    print(seen.as_json(), flush=True)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
