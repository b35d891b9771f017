"""Whatever is made of a signed request, ingest answers as documented or closes; what it accepts is in the topic.

Raw sockets, so that nothing repairs what the mutator (`support/mutating.py`) has broken. An attempt waits until the
server has ended the connection: one that it does not end in time is one that it let hang.
"""

from __future__ import annotations

import asyncio
import functools
import os
import random
import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import cast

import pytest
import uvloop

from ml_connector.cli.reading import read_topic
from ml_connector.cli.stack import FLOW, Stack, StackOptions
from ml_connector.common import topics
from support.measuring import machine, memory_mib
from support.mutating import BODY_CAP, Attempt, Mutator
from support.sockets import place_of

REQUESTS = int(os.environ.get("FUZZ_REQUESTS", "100000"))
SEED = int(os.environ.get("FUZZ_SEED", "0")) or random.randrange(1, 2**31)
AT_ONCE = 128
SHORT = {"MLC_HEADER_DEADLINE_S": "0.5", "MLC_BODY_DEADLINE_S": "0.5", "MLC_MAX_BODY_BYTES": str(BODY_CAP)}
ENDED_S = 8.0  # both deadlines, half a second in which a large body is heard out, and a busy machine
ALLOWED = {204, 400, 401, 404, 405, 408, 411, 413, 415, 431, 503}
INTERIM = 100
RECEIVED = {204, 401, 404, 405, 408, 411, 413, 415}  # answers of ours; the others are the server's
LEAST_RECEIVED = 0.3  # of all answers: else it would be the server's parser alone that is fuzzed
MUST_OCCUR = {204, 401, 404, 405, 408, 411, 413, 415, 431, 400}
HEAD = re.compile(rb"HTTP/1\.[01] (\d{3})(?: [^\r\n]*)?\r\n((?:[!-9;-~]+:[^\r\n]*\r\n)*)\r\n")
LENGTH = re.compile(rb"(?im)^content-length: *(\d+)\r$")
IDENTITY = re.compile(rb'"id":"f-(\d+)-(\d+)"')


@pytest.mark.timeout(300 + REQUESTS / 50)
def test_random_requests_get_documented_answers_and_accepted_ones_are_stored() -> None:
    uvloop.run(_claim())


async def _claim() -> None:
    print(f"{REQUESTS} requests, FUZZ_SEED={SEED}")
    said: list[str] = []
    options = StackOptions(processes=("broker", "ingest"), environment={"ingest": SHORT})
    async with Stack(options, on_line=lambda name, line: said.append(line) if name == "ingest" else None) as stack:
        pid, started_s = stack.pids()["ingest"], time.monotonic()
        before_mib = memory_mib(pid)
        fuzz = Fuzz(stack)
        await fuzz.run()
        took_s = time.monotonic() - started_s
        await stack.until_ready("ingest")
        alive, after_mib = stack.pids()["ingest"] == pid and not stack.died.is_set(), memory_mib(pid)
        stored = await asyncio.to_thread(_stored, stack.bootstrap)
    found = fuzz.found
    print(found.told(took_s, before_mib, after_mib, stored))

    assert alive
    assert [line for line in said if "Traceback" in line or "panicked" in line] == []
    assert (found.hung, found.unreadable) == ([], [])
    assert set(found.statuses) <= ALLOWED | {INTERIM}, found.examples
    assert set(found.statuses) >= MUST_OCCUR
    assert found.received >= LEAST_RECEIVED * found.statuses.total()
    assert [number for number, count in found.accepted.items() if stored.by_number[number] < count] == []
    assert stored.bodies <= found.signed


@dataclass
class Stored:
    by_number: Counter[int] = field(default_factory=Counter)
    bodies: set[int] = field(default_factory=set)


def _stored(bootstrap: str) -> Stored:
    """What is in the topic; a body as its hash, which is enough to find a wrong one."""
    stored = Stored()
    for record in read_topic({"bootstrap.servers": bootstrap}, topics.EVENTS.name):
        body = record.value or b""
        stored.bodies.add(hash(body))
        identity = IDENTITY.search(body)
        stored.by_number[int(identity[1]) if identity else -1] += 1
    return stored


@dataclass
class Found:
    """What was answered. The numbers of attempts make each of them again, with the same seed."""

    attempts: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    examples: dict[int, int] = field(default_factory=dict)
    unanswered: int = 0
    hung: list[int] = field(default_factory=list)
    unreadable: list[tuple[int, bytes]] = field(default_factory=list)
    accepted: dict[int, int] = field(default_factory=dict)
    signed: set[int] = field(default_factory=set)

    @property
    def received(self) -> int:
        return sum(self.statuses[status] for status in RECEIVED)

    def add(self, attempt: Attempt, heard: bytes | None) -> None:
        self.attempts += 1
        self.signed.update(hash(body) for body in attempt.bodies)
        if heard is None:
            self.hung.append(attempt.number)
            return
        try:
            statuses = list(_statuses(heard))
        except ValueError:
            self.unreadable.append((attempt.number, heard[:300]))
            return
        self.unanswered += not statuses
        self.statuses.update(statuses)
        self.examples.update({status: attempt.number for status in statuses if status not in ALLOWED})
        if accepted := statuses.count(204):
            self.accepted[attempt.number] = accepted

    def told(self, took_s: float, before_mib: float, after_mib: float, stored: Stored) -> str:
        answers = ", ".join(f"{status}: {count}" for status, count in sorted(self.statuses.items()))
        return (
            f"{machine()}\n{self.attempts} connections in {took_s:.0f} s, seed {SEED}; answers {answers}; "
            f"{self.unanswered} closed without one\n{len(self.hung)} hung, {len(self.unreadable)} unreadable; "
            f"{sum(self.accepted.values())} accepted, {stored.by_number.total()} stored, "
            f"{len(stored.bodies - self.signed)} of them not as signed\n"
            f"ingest's memory {before_mib:.0f} MiB before, {after_mib:.0f} MiB after"
        )


def _statuses(heard: bytes) -> Iterator[int]:
    """Of each answer. Raises ValueError where something else than a whole answer comes."""
    at = 0
    while at < len(heard):
        head = HEAD.match(heard, at)
        if head is None:
            raise ValueError(heard[at:])
        yield int(head[1])
        length = LENGTH.search(head[2])
        at = head.end()
        if length is not None and not heard.startswith(b"HTTP/1.", at) and at < len(heard):  # HEAD has no body
            at += int(length[1])
            if at > len(heard):
                raise ValueError("cut short")


class Exchange(asyncio.Protocol):
    """Sends the parts, one by one, and listens until the server has ended the connection."""

    def __init__(self, attempt: Attempt) -> None:
        self.heard = bytearray()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._parts = iter(attempt.parts)
        self._end = attempt.end

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._send()

    def _send(self) -> None:
        part = next(self._parts, None)
        if self.transport.is_closing():
            return
        if part is not None:
            self.transport.write(part)
            asyncio.get_running_loop().call_later(0.001, self._send)  # so that the parts are read apart
        elif self._end:
            self.transport.write_eof()

    def data_received(self, data: bytes) -> None:
        self.heard += data

    def connection_lost(self, error: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


class Fuzz:
    def __init__(self, stack: Stack) -> None:
        self.found = Found()
        self._place = place_of(stack.urls["ingest"])
        self._mutator = Mutator(SEED, stack.signing_key, f"/webhooks/pipedrive/{FLOW}")

    async def run(self) -> None:
        numbers = iter(range(REQUESTS))
        await asyncio.gather(*(self._work(numbers) for _ in range(AT_ONCE)))

    async def _work(self, numbers: Iterator[int]) -> None:
        for number in numbers:
            attempt = self._mutator.attempt(number)
            self.found.add(attempt, await self._exchange(attempt))

    async def _exchange(self, attempt: Attempt) -> bytes | None:
        """None: it hung."""
        exchange = Exchange(attempt)
        await asyncio.get_running_loop().create_connection(functools.partial(_itself, exchange), *self._place)
        try:
            async with asyncio.timeout(ENDED_S):
                await exchange.ended
        except TimeoutError:
            return None
        finally:
            exchange.transport.abort()
        return bytes(exchange.heard)


def _itself(exchange: Exchange) -> Exchange:
    return exchange
