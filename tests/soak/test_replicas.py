"""Two ingests, three resolvers and three writers serve four companies while replicas come, go, die, and the broker restarts.

NetSuite's log is the judge of what was written, Pipedrive's of what was answered. The pauses are printed.
"""

from __future__ import annotations

import asyncio
import os
import platform
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

from ml_connector.cli.stack import FLOWING, Stack, StackOptions
from ml_connector.sandbox import broker as brokers
from support.balancing import Balancer
from support.companies import Companies, now_ms, pause_s
from support.judging import Violation
from support.writing import until

RATE: Final = float(os.environ.get("REPLICA_RATE", "5"))  # edits a second of each company
WATCHED_S: Final = float(os.environ.get("REPLICA_WATCHED_S", "8"))  # after each act
SHORT: Final = (
    os.environ.get("REPLICA_SHORT") == "1"
)  # one replica of each restarts, instead of all; pauses are only told
SESSION_S: Final = {"ingest": 0, "resolver": 20, "netsuite-writer": 6}  # after it a dead replica's partitions move
SCALE: Final = {"ingest": 2, "resolver": 3, "netsuite-writer": 3}
ENVIRONMENT: Final = {
    "netsuite-writer": {
        "MLC_SESSION_TIMEOUT_S": str(SESSION_S["netsuite-writer"]),
        "MLC_QUIET_S": "10",
        "MLC_HOLD_S": "1",
    },
}
BROKER_S: Final = 60.0  # everything waits for it, then for its groups
GRACEFUL_S: Final = 5.0  # the longest pause that issue 10 allows; after a kill, beside the session's time-out


@dataclass(frozen=True, slots=True)
class Act:
    """What was done, and the longest pause of each account from then on."""

    what: str
    began_ms: float
    ended_ms: float
    pauses_s: tuple[float, ...]
    allowed_s: float

    def explains(self, attempt: Mapping[str, Any]) -> bool:
        """Whether this is why a webhook was not answered 204 at once."""
        if not self.began_ms <= attempt["answered_at_ms"] <= self.ended_ms:
            return False
        cut, unavailable = attempt["status"] == 0, attempt["status"] == 503
        return (cut and self.what.startswith("kill -9 ingest")) or (unavailable and "broker" in self.what)

    def __str__(self) -> str:
        return f"{self.what:28} longest pause of an account {max(self.pauses_s):4.1f} s"


class Cluster:
    """The replicas, and what stands before them."""

    def __init__(self, stack: Stack, balancer: Balancer, companies: Companies, broker: brokers.Broker) -> None:
        self.stack = stack
        self.companies = companies
        self.acts: list[Act] = []
        self._balancer = balancer
        self._broker = broker

    async def act(self, what: str, doing: Awaitable[None], *, allowed_s: float = GRACEFUL_S) -> None:
        """Do it, watch what follows, note the pauses."""
        began_ms = now_ms()
        await doing
        await asyncio.sleep(WATCHED_S if SHORT else max(WATCHED_S, allowed_s))  # of the companies' work
        ended_ms = now_ms()
        log = await self.companies.log()
        pauses = tuple(pause_s(log, company.account, began_ms, ended_ms) for company in self.companies.all)
        self.acts.append(Act(what, began_ms, ended_ms, pauses, allowed_s))
        print(self.acts[-1], flush=True)

    async def stop(self, name: str) -> None:
        """As Kubernetes does: no new connections, SIGTERM; it must end well by itself."""
        self._balancer.take_out(name)
        code = await self.stack.stop_one(name)
        assert code == 0, f"{name} ended with {code}: {self.stack.last_lines(name)}"

    async def start(self, name: str) -> None:
        await self.stack.start_one(name)
        self._balancer.put_back(name)

    async def restart(self, name: str) -> None:
        await self.stop(name)
        await self.start(name)

    async def kill(self, name: str) -> None:
        await self.stack.kill(name)

    async def restart_broker(self) -> None:
        """In a quiet hour: of ten failed first attempts Pipedrive bans the endpoint, and a sync must fetch what it drops."""
        self.pace(RATE / 20)
        await asyncio.to_thread(self._broker.kill)
        await asyncio.to_thread(self._broker.restart)
        await asyncio.gather(*(self.stack.until_ready(name) for name in replicas("ingest")))
        self.pace(RATE)

    def pace(self, rate: float) -> None:
        for company in self.companies.all:
            company.rate = rate


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Cluster]:
    broker = await asyncio.to_thread(brokers.start, folder)
    environment = {**ENVIRONMENT, "broker": {"KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers}}
    options = StackOptions(processes=FLOWING, scale=SCALE, netsuite_latency_ms=50, environment=environment)
    try:
        async with Stack(options) as stack, httpx2.AsyncClient(timeout=30) as http:
            ingests = {name: url for name, url in stack.urls.items() if name.startswith("ingest")}
            async with Balancer(ingests) as balancer:
                companies = Companies(stack, http)
                await companies.open(balancer.url)
                yield Cluster(stack, balancer, companies, broker)
    finally:
        await asyncio.to_thread(broker.stop)


def replicas(kind: str) -> list[str]:
    return [kind, *(f"{kind}#{number}" for number in range(2, SCALE[kind] + 1))]


@pytest.mark.timeout(1800)
async def test_replicas_come_go_and_die(tmp_path: Path) -> None:
    chance = random.Random(3)
    async with running(tmp_path) as cluster:
        companies = cluster.companies
        for kind in ("resolver", "netsuite-writer"):
            for name in replicas(kind)[1:]:
                await cluster.stop(name)
        cluster.pace(RATE)
        work = [asyncio.create_task(company.work(chance)) for company in companies.all]

        async def all_edited() -> bool:
            return all(company.edits > 0 for company in companies.all)

        await until(all_edited)
        for kind in ("netsuite-writer", "resolver"):
            for name in replicas(kind)[1:]:
                await cluster.act(f"start {name}", cluster.start(name))
        for kind in SCALE:
            for name in replicas(kind)[: 1 if SHORT else None]:
                await cluster.act(f"rolling restart {name}", cluster.restart(name))
        for kind in SCALE:
            name = chance.choice(replicas(kind))
            await cluster.act(f"kill -9 {name}", cluster.kill(name), allowed_s=SESSION_S[kind] + GRACEFUL_S)
            await cluster.act(f"start {name}", cluster.start(name))
        await cluster.act("kill -9 and restart broker", cluster.restart_broker(), allowed_s=BROKER_S)
        for kind in ("netsuite-writer", "resolver"):
            for name in replicas(kind)[1:]:
                await cluster.act(f"stop {name}", cluster.stop(name))
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)

        accounts = await companies.settle(within_s=300)
        violations = await companies.judged()
        deliveries = await companies.deliveries()
        report(cluster, deliveries, violations)

        assert violations == []
        assert all(account.balanced for account in accounts.values())
        assert await companies.lost() == []
        assert [one for one in refused(deliveries) if not any(act.explains(one) for act in cluster.acts)] == []
        assert SHORT or [str(act) for act in cluster.acts if max(act.pauses_s) > act.allowed_s] == []


def refused(deliveries: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [one for one in deliveries if one["status"] != 204]


def report(cluster: Cluster, deliveries: Sequence[Mapping[str, Any]], violations: Sequence[Violation]) -> None:
    edits = sum(company.edits for company in cluster.companies.all)
    first = sum(one["attempt"] == 1 for one in deliveries)
    statuses = dict(Counter(one["status"] for one in refused(deliveries)))
    print(
        f"{platform.machine()}, {os.cpu_count()} cores; {SCALE}, {len(cluster.companies.all)} companies, {RATE} edits/s each"
    )
    print(f"{edits} edits, {first} webhooks, {len(deliveries)} attempts; not answered 204 at once: {statuses}")
    for kind in ("start", "rolling restart", "stop", "kill -9"):
        same = [max(act.pauses_s) for act in cluster.acts if act.what.startswith(kind)]
        print(f"{kind:16} {len(same):2} times, longest pause {max(same):.1f} s")
    print(f"{len(violations)} violations: {violations[:10]}")
