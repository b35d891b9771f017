"""What one CPU second of ingest takes in, beside a bare ASGI handler on the same server (`bare_asgi.py`).

Both get the same signed requests over 64 kept connections, in turns, round after round, and both wait for the same
broker; a turn's figures are the process's own CPU seconds and the time that each request took for the sender. Broker,
senders and server share this machine's cores, so the seconds are those of this machine; the ratios are what counts.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import hashlib
import hmac
import json
import os
import statistics
import sys
import time
import uuid
from dataclasses import dataclass, field
from typing import cast

import uvloop

from ml_connector.cli.stack import COMPANY_ID, FLOW, Stack, StackOptions
from ml_connector.common import topics
from ml_connector.common.ports import free_port
from support.measuring import machine, own_cpu_s, percentile
from support.sockets import place_of

CONNECTIONS = 64
BODIES = 200


@dataclass
class Side:
    """One of the two that are compared."""

    name: str
    pid: int
    url: str
    per_cpu_s: list[float] = field(default_factory=list)
    took_ms: list[float] = field(default_factory=list)


class Sender(asyncio.Protocol):
    """One connection: the next request as soon as the answer is there."""

    def __init__(self, requests: list[bytes], until_s: float, took_ms: list[float]) -> None:
        self._requests = requests
        self._until_s = until_s
        self._took_ms = took_ms
        self._next = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def _send(self) -> None:
        self._sent_s = time.perf_counter()
        self._transport.write(self._requests[self._next % len(self._requests)])
        self._next += 1

    def data_received(self, data: bytes) -> None:
        if not data.startswith(b"HTTP/1.1 204") or not data.endswith(b"\r\n\r\n"):
            self.done.set_exception(SystemExit(f"not a whole 204, the figures would mean nothing: {data[:100]!r}"))
            self._transport.close()
            return
        now_s = time.perf_counter()
        self._took_ms.append((now_s - self._sent_s) * 1000)
        if now_s < self._until_s:
            self._send()
        else:
            self.done.set_result(None)
            self._transport.close()


async def turn(side: Side, requests: list[bytes], *, seconds: float, counts: bool) -> None:
    """Load one side; its figures are kept if this turn counts."""
    took_ms: list[float] = []
    before_s = own_cpu_s(side.pid)
    until_s = time.perf_counter() + seconds
    loop, (host, port) = asyncio.get_running_loop(), place_of(side.url)
    senders = [Sender(requests[n:] + requests[:n], until_s, took_ms) for n in range(CONNECTIONS)]
    for sender in senders:
        await loop.create_connection(functools.partial(_itself, sender), host, port)
    await asyncio.gather(*(sender.done for sender in senders))
    if counts:
        side.per_cpu_s.append(len(took_ms) / (own_cpu_s(side.pid) - before_s))
        side.took_ms += took_ms


def _itself(sender: Sender) -> Sender:
    return sender


def signed(key: str, number: int) -> bytes:
    """A request with an organization of usual size."""
    data = {"id": number, "name": f"Company {number}", "custom_fields": {uuid.uuid4().hex: None for _ in range(12)}}
    meta = {
        "action": "change", "company_id": COMPANY_ID, "entity": "organization", "entity_id": str(number),
        "id": str(uuid.uuid4()), "timestamp": "2026-11-20T10:00:00.123Z", "version": "2.0", "webhook_id": "1",
        "permitted_user_ids": [str(10_000_000 + n) for n in range(30)],
    }  # fmt: skip
    body = json.dumps({"data": data, "previous": {}, "meta": meta}, separators=(",", ":")).encode()
    head = (
        f"POST /webhooks/pipedrive/{FLOW} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        f"user-agent: Pipedrive Webhooks\r\nx-pipedrive-signature: {sign(key, body)}\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def sign(key: str, body: bytes) -> str:
    return hmac.new(key.encode(), body, hashlib.sha256).hexdigest()


async def start_bare(stack: Stack) -> tuple[asyncio.subprocess.Process, Side]:
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "benchmarks/bare_asgi.py", stack.bootstrap, topics.DEFERRED.name, str(port),
        env={**os.environ, "BARE_KEY": stack.signing_key},
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    for _ in range(200):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return process, Side("bare ASGI handler", process.pid, url)
    raise SystemExit("the bare handler did not start")


async def main(arguments: argparse.Namespace) -> None:
    print(machine())
    async with Stack(StackOptions(processes=("broker", "ingest"))) as stack:
        bare_process, bare = await start_bare(stack)
        ingest = Side("ingest", stack.pids()["ingest"], stack.urls["ingest"])
        requests = [signed(stack.signing_key, number) for number in range(1, BODIES)]
        try:
            for number in range(arguments.rounds + 1):
                for side in (bare, ingest) if number % 2 else (ingest, bare):
                    await turn(side, requests, seconds=arguments.seconds, counts=number > 0)
        finally:
            bare_process.terminate()
            await bare_process.wait()
    size = len(requests[0].partition(b"\r\n\r\n")[2])
    print(
        f"{CONNECTIONS} connections, bodies of {size} bytes, {arguments.rounds} turns each of {arguments.seconds:g} s"
    )
    for side in (bare, ingest):
        print(
            f"  {side.name:<18} {statistics.median(side.per_cpu_s):6.0f} requests per CPU second "
            f"({min(side.per_cpu_s):.0f} to {max(side.per_cpu_s):.0f}); "
            f"p50 {statistics.median(side.took_ms):.1f} ms, p99 {percentile(side.took_ms, 0.99):.1f} ms"
        )
    ratio = statistics.median(ingest.per_cpu_s) / statistics.median(bare.per_cpu_s)
    slower = percentile(ingest.took_ms, 0.99) / percentile(bare.took_ms, 0.99)
    print(f"  per CPU second {ratio:.2f}x of the bare handler (aim >= 0.85), p99 {slower:.2f}x of its (aim <= 1.3)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6, help="turns of each side that count")
    parser.add_argument("--seconds", type=float, default=4, help="of one turn")
    uvloop.run(main(parser.parse_args()))
