"""A running writer with a real broker and the NetSuite stand-in: desired states go in, NetSuite's log is the judge."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Self

import httpx2
import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from cryptography.hazmat.primitives import serialization

from ml_connector.cli.certificates import Pair
from ml_connector.cli.processes import OnLine
from ml_connector.cli.stack import Stack, StackOptions
from ml_connector.common import topics
from ml_connector.common.cause import of_hydrate
from ml_connector.common.codec import Wire
from ml_connector.common.credentials import NetsuiteTba
from ml_connector.common.flows import ActiveFlow, FlowVersion
from ml_connector.common.kafka.partition import partition_for
from ml_connector.common.kafka.producer import base_config
from ml_connector.common.kafka.record import Record, of_message
from ml_connector.common.vault import Vault
from ml_connector.common.wire import Desired, Hydrate, Outcome, Reference
from support.desired import ACCOUNT, FLOW, RECORD_TYPES, key_of
from support.judging import Evidence

PARTITIONS = 4
WAIT_S = 60.0  # a test in vain is ended after 120 s
READ_S = 0.3  # what is written all the while has no end
SUBSIDIARY = {"subsidiary": Reference("subsidiary", "2")}


class Writing:
    """`async with Writing() as writing:`; one account, one flow."""

    def __init__(
        self,
        *,
        replicas: int = 1,
        latency_ms: float = 0,
        environment: Mapping[str, str] | None = None,
        keep_alive: bool = False,
        on_line: OnLine = lambda _, __: None,
    ) -> None:
        self.stack = Stack(
            StackOptions(
                processes=("broker", "netsuite", "netsuite-writer"),
                scale={"netsuite-writer": replicas},
                netsuite_latency_ms=latency_ms,
                environment={"netsuite-writer": environment or {}},
                keep_alive=keep_alive,
            ),
            on_line=on_line,
        )
        self._http = httpx2.AsyncClient(timeout=10)
        self._followed: dict[str, tuple[Consumer, list[Record]]] = {}
        self._reading: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def __aenter__(self) -> Self:
        await self.stack.__aenter__()
        self._producer = Producer({**base_config(self.kafka), "linger.ms": 1})
        return self

    async def __aexit__(self, *error: Any) -> None:
        for consumer, _ in self._followed.values():
            consumer.close()
        await self._http.aclose()
        await self.stack.__aexit__(*error)

    @property
    def kafka(self) -> dict[str, str]:
        return {"bootstrap.servers": self.stack.bootstrap}

    # -- in ----------------------------------------------------------------------------------------------------------

    async def emit(self, *states: Desired, traceparent: str = "") -> int:
        """What the resolver would have sent. The offset after the last of them, if all are of one account."""
        headers: dict[str, str | bytes | None] | None = {"traceparent": traceparent} if traceparent else None
        offsets: list[int] = []
        for state in states:
            self._producer.produce(
                topics.DESIRED.name,
                key=key_of(state),
                value=state.encode(),
                headers=headers,
                partition=partition_for(state.account.encode(), PARTITIONS),
                on_delivery=lambda _, message: offsets.append(message.offset() or 0),
            )
            self._producer.poll(0)
        assert await asyncio.to_thread(self._producer.flush, 10) == 0
        return max(offsets, default=-1) + 1

    async def pause(self, paused: bool, *, flow: str = FLOW) -> None:
        self._send(topics.FLOWS, flow, ActiveFlow(flow=flow, version=1, revision=time.time_ns(), paused=paused))

    async def add_account(self, account: str, *, pair: Pair | None = None, **switches: Any) -> None:
        """One more account at NetSuite (or another certificate of it), and the secret that opens it."""
        names = {"client_id": f"client-{account}", "certificate_id": f"certificate-{account}"}
        key = {"public_key_pem": self._public_key_pem()}
        secret = {"private_key_pem": self.stack.private_key_pem}
        if pair is not None:
            key = {"certificate_pem": pair.certificate.decode()}
            secret = {"private_key_pem": pair.private_key.decode(), **key}
        await self._post("accounts", {"account": account, **names, **key, **switches})
        credential = {**secret, "algorithm": "ES256", **names}
        vault = Vault.from_text(self.stack.vault_key)
        entry = vault.encrypt(f"netsuite/{account}", "oauth2-m2m", "sandbox", version=1, value=credential)
        self._send(topics.SECRETS, entry.key, entry)
        if "token_id" in switches:
            values = {name: switches[name] for name in NetsuiteTba.__struct_fields__}
            entry = vault.encrypt(f"netsuite/{account}", NetsuiteTba.NAME, "sandbox", version=1, value=values)
            self._send(topics.SECRETS, entry.key, entry)

    async def add_flow(self, document: Mapping[str, Any]) -> None:
        flow = str(document["flow"])
        version = FlowVersion(flow=flow, version=1, document=dict(document), applied_at_ms=0, applied_by="test")
        self._send(topics.FLOWS, f"{flow}/v1", version)
        await self.pause(False, flow=flow)

    def _public_key_pem(self) -> str:
        key = serialization.load_pem_private_key(self.stack.private_key_pem.encode(), password=None)
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()

    def _send(self, topic: topics.Topic, key: str, value: Wire) -> None:
        self._producer.produce(topic.name, key=key, value=value.encode())
        assert self._producer.flush(10) == 0

    async def fault(self, kind: str, **facts: Any) -> int:
        """Its id."""
        return int((await self._post("faults", {"kind": kind, **facts})).json()["id"])

    async def latency(self, ms: float) -> None:
        await self._post("settings", {"latency_ms": ms})

    async def keep_bodies(self) -> None:
        """From now on the log tells what was sent, as the judge needs it."""
        await self._post("settings", {"keep_bodies": True})

    async def switch(self, **switches: Any) -> None:
        """Change what NetSuite's account is like."""
        await self._post("accounts", {"account": ACCOUNT, **switches})

    async def signal(self, name: str, number: signal.Signals) -> None:
        os.kill(self.stack.pids()[name], number)

    def ready(self, name: str) -> Callable[[], Awaitable[bool]]:
        """Whether a process says that it is ready."""

        async def answers() -> bool:
            return (await self._http.get(f"{self.stack.urls[name]}/readyz")).status_code == 200

        return answers

    # -- out ---------------------------------------------------------------------------------------------------------

    async def log(self, external_id: str = "") -> list[dict[str, Any]]:
        """Requests that NetSuite had, for one record or all."""
        found: list[dict[str, Any]] = (await self._get("log"))["entries"]
        return [line for line in found if not external_id or line["external_id"] == external_id]

    async def writes(self, external_id: str) -> list[dict[str, Any]]:
        """Requests that changed this record, in the order in which they did."""
        committed = [line for line in await self.log(external_id) if line["commit_seq"] is not None]
        return sorted(committed, key=lambda line: int(line["commit_seq"]))

    async def record(self, kind: str, external_id: str) -> dict[str, Any] | None:
        found: list[dict[str, Any]] = await self._get(f"records/{ACCOUNT}/{kind}")
        same = [record for record in found if record["externalId"] == external_id]
        assert len(same) <= 1, "one external id, two records"
        return same[0] if same else None

    async def stats(self) -> dict[str, int]:
        found: dict[str, dict[str, int]] = await self._get("stats")
        return found[ACCOUNT]

    async def outcomes(self) -> dict[str, list[Outcome]]:
        """All outcomes by cause, repetitions included."""
        found: dict[str, list[Outcome]] = {}
        for message in await self.read(topics.AUDIT):
            if message.value is not None and (message.key or b"").endswith(b"/outcome"):
                outcome = Outcome.decode(message.value)
                found.setdefault(outcome.cause, []).append(outcome)
        return found

    async def settled(self, *states: Desired, within_s: float = WAIT_S) -> list[Outcome]:
        """The one outcome of each of these, once all are there and nothing of them waits."""
        causes = [state.cause for state in states]
        found: dict[str, list[Outcome]] = {}

        async def all_there() -> bool:
            nonlocal found
            found = await self.outcomes()
            return all(cause in found for cause in causes)

        await until(all_there, within_s=within_s)
        for cause in causes:
            assert len(found[cause]) == 1, f"{cause} has {len(found[cause])} outcomes"
        keys = {key_of(state) for state in states}

        async def none_waits() -> bool:
            return not keys & set(await self.live_keys())

        await until(none_waits)
        return [found[cause][0] for cause in causes]

    async def evidence(self, states: Sequence[Desired], *, slots: int, account: str = ACCOUNT) -> Evidence:
        """For the judge. `states`: all that were ever emitted here. Bodies must have been kept from the first one on."""
        outcomes = [outcome for same in (await self.outcomes()).values() for outcome in same]
        return Evidence(
            log=[line for line in await self.log() if line["account"] == account],
            records={account: await self.records(account)},
            states=states,
            outcomes=[outcome for outcome in outcomes if outcome.record_key.startswith(f"{account.lower()}/")],
            slots=slots,
        )

    async def put_there(self, kind: str, *rows: Mapping[str, Any], account: str = ACCOUNT) -> None:
        """Records that NetSuite has already: `externalId` (or none) and `fields`, unchecked."""
        await self._post(f"records/{account}/{kind}", rows)

    async def forget_log(self) -> None:
        (await self._http.delete(f"{self.stack.urls['netsuite']}/_sandbox/log")).raise_for_status()

    async def records(self, account: str = ACCOUNT) -> dict[str, list[dict[str, Any]]]:
        """All that NetSuite holds, by record type."""
        return {kind: await self._get(f"records/{account}/{kind}") for kind in RECORD_TYPES.values()}

    async def fault_hits(self) -> list[dict[str, Any]]:
        """Every fault that is set, with how often it was met."""
        found: list[dict[str, Any]] = await self._get("faults")
        return found

    async def live_keys(self) -> list[str]:
        """What waits: keys of `netsuite.desired` without a tombstone."""
        newest = {message.key or b"": message.value for message in await self.read(topics.DESIRED)}
        return [key.decode() for key, value in newest.items() if value is not None]

    async def hydrates(self, source_id: str) -> list[Hydrate]:
        found = [Hydrate.decode(message.value or b"") for message in await self.read(topics.PIPEDRIVE_REQUESTS)]
        return [hydrate for hydrate in found if hydrate.source_id == source_id]

    async def read(self, topic: topics.Topic) -> list[Record]:
        """Everything in a topic that is committed, from its beginning."""
        async with self._reading[topic.name]:
            return await asyncio.to_thread(self._read, topic.name)

    def _read(self, name: str) -> list[Record]:
        if name not in self._followed:
            config = {**self.kafka, "group.id": "test", "isolation.level": "read_committed", "fetch.wait.max.ms": 20}
            consumer = Consumer({**config, "enable.auto.commit": False, "enable.partition.eof": True})
            consumer.assign([TopicPartition(name, number, OFFSET_BEGINNING) for number in range(PARTITIONS)])
            self._followed[name] = (consumer, [])
            _read_to_the_ends(consumer, self._followed[name][1])
        consumer, found = self._followed[name]
        until_s = time.monotonic() + READ_S
        while messages := consumer.consume(1000, 0.1):
            found.extend(of_message(message) for message in messages if message.error() is None)
            if len(messages) < 1000 and time.monotonic() > until_s:
                break
        return list(found)

    async def _get(self, path: str) -> Any:
        return (await self._http.get(f"{self.stack.urls['netsuite']}/_sandbox/{path}")).raise_for_status().json()

    async def _post(self, path: str, body: Any) -> httpx2.Response:
        return (await self._http.post(f"{self.stack.urls['netsuite']}/_sandbox/{path}", json=body)).raise_for_status()


def _read_to_the_ends(consumer: Consumer, found: list[Record]) -> None:
    """A new consumer needs a while for its first message."""
    ended = 0
    while ended < PARTITIONS:
        message = consumer.poll(10)
        assert message is not None, "the broker does not answer"
        if message.error() is None:
            found.append(of_message(message))
        else:
            ended += 1


def answer_to(hydrate: Hydrate, state: Desired) -> Desired:
    """The resolver's answer to a hydrate."""
    return msgspec.structs.replace(state, cause=of_hydrate(hydrate.request_id), force=hydrate.force)


async def until(condition: Callable[[], Awaitable[bool]], *, within_s: float = WAIT_S, every_s: float = 0.05) -> None:
    """Wait for a condition, not for time."""
    deadline = time.monotonic() + within_s
    while not await condition():
        assert time.monotonic() < deadline, f"not within {within_s} s"
        await asyncio.sleep(every_s)
