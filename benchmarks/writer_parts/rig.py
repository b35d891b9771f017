"""A running writer, its account and its load as a benchmark wants them, and the bare loop beside it."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

import msgspec
from confluent_kafka import Consumer, TopicPartition

from contract.netsuite.account import M2M, NetsuiteAccount
from ml_connector.cli.publishing import TopicWriter
from ml_connector.common import topics
from ml_connector.common.flows import ActiveFlow
from ml_connector.common.kafka.admin import end_offsets
from ml_connector.common.kafka.partition import partition_for
from ml_connector.common.vault import Vault
from ml_connector.common.wire import Desired, Origin, Reference
from support.desired import ACCOUNT, FLOW, desired
from support.measuring import own_cpu_s
from support.writing import PARTITIONS, Writing, until
from writer_parts.bare import Task

WRITER: Final = "netsuite-writer"
PARTITION: Final = partition_for(ACCOUNT.encode(), PARTITIONS)
SINGLE_CALLS: Final = {"MLC_JOBS_AT_ONCE": "0"}  # no asynchronous batches
DRAIN_S: Final = 600.0
Line = dict[str, Any]  # of NetSuite's log


@dataclasses.dataclass(frozen=True)
class Options:
    """Of the command line."""

    quick: bool
    rounds: int
    records: int
    accounts: int


class Rig(Writing):
    """`async with Rig() as rig:`; ids of records are given out once, so that every record is new."""

    def __init__(self, *, slots: int = 5, latency_ms: float = 0, environment: Mapping[str, str] = SINGLE_CALLS) -> None:
        super().__init__(latency_ms=latency_ms, environment={"MLC_LOG_LEVEL": "warning", **environment})
        self.stack.options = dataclasses.replace(self.stack.options, netsuite_concurrency=slots)
        self._slots = slots
        self._version = 1
        self._next_id = 1

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self.vault = Vault.from_text(self.stack.vault_key)
        m2m = M2M("dev-client", "dev-certificate", self.stack.private_key_pem, "ES256")
        self._netsuite = NetsuiteAccount(self.stack.urls["netsuite"], m2m)
        await self.switch(concurrency_limit=self._slots)
        return self

    @property
    def pid(self) -> int:
        return self.stack.pids()[WRITER]

    def cpu_s(self) -> float:
        return own_cpu_s(self.pid)

    # -- what it is like ---------------------------------------------------------------------------------------------

    async def slots(self, count: int) -> None:
        """NetSuite's limit and the flow's, at once. Only while nothing is in flight."""
        await self.switch(concurrency_limit=count)
        document = self.stack.flow_document()
        document["netsuite"]["concurrency"] = count
        topic_writer = TopicWriter(self.kafka, prefix="", vault=self.vault)
        self._version = await asyncio.to_thread(topic_writer.flow, document, by="benchmark")

    async def pause(self, paused: bool, *, flow: str = FLOW) -> None:
        """Of the version that `slots` has made."""
        self._send(
            topics.FLOWS, flow, ActiveFlow(flow=flow, version=self._version, revision=time.time_ns(), paused=paused)
        )

    async def delays(self, delays: Mapping[str, Mapping[str, float]], **more: Any) -> None:
        """Latency by kind of request."""
        await self._post("settings", {"latency": delays, **more})

    async def forget_log(self) -> None:
        (await self._http.delete(f"{self.stack.urls['netsuite']}/_sandbox/log")).raise_for_status()

    # -- load --------------------------------------------------------------------------------------------------------

    def new_ids(self, count: int) -> range:
        first, self._next_id = self._next_id, self._next_id + count
        return range(first, self._next_id)

    async def warm_up(self) -> None:
        """Connections, token and compiled code are there after this."""
        await self.write(200)

    async def write(self, records: int) -> None:
        """New records, until NetSuite has them and nothing of them waits."""
        done = await self.commits() + records
        await self.emit(*(organization(number) for number in self.new_ids(records)))
        await self.until_commits(done)
        await self.until_settled()

    async def queue(self, records: int, *, dates: bool = True) -> None:
        """Emit new records while the flow is paused, so that the queue is full when it goes on."""
        await self.pause(True)
        await self.emit(*(organization(number, dates=dates) for number in self.new_ids(records)))
        await self.until_folded()

    async def until_folded(self) -> None:
        """Until the writer has taken in all of `netsuite.desired`."""
        end = (await asyncio.to_thread(end_offsets, self.kafka, topics.DESIRED.name, [PARTITION]))[PARTITION]
        consumer = Consumer({**self.kafka, "group.id": WRITER})
        place = TopicPartition(topics.DESIRED.name, PARTITION)

        async def folded() -> bool:
            return (await asyncio.to_thread(consumer.committed, [place], 10))[0].offset >= end

        try:
            await until(folded, within_s=DRAIN_S, every_s=0.2)
        finally:
            consumer.close()

    async def until_settled(self) -> None:
        """Until nothing waits any more."""

        async def nothing_waits() -> bool:
            return not await self.live_keys()

        await until(nothing_waits, within_s=DRAIN_S, every_s=0.2)

    async def commits(self) -> int:
        return (await self.stats())["commits"]

    async def until_commits(self, wanted: int) -> None:
        async def there() -> bool:
            return await self.commits() >= wanted

        await until(there, within_s=DRAIN_S, every_s=0.2)

    # -- the bare loop -----------------------------------------------------------------------------------------------

    async def bare(self, records: int, *, workers: int) -> float:
        """The same PUTs, for new records, by a bare loop; its CPU seconds."""
        token = self._netsuite.request("GET", "/services/rest/record/v1/customer?limit=1").request.headers
        requests = [put_of(organization(number)) for number in self.new_ids(records)]
        task = Task(self.stack.urls["netsuite"], token["authorization"], workers, requests)
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(Path(__file__).with_name("bare.py")),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        said, _ = await process.communicate(msgspec.json.encode(task))
        if process.returncode:
            raise SystemExit("the bare loop failed: the figures would mean nothing")
        return float(said)


def organization(source_id: int, *, version: int = 0, dates: bool = True, **more: Any) -> Desired:
    """One state of an organization, with the fields and the event's bytes that the demo's mapping would leave in it.

    `dates`: two of the fields are custom dates.
    """
    now_ms = time.time_ns() // 10**6
    fields: dict[str, Any] = {
        "companyName": f"Company {source_id}", "email": f"billing{source_id}@example.com", "custentity_tier": "Gold",
        "custentity_annual_value": source_id * 1.25, "custentity_annual_currency": "EUR",
        "custentity_hq": f"{source_id} Main Street, Hamburg, Germany", "custentity_hq_city": "Hamburg",
        "custentity_score": 1.5, "custentity_notes": None, "custentity_number": str(version),
    }  # fmt: skip
    if dates:
        fields |= {"custentity_contract_from": "2026-01-01", "custentity_contract_until": "2026-12-31"}
    origin = Origin(
        "pipedrive.events", 0, source_id, now_ms, {"content-type": "application/json"}, msgspec.Raw(_event(source_id))
    )
    return desired(
        "organization", str(source_id), version=version or now_ms, cause=f"6f1c:{source_id}-{version}", origin=origin,
        fields=fields, references={"subsidiary": Reference("id", "2")}, **more,
    )  # fmt: skip


def _event(source_id: int) -> bytes:
    """Of usual size: one kilobyte."""
    custom = {f"{number:040x}": {"type": "varchar", "value": f"value {number}"} for number in range(8)}
    data = {"id": source_id, "name": f"Company {source_id}", "owner_id": 1234567, "custom_fields": custom}
    meta = {"action": "change", "entity": "organization", "entity_id": str(source_id), "version": "2.0"}
    return json.dumps({"data": data, "previous": {"name": "Company"}, "meta": meta}, separators=(",", ":")).encode()


def put_of(state: Desired) -> tuple[str, str]:
    """Path and body as the writer sends them for a record that NetSuite does not have yet."""
    body = {name: value for name, value in state.fields.items() if value is not None}
    body |= {name: {"id": reference.value} for name, reference in state.references.items()}
    return f"/services/rest/record/v1/customer/eid:{state.external_id}", msgspec.json.encode(body).decode()


def steady_per_s(log: Sequence[Line], slots: int) -> float:
    """Commits per second between the first and the last tenth.

    Where latency is fixed, commits come in bursts of `slots`: only whole bursts are counted.
    """
    ends_ms: list[float] = sorted(line["commit_ms"] for line in log if line["commit_seq"] is not None)
    first = len(ends_ms) // 10
    counted = max(slots, len(ends_ms) * 8 // 10 // slots * slots)
    if first + counted >= len(ends_ms):
        raise SystemExit(f"{len(ends_ms)} commits are too few for a figure at {slots} slots")
    return counted / ((ends_ms[first + counted] - ends_ms[first]) / 1000)
