"""Wire the writer: topics, partitions, accounts. The only place where real adapters meet the rules."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from confluent_kafka import OFFSET_BEGINNING
from confluent_kafka.admin import AdminClient

from ml_connector.common import measuring, metrics, process, spans, telemetry, topics
from ml_connector.common.asking import Checked
from ml_connector.common.clock import Clock, Deadline, SystemClock
from ml_connector.common.codec import Wire
from ml_connector.common.directory import Directory
from ml_connector.common.errors import BadInput, MustStop
from ml_connector.common.flows import Flow
from ml_connector.common.headers import TRACEPARENT
from ml_connector.common.health import HealthServer
from ml_connector.common.interpreter import prefer_latency
from ml_connector.common.kafka.admin import TopicSpec, identity, refuse_other_partitions
from ml_connector.common.kafka.consumer import AssignedConsumer, GroupConsumer
from ml_connector.common.kafka.partition import partition_for
from ml_connector.common.kafka.producer import Producer, client_config
from ml_connector.common.kafka.record import Record
from ml_connector.common.kafka.transaction import TransactionalProducer
from ml_connector.common.keys import attempt_key, job_key
from ml_connector.common.logs import get_logger
from ml_connector.common.signals import set_by_signal
from ml_connector.common.traceparent import current
from ml_connector.common.wire import Attempt, BatchJob, Hydrate, Standing
from ml_connector.netsuite_writer.accounts import Accounts
from ml_connector.netsuite_writer.asked import Asked
from ml_connector.netsuite_writer.expiry import Expiry
from ml_connector.netsuite_writer.gauges import Gauges
from ml_connector.netsuite_writer.job import Tools
from ml_connector.netsuite_writer.partition import Partition
from ml_connector.netsuite_writer.requested import Requested
from ml_connector.netsuite_writer.settings import WriterSettings
from ml_connector.netsuite_writer.settlement import Settler
from ml_connector.netsuite_writer.store import Store

log = get_logger()

START_DEADLINE_S: Final = 60.0
TICK_S: Final = 1.0
COMMIT_EVERY_S: Final = 1.0
STALLED_S: Final = 60.0  # the loop must come round this often, or the process is not alive


class KafkaMessages:
    """What accounts send outside settlements."""

    def __init__(self, producer: Producer, partition: int, prefix: str) -> None:
        self._producer = producer
        self._partition = partition
        self._observed = topics.OBSERVED.full_name(prefix)
        self._requests = topics.PIPEDRIVE_REQUESTS.full_name(prefix)

    async def attempt(self, attempt: Attempt | None, record: str) -> None:
        await self._observe(attempt_key(record), attempt)

    async def job(self, job: BatchJob | None, idempotency_key: str) -> None:
        await self._observe(job_key(idempotency_key), job)

    async def standing(self, standing: Standing | None, key: str) -> None:
        await self._observe(key, standing)

    async def hydrate(self, request: Hydrate, company: str) -> None:
        """A trace of its own: others may wait for the same answer. Linked to whoever asks."""
        with spans.sending(self._requests, links=[current()]) as span:
            headers = {TRACEPARENT: span.traceparent.encode()}
            where = await self._producer.send(
                self._requests, key=company.encode(), value=request.encode(), headers=headers
            )
            spans.sent(span, where.partition, where.offset)

    async def _observe(self, key: str, value: Wire | None) -> None:
        encoded = None if value is None else value.encode()
        await self._producer.send(self._observed, key=key.encode(), value=encoded, partition=self._partition)


class Writer:
    """The process: a member of the group, and the partitions it owns."""

    def __init__(self, settings: WriterSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._directory = Directory(settings)
        self._partitions: dict[int, Partition] = {}
        self._producer = Producer(settings.kafka(), linger_ms=1, polled_by_loop=True)
        self._desired = topics.DESIRED.full_name(settings.topic_prefix)
        self._observed = topics.OBSERVED.full_name(settings.topic_prefix)
        self._group = GroupConsumer(
            settings.kafka(),
            topic=self._desired,
            group=settings.group("netsuite-writer"),
            session_timeout_s=settings.session_timeout_s,
            assignment=self,
        )
        self._companion = AssignedConsumer(settings.kafka(), topic=self._observed, patient=True)
        self._accounts = Accounts(settings, self._directory, clock)
        self._expiry = Expiry(self._directory, clock)
        self._asked = Asked(settings, self._producer, self._check)
        self._requested = Requested(settings, self._producer, self._directory, self._partitions.get, clock)
        self._identity = ""
        self._joined = False
        self._came_round_s = clock.monotonic_s()

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`; raises MustStop when another process must take over."""
        await self._start()
        tasks: list[asyncio.Task[object]] = [
            asyncio.create_task(work, name=name)
            for name, work in (
                ("desired", self._read_desired()),
                ("observed", self._read_observed()),
                ("asked", self._asked.run()),
                ("requested", self._requested.run()),
                ("tick", self._tick()),
                ("stop", stop.wait()),
            )
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await self._stop(tasks)

    async def _start(self) -> None:
        settings = self._settings
        mine = topics.used_by("netsuite-writer")
        declared = topics.with_prefix(settings.topic_prefix, settings.partitions, mine)
        specs = [TopicSpec(name, count, {}) for name, count, _ in declared]
        await asyncio.to_thread(refuse_other_partitions, settings.kafka(), specs)
        client = AdminClient(client_config(settings.kafka()))
        self._identity = await asyncio.to_thread(identity, client, [self._desired, self._observed])
        self._producer.start()
        measuring.read(metrics.CERTIFICATE_LEFT, self._expiry.readings)
        Gauges(self._partitions.values, self._accounts.spelled)
        await self._directory.start(Deadline.after(self._clock, START_DEADLINE_S))
        self._directory.on_flow(self._flow_changed)
        self._companion.start()
        self._asked.start()
        self._requested.start()
        self._group.start()

    async def _stop(self, tasks: Sequence[asyncio.Task[object]]) -> None:
        await self._group.close()  # revokes: partitions finish, settle and close
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._asked.close()
        await self._requested.close()
        await self._companion.close()
        await self._directory.close()
        await self._producer.close()
        await self._accounts.close()

    # -- what the group tells ----------------------------------------------------------------------------------------

    async def assigned(self, partitions: frozenset[int]) -> Mapping[int, int]:
        """Fence the former owners, open the stores, and say from where to read."""
        opened = await asyncio.gather(*(self._open(number) for number in partitions))
        self._partitions.update({partition.number: partition for partition in opened})
        # Only now: what is read for a partition that nobody knows yet would be lost to it.
        await self._companion.assign({p.number: _start_of(p.observed_position()) for p in opened})
        self._joined = True
        return {p.number: _start_of(p.position()) for p in opened}

    async def revoked(self, partitions: frozenset[int]) -> Mapping[int, int]:
        given_up = [self._partitions.pop(number) for number in partitions if number in self._partitions]
        self._answer_for_started()
        await self._companion.unassign(p.number for p in given_up)
        offsets = await asyncio.gather(*(p.close(self._settings.drain_s) for p in given_up))
        return {p.number: offset for p, offset in zip(given_up, offsets, strict=True) if offset is not None}

    async def lost(self, partitions: frozenset[int]) -> None:
        gone = [self._partitions.pop(number) for number in partitions if number in self._partitions]
        self._answer_for_started()
        await self._companion.unassign(p.number for p in gone)
        await asyncio.gather(*(p.drop() for p in gone))

    async def _open(self, number: int) -> Partition:
        settings = self._settings
        producer = TransactionalProducer(settings.kafka(), settings.group(f"netsuite-writer-{number}"))
        await producer.init()
        path = settings.store_dir / f"{settings.topic_prefix}partition-{number}.sqlite"
        store = Store.open(path, identity=self._identity, now_ms=self._clock.now_ms())
        settler = Settler(
            number,
            producer=producer,
            store=store,
            prefix=settings.topic_prefix,
            session_timeout_s=settings.session_timeout_s,
            clock=self._clock,
        )
        tools = Tools(
            settings=settings,
            clock=self._clock,
            flows=self._directory,
            store=store,
            settler=settler,
            messages=KafkaMessages(self._producer, number, settings.topic_prefix),
            owner=uuid.uuid4().hex[:12],
            chance=random.Random(),  # noqa: S311  jitter, not a secret
        )
        return Partition(
            number,
            desired_topic=self._desired,
            observed_topic=self._observed,
            tools=tools,
            producer=producer,
            make_account=self._accounts.make,
        )

    def _answer_for_started(self) -> None:
        """Before that nobody knows what a former owner has in flight."""
        started = frozenset(number for number, partition in self._partitions.items() if partition.started)
        self._asked.own(started)
        self._requested.own(started)

    async def _check(self, flow: str, partition: int) -> Checked:
        """Raises BadInput when the account's owner was not asked: we may not know what it has in flight."""
        live = self._directory.flow(flow)
        if live is not None:
            account = live.flow.netsuite.account.encode()
            if partition_for(account, self._settings.partitions) != partition:
                raise BadInput(f"flow {flow} was asked for in partition {partition}, where its account is not")
        return await self._accounts.check(flow, admit=self._partitions[partition].prove)

    def _flow_changed(self, flow: Flow) -> None:
        self._accounts.flow_changed(flow)
        for partition in self._partitions.values():
            partition.flow_changed(flow)

    # -- loops -------------------------------------------------------------------------------------------------------

    async def _read_desired(self) -> None:
        while True:
            records, ended = await self._group.next()
            for number, some in _by_partition(records, ended):
                partition = self._partitions.get(number)
                if partition is not None:
                    partition.fold_desired(some, ended=number in ended)

    async def _read_observed(self) -> None:
        while True:
            records, ended = await self._companion.next()
            for number, some in _by_partition(records, ended):
                partition = self._partitions.get(number)
                if partition is not None:
                    partition.fold_observed(some, ended=number in ended)

    async def _tick(self) -> None:
        while True:
            await self._clock.sleep(TICK_S)
            self._came_round_s = self._clock.monotonic_s()
            for partition in tuple(self._partitions.values()):
                partition.check()
                if partition.fenced:
                    await self._leave_fenced(partition)
                else:
                    await partition.tick()
            self._accounts.read_limits()
            self._expiry.look(self._accounts.names())
            self._answer_for_started()
            offsets = {n: p.position() for n, p in self._partitions.items() if p.started}
            await self._group.commit({n: offset for n, offset in offsets.items() if offset is not None})

    async def _leave_fenced(self, partition: Partition) -> None:
        """Somebody has taken over. If the group does not say so soon, it and we disagree: start anew."""
        epoch = self._group.epoch(partition.number)
        await self._clock.sleep(self._settings.session_timeout_s)
        if epoch is not None and self._group.epoch(partition.number) == epoch:
            raise MustStop(f"partition {partition.number} was taken over, but the group still gives it to us")

    # -- health ------------------------------------------------------------------------------------------------------

    def live(self) -> str | None:
        return None if self._clock.monotonic_s() - self._came_round_s < STALLED_S else "the loop is stuck"

    def ready(self) -> str | None:
        if not self._joined:
            return "not in the group yet"
        starting = [number for number, partition in self._partitions.items() if not partition.started]
        return f"restoring partitions {starting}" if starting else None


def _start_of(position: int | None) -> int:
    return OFFSET_BEGINNING if position is None else position


def _by_partition(records: list[Record], ended: Iterable[int]) -> list[tuple[int, list[Record]]]:
    found: dict[int, list[Record]] = {number: [] for number in ended}
    for record in records:
        found.setdefault(record.partition, []).append(record)
    return list(found.items())


async def serve(settings: WriterSettings) -> None:
    """Run the writer with its health endpoints until SIGTERM or SIGINT."""
    stop = set_by_signal(asyncio.Event())
    writer = Writer(settings, SystemClock())
    health = HealthServer(settings.http_host, settings.http_port, live=writer.live, ready=writer.ready)
    port = await health.start()
    prefer_latency()
    log.info("serving", host=settings.http_host, port=port)
    try:
        await writer.run(stop)
    finally:
        await health.close()
        await asyncio.to_thread(telemetry.shutdown)  # what it reads last is asked of this loop


def main() -> None:
    process.run("netsuite-writer", WriterSettings, serve)
