"""A process that owns the partition: the real Partition, Account, Settler and Store, wired as `app.py` does.

All that it knows is in its memory; a new owner has what the topics kept.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import cast

import httpx2
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ml_connector.common.credentials import NetsuiteM2M
from ml_connector.common.directory import LiveFlow
from ml_connector.common.flows import Flow
from ml_connector.common.kafka.record import Record
from ml_connector.common.kafka.transaction import TransactionalProducer
from ml_connector.netsuite_writer.account import Account
from ml_connector.netsuite_writer.gate import Gate
from ml_connector.netsuite_writer.govern import Governor
from ml_connector.netsuite_writer.job import Tools
from ml_connector.netsuite_writer.netsuite.client import NetsuiteClient
from ml_connector.netsuite_writer.netsuite.tokens import Tokens
from ml_connector.netsuite_writer.partition import Partition
from ml_connector.netsuite_writer.settings import WriterSettings
from ml_connector.netsuite_writer.settlement import Settler
from ml_connector.netsuite_writer.store import Store
from support.over_transport import OverTransport
from support.simulated.broker import DESIRED, OBSERVED, Broker, SimulatedMessages, SimulatedProducer
from support.simulated.vendor import BASE_URL, SimulatedVendor
from support.simulated.virtual_time import LoopClock, Process, VirtualLoop

KEY = ec.generate_private_key(ec.SECP256R1())
_PEM = serialization.Encoding.PEM
PRIVATE_PEM = KEY.private_bytes(
    _PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()  # fmt: skip
PUBLIC_PEM = KEY.public_key().public_bytes(_PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
TICK_S = 1.0
READ_AT_ONCE = 20


@dataclass(slots=True)
class OneFlow:
    """The flow as it is now."""

    live: LiveFlow

    def flow(self, name: str) -> LiveFlow | None:
        return self.live if name == self.live.flow.flow else None


@dataclass(frozen=True, slots=True)
class World:
    """What outlives an owner."""

    loop: VirtualLoop
    clock: LoopClock
    broker: Broker
    vendor: SimulatedVendor
    flows: OneFlow
    settings: WriterSettings
    slots: int
    chance: random.Random


class Owner:
    """Owns the partition from `start` until it is killed, closed, or somebody else has started."""

    def __init__(self, world: World, number: int) -> None:
        self.process = Process(world.loop)
        self.problems: list[str] = []
        self._world = world
        self._number = number
        chance = random.Random(world.chance.random())
        self._chance = chance
        self.gate = Gate(
            Governor(world.slots, chance=chance), settings=world.settings, clock=world.clock, chance=chance
        )
        transport = world.vendor.transport(self.process)
        http = httpx2.AsyncClient(transport=transport, trust_env=False)
        credential = NetsuiteM2M("client", "certificate", PRIVATE_PEM, "ES256")
        tokens = Tokens(http, BASE_URL, credential=lambda: credential, clock=world.clock)
        self._client = NetsuiteClient(OverTransport(http._transport), BASE_URL, tokens, self.gate)
        self.store = Store.in_memory()
        self.partition: Partition | None = None
        self._assignment = self.process

    async def start(self, *, compacted: bool) -> None:
        """Fence whoever was there, fold both topics, go. `compacted`: the broker has cleaned them up."""
        await self.process.start(self._start(compacted=compacted))

    async def _start(self, *, compacted: bool) -> None:
        world = self._world
        producer = cast(TransactionalProducer, SimulatedProducer(world.broker, self.process))
        store = self.store
        settler = Settler(
            0,
            producer=producer,
            store=store,
            prefix="",
            session_timeout_s=world.settings.session_timeout_s,
            clock=world.clock,
        )
        tools = Tools(
            settings=world.settings,
            clock=world.clock,
            flows=world.flows,
            store=store,
            settler=settler,
            messages=SimulatedMessages(world.broker, self.process),
            owner=f"owner-{self._number}",
            chance=self._chance,
        )
        self.partition = Partition(
            0,
            desired_topic=DESIRED,
            observed_topic=OBSERVED,
            tools=tools,
            producer=producer,
            make_account=self._make_account,
        )
        loop = asyncio.get_running_loop()
        self._loops = [
            loop.create_task(work)
            for work in (
                self._read(DESIRED, self.partition.fold_desired, compacted=compacted),
                self._read(OBSERVED, self.partition.fold_observed, compacted=compacted),
                self._tick(self.partition),
            )
        ]

    async def close(self) -> None:
        """Give the partition up in order."""
        await self.process.start(self._close())
        await self.process.kill()

    async def _close(self) -> None:
        for task in self._loops[:2]:
            task.cancel()
        if self.partition is not None:
            await self.partition.close(self._world.settings.drain_s)

    def flow_changed(self, flow: Flow) -> None:
        if self.partition is not None and not self.process.dead:
            self.process.call(partial(self.partition.flow_changed, flow))

    def _make_account(self, name: str, flow: str, tools: Tools) -> Account | None:
        """As `Accounts.make`: what a former owner began occupies slots for a moment."""
        world = self._world
        if world.flows.flow(flow) is None:
            return None
        hold_ms, now_ms = int(world.settings.hold_s * 1000), world.clock.now_ms()
        for attempt in tools.store.attempts():
            newest_ms = max((doubt.at_ms for doubt in attempt.doubts), default=0)
            if newest_ms + hold_ms > now_ms:
                self.gate.hold(world.clock.monotonic_s() + (newest_ms + hold_ms - now_ms) / 1000)
        return Account(name, gate=self.gate, client=self._client, tools=tools)

    async def _read(self, topic: str, fold: Callable[..., None], *, compacted: bool) -> None:
        """All that is there, then what comes."""
        broker = self._world.broker
        history = broker.compacted(topic) if compacted else list(broker.all(topic))
        following = len(broker.all(topic))
        fold_in_parts(history, fold)
        while True:
            new = broker.all(topic)[following : following + READ_AT_ONCE]
            if new and not self.process.cut_off:
                following += len(new)
                fold(new, ended=following == len(broker.all(topic)))
                await asyncio.sleep(0)
            elif new:
                await asyncio.sleep(1.0)
            else:
                await broker.grown(topic)
                await asyncio.sleep(0.001)

    async def _tick(self, partition: Partition) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            partition.check()
            if not partition.fenced:
                await partition.tick()


def fold_in_parts(history: list[Record], fold: Callable[..., None]) -> None:
    for start in range(0, len(history), READ_AT_ONCE):
        part = history[start : start + READ_AT_ONCE]
        fold(part, ended=start + READ_AT_ONCE >= len(history))
    if not history:
        fold([], ended=True)
