"""Isolation: what healthy accounts lose when others, in the same process, are down or answer after half a minute.

Each account has as many slots and a queue that never ends; latency is chosen so that the process has time left, since
a process that is out of time would only do more for the healthy when others are down.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import httpx2
from cryptography.hazmat.primitives import serialization

from ml_connector.common import topics
from ml_connector.common.codec import Wire
from ml_connector.common.flows import ActiveFlow, FlowVersion
from ml_connector.common.kafka.partition import partition_for
from support.desired import key_of
from support.writing import PARTITIONS
from writer_parts.rig import WRITER, Options, Rig, organization

SLOTS: Final = 1
RATE_PER_S: Final = 120  # of all accounts together
SLOW_MS: Final = 30_000
AIM: Final = 0.95
DOWN: Final = ("maintenance", "reset")  # in turns


@dataclass(frozen=True)
class Window:
    """When it was measured, and the writer's share of a core meanwhile."""

    start_ms: float
    end_ms: float
    cpu: float


async def measure(options: Options) -> None:
    count, rate, window_s = (40, 40, 4.0) if options.quick else (options.accounts, RATE_PER_S, 30.0)
    names = [f"B{number:04}_SB1" for number in range(1, count + 1)]
    latency_ms = 1000 * count * SLOTS / rate
    sigma = 0.3  # so that they do not all answer at once
    async with Rig() as rig:
        await refuse_without_latency_by_account(rig)
        await rig.stack.stop_one(WRITER)
        await seed(rig, names)
        await rig.delays({"write": {"median_ms": latency_ms, "sigma": sigma}})
        await rig.stack.start_one(WRITER)
        await queue(
            rig, names, each=int(3 * (2 * latency_ms / 1000 + window_s) * SLOTS / (latency_ms / 1000) * 1.3) + 3
        )
        before = await window(rig, settle_s=2 * latency_ms / 1000, seconds=window_s)
        down, slow, healthy = names[: count // 10], names[count // 10 : count // 5], names[count // 5 :]
        await break_some(rig, down, slow)
        broken = await window(rig, settle_s=2 * latency_ms / 1000, seconds=window_s)
        await repair(rig, slow)
        after = await window(rig, settle_s=2 * latency_ms / 1000, seconds=window_s)
        log = await rig.log()
    print(f"isolation: {count} accounts in one process, {SLOTS} slot each, {latency_ms:.0f} ms; records/s")
    print(f"                                                 {len(healthy):4} healthy   the others   CPU of the writer")
    for text, found in (
        ("all healthy", before),
        (f"{len(down)} down, {len(slow)} answer in {SLOW_MS // 1000} s", broken),
        ("all healthy again", after),
    ):
        mine, others = per_s(log, healthy, found), per_s(log, [*down, *slow], found)
        print(f"  {text:<44} {mine:11.1f}/s {others:10.1f}/s {found.cpu:11.0%} of a core")
    usual = (per_s(log, healthy, before) + per_s(log, healthy, after)) / 2
    print(f"  the healthy keep {per_s(log, healthy, broken) / usual:.1%}   (aim >= {AIM:.0%})", flush=True)


async def refuse_without_latency_by_account(rig: Rig) -> None:
    """It would slow down everybody."""
    try:
        await rig.delays({}, account="NOBODY")
    except httpx2.HTTPStatusError:
        return
    raise SystemExit("this stand-in knows no latency by account, the figures would mean nothing")


async def seed(rig: Rig, names: Sequence[str]) -> None:
    """A flow, a secret and an account at NetSuite for each."""
    document = rig.stack.flow_document()
    for name in names:
        flow = flow_of(name)
        own = {
            **document,
            "flow": flow,
            "pipedrive": {**document["pipedrive"], "company": flow},
            "netsuite": {**document["netsuite"], "account": name, "concurrency": SLOTS},
        }
        version = FlowVersion(flow=flow, version=1, document=own, applied_at_ms=0, applied_by="benchmark")
        _produce(rig, topics.FLOWS, f"{flow}/v1", version)
        _produce(rig, topics.FLOWS, flow, ActiveFlow(flow=flow, version=1))
        credential = {"private_key_pem": rig.stack.private_key_pem, "algorithm": "ES256", **identity(name)}
        entry = rig.vault.encrypt(f"netsuite/{name}", "oauth2-m2m", "sandbox", version=1, value=credential)
        _produce(rig, topics.SECRETS, entry.key, entry)
    if await asyncio.to_thread(rig._producer.flush, 60):
        raise SystemExit("the broker did not take all flows")
    public_key_pem = public_of(rig.stack.private_key_pem)
    for name in names:
        facts = {"public_key_pem": public_key_pem, "concurrency_limit": SLOTS, **identity(name)}
        await rig._post("accounts", {"account": name, **facts})


def _produce(rig: Rig, topic: topics.Topic, key: str, value: Wire) -> None:
    rig._producer.produce(topic.name, key=key, value=value.encode())


def flow_of(account: str) -> str:
    return account.partition("_")[0].lower()


def identity(account: str) -> dict[str, str]:
    return {"client_id": f"client-{account}", "certificate_id": f"certificate-{account}"}


def public_of(private_key_pem: str) -> str:
    key = serialization.load_pem_private_key(private_key_pem.encode(), password=None)
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


async def queue(rig: Rig, names: Sequence[str], *, each: int) -> None:
    """More work than all windows can do, the accounts in turns."""
    for number in rig.new_ids(each):
        for name in names:
            flow = flow_of(name)
            state = organization(number, account=name, flow=flow, company=flow)
            partition = partition_for(name.encode(), PARTITIONS)
            rig._producer.produce(topics.DESIRED.name, key=key_of(state), value=state.encode(), partition=partition)
        rig._producer.poll(0)
    if await asyncio.to_thread(rig._producer.flush, 60):
        raise SystemExit("the broker did not take all states")


async def break_some(rig: Rig, down: Sequence[str], slow: Sequence[str]) -> None:
    for number, name in enumerate(down):
        await rig.fault(DOWN[number % len(DOWN)], account=name, count=None)
    for name in slow:
        await rig.delays({"other": {"fixed_ms": SLOW_MS}}, account=name)


async def repair(rig: Rig, slow: Sequence[str]) -> None:
    (await rig._http.delete(f"{rig.stack.urls['netsuite']}/_sandbox/faults")).raise_for_status()
    for name in slow:
        await rig.delays({}, account=name)


async def window(rig: Rig, *, settle_s: float, seconds: float) -> Window:
    await asyncio.sleep(settle_s)
    before_s, start_ms = rig.cpu_s(), time.time() * 1000
    await asyncio.sleep(seconds)
    return Window(start_ms, time.time() * 1000, (rig.cpu_s() - before_s) / seconds)


def per_s(log: Sequence[dict[str, Any]], names: Sequence[str], during: Window) -> float:
    """Commits of these accounts."""
    wanted = set(names)
    found = [
        line["seq"]
        for line in log
        if line["commit_seq"] is not None
        and line["account"] in wanted
        and during.start_ms <= line["commit_ms"] < during.end_ms
    ]
    return len(found) / ((during.end_ms - during.start_ms) / 1000)
