"""Wire the resolver: Faust for the events, plain loops for requests and deferred ones. The only wiring."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import httpx2
from opentelemetry.trace import SpanKind

from ml_connector.common import headers as h
from ml_connector.common import logs, telemetry, topics
from ml_connector.common.clock import Clock, Deadline, SystemClock
from ml_connector.common.credentials import ApiToken
from ml_connector.common.directory import Directory
from ml_connector.common.errors import BadInput, ConnectorError, InvalidSettings, MustStop, QueueFull, TryLater
from ml_connector.common.flows import Flow
from ml_connector.common.health import HealthServer
from ml_connector.common.kafka.admin import TopicSpec, refuse_other_partitions
from ml_connector.common.kafka.consumer import AssignedConsumer
from ml_connector.common.kafka.partition import partition_for
from ml_connector.common.kafka.producer import Producer
from ml_connector.common.kafka.table import CompactedTable
from ml_connector.common.logs import get_logger
from ml_connector.common.wire import Hydrate
from ml_connector.resolver import emit
from ml_connector.resolver.companions import Companion
from ml_connector.resolver.core import Core
from ml_connector.resolver.message import Defer, Message, Output
from ml_connector.resolver.pipedrive.breaker import Breaker
from ml_connector.resolver.pipedrive.client import PipedriveClient
from ml_connector.resolver.plan import FlowPlan
from ml_connector.resolver.resolve import Book
from ml_connector.resolver.settings import ResolverSettings
from ml_connector.resolver.take import make_app

log = get_logger()

START_DEADLINE_S: Final = 60.0
SEND_AGAIN_S: Final = 0.5
SEND_DEADLINE_S: Final = 120.0  # without the broker for this long, somebody else should try
STALLED_S: Final = 120.0
TICK_S: Final = 1.0


class Emitter:
    """Writes outputs: those of one message in order of their groups, and acknowledged before it returns."""

    def __init__(self, producer: Producer, clock: Clock, *, prefix: str, partitions: int) -> None:
        self._producer = producer
        self._clock = clock
        self._prefix = prefix
        self._partitions = partitions

    async def emit(self, outputs: Sequence[Output]) -> None:
        """Dead letters first: an outcome must not claim what is not written. Raises MustStop at the deadline."""
        first = [output for output in outputs if output.topic is topics.DEAD_LETTERS]
        rest = [output for output in outputs if output.topic is not topics.DEAD_LETTERS]
        for group in (first, rest):
            if group:
                await asyncio.gather(*(self._send(output) for output in group))

    async def _send(self, output: Output) -> None:
        deadline = Deadline.after(self._clock, SEND_DEADLINE_S)
        partition = partition_for(output.partition_key, self._partitions)
        topic = output.topic.full_name(self._prefix)
        while True:
            try:
                await self._producer.send(
                    topic, key=output.key, value=output.value, headers=output.headers, partition=partition
                )
            except (TryLater, QueueFull) as error:
                if deadline.expired:
                    raise MustStop(f"{topic} could not be written for {SEND_DEADLINE_S:.0f} s") from error
                log.warning("sending_again", topic=topic, problem=str(error))
                await self._clock.sleep(SEND_AGAIN_S)
            else:
                return


class PipedriveClients:
    """One client for each company: its breaker and its burst window are shared by all its flows."""

    def __init__(self, settings: ResolverSettings, directory: Directory, clock: Clock) -> None:
        self._settings = settings
        self._directory = directory
        self._clock = clock
        self._http = httpx2.AsyncClient(timeout=settings.request_timeout_s, follow_redirects=False)
        self._clients: dict[tuple[str, str], PipedriveClient] = {}

    def client(self, plan: FlowPlan) -> PipedriveClient:
        base_url = plan.flow.pipedrive.base_url or f"https://{plan.company}.pipedrive.com"
        key = (plan.company, base_url)
        if key not in self._clients:
            settings = self._settings
            breaker = Breaker(
                first_s=settings.probe_first_s,
                longest_s=settings.probe_longest_s,
                chance=random.Random(),  # noqa: S311  jitter, not a secret
            )
            self._clients[key] = PipedriveClient(
                self._http,
                base_url,
                credential=partial(self._credential, plan.flow),
                breaker=breaker,
                burst_requests=settings.burst_requests,
                clock=self._clock,
            )
        return self._clients[key]

    async def close(self) -> None:
        await self._http.aclose()

    def _credential(self, flow: Flow) -> ApiToken:
        owner = f"pipedrive/{flow.pipedrive.company}"
        return self._directory.secret(ApiToken, owner=owner, environment=flow.environment)


class Resolver:
    """The process."""

    def __init__(self, settings: ResolverSettings, clock: Clock, home: str) -> None:
        self._settings = settings
        self._clock = clock
        prefix = settings.topic_prefix
        self._producer = Producer(settings.kafka(), linger_ms=1, message_timeout_s=30)
        self._directory = Directory(settings)
        self._state = CompactedTable[bytes](settings.kafka(), topics.STATE.full_name(prefix), decode=bytes)
        self._book = Book(self._state.get)
        self._clients = PipedriveClients(settings, self._directory, clock)
        self._core = Core(self._directory, self._book, self._clients, clock, reread_s=settings.reread_s)
        self._emitter = Emitter(self._producer, clock, prefix=prefix, partitions=settings.partitions)
        self._requests_topic = topics.PIPEDRIVE_REQUESTS.full_name(prefix)
        self._deferred_topic = topics.DEFERRED.full_name(prefix)
        companions = settings.group("resolver-companions")
        self._requests_consumer = AssignedConsumer(settings.kafka(), topic=self._requests_topic, group=companions)
        self._deferred_consumer = AssignedConsumer(settings.kafka(), topic=self._deferred_topic, group=companions)
        self._requests = Companion(self._requests_consumer, self._handle_request, clock)
        self._deferred = Companion(self._deferred_consumer, self._handle_deferred, clock)
        self._app = make_app(
            settings.kafka_bootstrap_servers,
            group=settings.group("resolver"),
            topic=topics.EVENTS.full_name(prefix),
            handle=self._handle_batch,
            owned=self._own,
            home=home,
        )
        self._joined = False
        self._came_round_s = clock.monotonic_s()

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`; raises MustStop when another process must take over."""
        await self._start()
        tasks: list[asyncio.Task[Any]] = [
            asyncio.create_task(work, name=name)
            for name, work in (
                ("requests", self._requests.run()),
                ("deferred", self._deferred.run()),
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
        declared = topics.with_prefix(settings.topic_prefix, settings.partitions)
        specs = [TopicSpec(name, count, {}) for name, count, _ in declared]
        await asyncio.to_thread(refuse_other_partitions, settings.kafka(), specs)
        deadline = Deadline.after(self._clock, START_DEADLINE_S)
        self._producer.start()
        await self._directory.start(deadline)
        await self._state.load(deadline)
        self._directory.on_change(self._core.flows_changed)
        self._requests_consumer.start()
        self._deferred_consumer.start()
        await self._app.start()

    async def _stop(self, tasks: list[asyncio.Task[Any]]) -> None:
        """Faust first: it waits for the batch in flight, then commits. The loops begin again where they committed."""
        await self._app.stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._requests_consumer.close()
        await self._deferred_consumer.close()
        await self._producer.close()
        await self._state.close()
        await self._directory.close()
        await self._clients.close()

    async def _own(self, partitions: frozenset[int]) -> None:
        """Faust's assignment has changed: the companions follow."""
        self._joined = True
        count = self._settings.partitions
        self._book.forget(lambda company: partition_for(company.encode(), count) in partitions)
        await self._requests.own(partitions)
        await self._deferred.own(partitions)

    # -- messages ----------------------------------------------------------------------------------------------------

    async def _handle_batch(self, messages: list[Message]) -> None:
        """Companies do not wait for each other; of one company the order is kept."""
        by_company: dict[bytes, list[Message]] = defaultdict(list)
        for message in messages:
            by_company[message.key].append(message)
        await asyncio.gather(*(self._handle_company(some) for some in by_company.values()))

    async def _handle_company(self, messages: list[Message]) -> None:
        """Resolved one after the other, written together: what follows from a batch is one round trip."""
        outputs: list[Output] = []
        for message in messages:
            outputs += await self._event(message)
        await self._emitter.emit(outputs)

    async def _event(self, message: Message) -> list[Output]:
        parent = telemetry.parent_of(message.headers)
        with telemetry.span(f"process {message.topic}", SpanKind.CONSUMER, parent=parent) as span:
            message = message._replace(headers={**message.headers, h.TRACEPARENT: telemetry.traceparent(span).encode()})
            found = await self._core.event(message)
        return self._or_deferred(found, message, kind="event")

    async def _handle_request(self, message: Message) -> None:
        try:
            request = Hydrate.decode(message.value)
        except BadInput as error:
            log.error("request_refused", topic=message.topic, offset=message.offset, problem=str(error))
            return
        found = await self._core.hydrate(request, message)
        await self._emitter.emit(self._or_deferred(found, message, kind="request"))

    async def _handle_deferred(self, message: Message) -> None:
        if h.text(message.headers, h.KIND) == "request":
            await self._handle_request(message)
        else:
            await self._emitter.emit(await self._event(message))

    def _or_deferred(self, found: list[Output] | Defer, message: Message, *, kind: str) -> list[Output]:
        if not isinstance(found, Defer):
            return found
        after_s = found.after_s if found.after_s is not None else self._settings.deferred_s
        log.warning("deferred", kind=kind, reason=found.reason, after_s=after_s)
        due_at_ms = self._clock.now_ms() + int(after_s * 1000)
        return [emit.deferred(message.as_first_read(), found, kind=kind, due_at_ms=due_at_ms)]

    # -- health ------------------------------------------------------------------------------------------------------

    async def _tick(self) -> None:
        while True:
            await self._clock.sleep(TICK_S)
            self._came_round_s = self._clock.monotonic_s()
            if self._app.crashed or self._app.should_stop:
                raise MustStop("Faust has stopped by itself")

    def live(self) -> str | None:
        return None if self._clock.monotonic_s() - self._came_round_s < STALLED_S else "the loop is stuck"

    def ready(self) -> str | None:
        return None if self._joined else "not in the group yet"


async def serve(settings: ResolverSettings) -> None:
    """Run the resolver with its health endpoints until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with tempfile.TemporaryDirectory(prefix="ml-connector-resolver-") as home:
        resolver = Resolver(settings, SystemClock(), home)
        health = HealthServer(settings.http_host, settings.http_port, live=resolver.live, ready=resolver.ready)
        port = await health.start()
        log.info("serving", host=settings.http_host, port=port)
        try:
            await resolver.run(stop)
        finally:
            await health.close()
            telemetry.shutdown()


def main() -> None:
    """Exit code 0 after a signal, 1 when another process must take over, 2 for wrong settings."""
    import uvloop

    try:
        settings = ResolverSettings.load()
        logs.configure("resolver", level=settings.log_level, form=settings.log_format)
        telemetry.configure("resolver")
        uvloop.run(serve(settings))
    except InvalidSettings as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(2) from error
    except ConnectorError as error:
        log.error("must_stop", problem=str(error))
        raise SystemExit(1) from error
