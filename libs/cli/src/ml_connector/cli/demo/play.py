"""`mlc demo`: play the company, wait until everything is settled, compare, explain."""

from __future__ import annotations

import asyncio
import gzip
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

import httpx2
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ml_connector.cli.accounting import Account, recompute
from ml_connector.cli.demo.compare import mismatches
from ml_connector.cli.demo.story import Latency, latency_of, print_summary
from ml_connector.cli.demo.vendors import NetsuiteEyes, PipedriveHands
from ml_connector.cli.running import forget, tell
from ml_connector.cli.stack import ACCOUNT, ALL, FLOWING, Stack, StackFailed, StackOptions
from ml_connector.common.signals import set_by_signal

CHANGES_PER_S = 120  # a busy sales team; the backlog stays short, so the latency shown is the product's
AT_ONCE = 32
SETTLE_DEADLINE_S = 120.0

Operation = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Result:
    """What the demo ends with."""

    account: Account
    differences: list[str]
    latency: Latency
    took_s: float
    broker: str

    @property
    def good(self) -> bool:
        return self.account.balanced and not self.account.waiting and not self.differences

    def as_dict(self) -> dict[str, Any]:
        account = self.account.as_dict()
        sums = ("accepted", "written", "superseded", "ignored", "dead_lettered", "waiting", "duplicates")
        return {
            **{name: account[name] for name in sums},
            "mismatches": len(self.differences),
            "latency_ms": {"p50": self.latency.p50_ms, "p99": self.latency.p99_ms},
            "took_s": round(self.took_s, 1),
            "broker": self.broker,
        }


async def run_demo(*, as_json: bool, share: float, stay: bool) -> int:
    """The exit code: 0 when the sum is right, nothing waits and every record is as it should be.

    `stay`: with the admin service, and everything goes on until Ctrl-C.
    """
    console = Console(stderr=True, highlight=False)
    operations = [operation for operation in load("scenario.jsonl.gz") if operation["at"] <= share]
    started_s = time.monotonic()
    console.print("starting broker, stand-ins and services ...")
    options = StackOptions(processes=ALL if stay else FLOWING)
    async with Stack(options) as stack, httpx2.AsyncClient(timeout=30) as client:
        console.print(f"ready after {time.monotonic() - started_s:.1f} s on {stack.facts.broker}")
        hands = PipedriveHands(client, stack.urls["pipedrive"], stack.api_token)
        await _play(stack, hands, operations, console)
        eyes = NetsuiteEyes(client, stack.urls["netsuite"], stack.private_key_pem)
        await eyes.log_in()
        expected = load("expected.json.gz")[0]
        differences = await mismatches(expected, hands, eyes, share)
        kafka = {"bootstrap.servers": stack.bootstrap}
        account = (await asyncio.to_thread(recompute, kafka))[ACCOUNT]
        latency = await asyncio.to_thread(latency_of, kafka)
        result = Result(account, differences, latency, time.monotonic() - started_s, stack.facts.broker)
        if as_json:
            sys.stdout.write(json.dumps(result.as_dict()) + "\n")
        else:
            await asyncio.to_thread(print_summary, kafka, result.account, result.latency, result.differences)
            Console(highlight=False).print(f"took {result.took_s:.0f} s, start included")
        if stay:
            await _stay(stack, console)
    return 0 if result.good else 1


async def _stay(stack: Stack, console: Console) -> None:
    stop = set_by_signal(asyncio.Event())
    tell(stack.commands_environment())
    try:
        console.print("everything goes on until Ctrl-C: try `mlc dlq list` in another terminal of this folder")
        waits = [asyncio.create_task(event.wait()) for event in (stop, stack.died)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        forget()
    if stack.died.is_set():
        raise StackFailed(stack.death)


def load(name: str) -> list[Any]:
    """A checked-in file of the demo, one JSON value a line."""
    packed = resources.files("ml_connector.cli.demo").joinpath(name).read_bytes()
    return [json.loads(line) for line in gzip.decompress(packed).decode().splitlines()]


async def _play(stack: Stack, hands: PipedriveHands, operations: list[Operation], console: Console) -> None:
    await hands.learn()
    for operation in operations:
        if operation["op"] == "create":
            hands.expect(operation["ref"])
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("changes in Pipedrive", total=len(operations))
        await _play_all(stack, hands, operations, lambda: progress.advance(bar))


async def _play_all(stack: Stack, hands: PipedriveHands, operations: list[Operation], advance: Any) -> None:
    under_way: set[asyncio.Task[None]] = set()
    next_s = time.monotonic()
    for operation in operations:
        if operation["op"] in {"barrier", "settle"}:
            await asyncio.gather(*under_way)
            under_way.clear()
            if operation["op"] == "settle":
                await _settle(stack)
        else:
            next_s = max(next_s + 1 / CHANGES_PER_S, time.monotonic() - 0.1)
            await asyncio.sleep(max(0.0, next_s - time.monotonic()))
            while len(under_way) >= AT_ONCE:
                done, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            under_way.add(asyncio.create_task(hands.do(operation)))
        advance()


async def _settle(stack: Stack) -> None:
    """Until no delivery is under way and nothing waits."""
    async with httpx2.AsyncClient(timeout=SETTLE_DEADLINE_S) as client:
        quiet = await client.get(f"{stack.urls['pipedrive']}/_sandbox/quiet", params={"timeout_s": SETTLE_DEADLINE_S})
    if quiet.json()["pending"]:
        raise StackFailed("webhooks are still being delivered")
    deadline_s = time.monotonic() + SETTLE_DEADLINE_S
    while True:
        accounts = await asyncio.to_thread(recompute, {"bootstrap.servers": stack.bootstrap})
        if settled(accounts):
            return
        if stack.died.is_set():
            raise StackFailed(stack.death)
        if time.monotonic() > deadline_s:
            return  # the summary shows what waits
        await asyncio.sleep(0.3)


def settled(accounts: Mapping[str, Account]) -> bool:
    return bool(accounts) and all(account.balanced and not account.waiting for account in accounts.values())
