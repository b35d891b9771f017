"""Wire the resolver: Faust for the events, plain loops for requests and deferred ones. The only wiring."""

from __future__ import annotations

import asyncio
import tempfile
from functools import partial
from typing import Any, Final

from ml_connector.common import headers as h
from ml_connector.common import measuring, metrics, process, spans, telemetry, topics
from ml_connector.common.clock import Clock, Deadline, SystemClock
from ml_connector.common.directory import Directory
from ml_connector.common.errors import BadInput, MustStop
from ml_connector.common.health import HealthServer
from ml_connector.common.interpreter import prefer_latency
from ml_connector.common.kafka.admin import TopicSpec, refuse_other_partitions
from ml_connector.common.kafka.partition import partition_for
from ml_connector.common.kafka.producer import Producer
from ml_connector.common.kafka.table import CompactedTable
from ml_connector.common.logs import get_logger
from ml_connector.common.signals import set_by_signal
from ml_connector.common.syncing import is_sync
from ml_connector.common.telemetry import Carried
from ml_connector.common.topics import Topic
from ml_connector.common.traceparent import trace_id
from ml_connector.common.vault import SecretEntry
from ml_connector.common.wire import Hydrate
from ml_connector.resolver import emit
from ml_connector.resolver.checks import Checks, asks_for_check
from ml_connector.resolver.companions import Companion, Handle, Patience
from ml_connector.resolver.core import Core
from ml_connector.resolver.deliveries import DeliveryWatch
from ml_connector.resolver.drafts import Drafts
from ml_connector.resolver.gauges import Gauges
from ml_connector.resolver.message import Defer, Message, Output
from ml_connector.resolver.pipedrive.clients import PipedriveClients
from ml_connector.resolver.plan import FlowPlan
from ml_connector.resolver.preview import answer, asks_for_preview, preview_of, with_stages
from ml_connector.resolver.probe import Prober
from ml_connector.resolver.refresh import Refresher
from ml_connector.resolver.resolve import Book
from ml_connector.resolver.send import Sender
from ml_connector.resolver.settings import ResolverSettings
from ml_connector.resolver.standings import Standings
from ml_connector.resolver.take import make_app
from ml_connector.resolver.walks import Walks

log = get_logger()

START_DEADLINE_S: Final = 60.0
STALLED_S: Final = 120.0
TICK_S: Final = 1.0


class Ground:
    """What everything else stands on."""

    def __init__(self, settings: ResolverSettings, clock: Clock) -> None:
        prefix = settings.topic_prefix
        self.producer = Producer(settings.kafka(), linger_ms=1, message_timeout_s=30, polled_by_loop=True)
        self.directory = Directory(settings)
        self.state = CompactedTable[bytes](settings.kafka(), topics.STATE.full_name(prefix), decode=bytes)
        self.book = Book(self.state.get)
        self.send = Sender(self.producer, clock, prefix=prefix, partitions=settings.partitions).send
        self.standings = Standings(self.state.get, self.send, clock)
        self.clients = PipedriveClients(
            settings, self.directory, self.book, clock, keep=self._keep_secret, standing=self.standings.of
        )

    async def start(self, deadline: Deadline) -> None:
        self.producer.start()
        await self.directory.start(deadline)
        await self.state.load(deadline)

    async def close(self) -> None:
        await self.clients.close()
        await self.producer.close()
        await self.state.close()
        await self.directory.close()

    async def _keep_secret(self, entry: SecretEntry) -> None:
        await self.send([emit.secret(entry)])


class Resolver:
    """The process."""

    def __init__(self, settings: ResolverSettings, clock: Clock, home: str) -> None:
        self._settings = settings
        self._clock = clock
        self._events = topics.EVENTS.full_name(settings.topic_prefix)
        self._group, self._companions_group = settings.group("resolver"), settings.group("resolver-companions")
        on = self._ground = Ground(settings, clock)
        self._send = on.send
        self._deliveries = DeliveryWatch(
            on.directory.flows, self._plan, on.clients, on.state.get, on.send, clock, look_s=settings.webhooks_look_s
        )
        self._core = Core(on.directory, on.book, clock, retried=self._deliveries.retried)
        self._refresher = Refresher(self._core, on.book, on.clients, on.send, clock, reread_s=settings.reread_s)
        self._walks = Walks(
            self._core, self._refresher, on.clients, on.state.get, on.send, clock, reread_s=settings.reread_s
        )
        self._requests = self._companion(topics.PIPEDRIVE_REQUESTS, self._handle_request, kind="request")
        self._deferred = self._companion(topics.DEFERRED, self._handle_deferred, kind="event")
        self._app = make_app(
            settings.kafka(),
            group=self._group,
            topic=self._events,
            handle=self._handle_batch,
            owned=self._own,
            home=home,
        )
        self._drafts = Drafts(on.state.get, on.clients, clock)
        self._prober = Prober(on.directory.flows, self._core.plan, on.clients, on.standings.of, clock)
        self._checks = Checks(self._core.plan, on.clients, on.send, clock)
        self._owned: frozenset[int] = frozenset()
        companions = {topics.PIPEDRIVE_REQUESTS.name: self._requests, topics.DEFERRED.name: self._deferred}
        Gauges(on.clients, on.standings, companions, self._owns, clock)
        self._joined = False
        self._came_round_s = clock.monotonic_s()

    def _companion(self, topic: Topic, handle: Handle, *, kind: str) -> Companion:
        settings = self._settings
        return Companion(
            settings.kafka(),
            topic=topic.full_name(settings.topic_prefix),
            group=self._companions_group,
            handle=handle,
            renew=partial(self._renew, kind=kind),
            clock=self._clock,
            patience=Patience(usual_wait_s=settings.deferred_s, renew_s=settings.renew_s),
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`; raises MustStop when another process must take over."""
        await self._start()
        tasks: list[asyncio.Task[Any]] = [
            asyncio.create_task(work, name=name)
            for name, work in (
                ("requests", self._requests.run()),
                ("deferred", self._deferred.run()),
                ("probes", self._prober.run()),
                ("deliveries", self._deliveries.run()),
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
        mine = topics.used_by("resolver")
        declared = topics.with_prefix(settings.topic_prefix, settings.partitions, mine)
        specs = [TopicSpec(name, count, {}) for name, count, _ in declared]
        await asyncio.to_thread(refuse_other_partitions, settings.kafka(), specs)
        await self._ground.start(Deadline.after(self._clock, START_DEADLINE_S))
        self._ground.directory.on_flow(self._core.flow_changed)
        self._requests.start()
        self._deferred.start()
        await self._app.start()

    async def _stop(self, tasks: list[asyncio.Task[Any]]) -> None:
        """Faust first: it waits for the batch in flight, then commits. The loops begin again where they committed."""
        await self._app.stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._checks.close()
        await self._requests.close()
        await self._deferred.close()
        await self._ground.close()

    async def _own(self, partitions: frozenset[int]) -> None:
        """Faust's assignment has changed: the companions follow."""
        self._joined = True
        self._owned = partitions
        self._ground.book.forget(self._owns)
        self._walks.forget(self._owns)
        self._prober.own(self._owns)
        self._deliveries.own(self._owns)
        await self._requests.own(partitions)
        await self._deferred.own(partitions)

    def _plan(self, flow: str) -> FlowPlan | None:
        return self._core.plan(flow)

    def _owns(self, company: str) -> bool:
        return partition_for(company.encode(), self._settings.partitions) in self._owned

    # -- messages ----------------------------------------------------------------------------------------------------

    async def _handle_batch(self, messages: list[Message]) -> None:
        """The hot path: nothing here waits for Pipedrive. What would have to is put aside, due at once."""
        outputs: list[Output] = []
        for message in messages:
            with self._span(message) as span:
                traced = _within(span, message)
                found = self._core.event(traced)
                _tell(span, found)
            outputs += [self._put_aside(traced, found, kind="event")] if isinstance(found, Defer) else found
        await self._send(outputs)
        measuring.count(metrics.MESSAGES, topics.EVENTS.name, by=len(messages))

    async def _handle_request(self, message: Message) -> Defer | None:
        """A request that must wait goes to the deferred ones, so that it holds nobody up."""
        measuring.count(metrics.MESSAGES, topics.PIPEDRIVE_REQUESTS.name)
        if asks_for_check(message):
            self._checks.begin(message)
            return None
        if is_sync(message.headers):
            later = await self._walk(message)
            if later is not None:
                await self._send([self._put_aside(message, later, kind=h.text(message.headers, h.KIND))])
            return None
        found = await self._requested(message)
        if isinstance(found, Defer):
            found = [self._put_aside(message, found, kind="request")]
        await self._send(found)
        return None

    async def _handle_deferred(self, message: Message) -> Defer | None:
        measuring.count(metrics.MESSAGES, topics.DEFERRED.name)
        if is_sync(message.headers):
            return await self._walk(message)
        if h.text(message.headers, h.KIND) == "request" or asks_for_preview(message):
            found = await self._requested(message)
        else:
            with self._span(message) as span:
                found = await self._refresher.event(_within(span, message))
                _tell(span, found)
        if isinstance(found, Defer):
            trace = trace_id(message.headers.get(h.TRACEPARENT))
            log.info("waiting", reason=found.reason, after_s=found.after_s, trace_id=trace)
            return found
        await self._send(found)
        return None

    async def _walk(self, message: Message) -> Defer | None:
        with self._span(message) as span:
            later = await self._walks.take(_within(span, message))
            _tell(span, later or [])
            return later

    async def _requested(self, message: Message) -> list[Output] | Defer:
        return await (self._preview(message) if asks_for_preview(message) else self._hydrate(message))

    async def _preview(self, message: Message) -> list[Output] | Defer:
        """Answered now, whatever is found: whoever asks waits for it. Nothing else is written."""
        request_id = h.text(message.headers, h.REQUEST_ID)
        if not request_id:
            log.error("request_refused", topic=message.topic, offset=message.offset, problem="no request id")
            return []
        if h.DRAFT in message.headers:
            return [answer(await self._drafts.preview(request_id, message))]
        with self._span(message) as span:
            traced = _within(span, message)
            found = await self._refresher.event(traced)
            sources = self._core.sources(traced)
        stages = self._ground.book.of(h.text(message.headers, h.COMPANY)).stages
        return [answer(with_stages(preview_of(request_id, found, sources), stages))]

    async def _hydrate(self, message: Message) -> list[Output] | Defer:
        try:
            request = Hydrate.decode(message.value)
        except BadInput as error:
            log.error("request_refused", topic=message.topic, offset=message.offset, problem=str(error))
            return []
        with self._span(message) as span:
            found = await self._refresher.hydrate(request, _within(span, message))
            _tell(span, found)
        return found

    def _put_aside(self, message: Message, found: Defer, *, kind: str) -> Output:
        after_s = found.after_s if found.after_s is not None else self._settings.deferred_s
        due_at_ms = self._clock.now_ms() + int(after_s * 1000)
        return emit.deferred(message.as_first_read(), found, kind=kind, due_at_ms=due_at_ms)

    async def _renew(self, messages: list[Message], *, kind: str) -> None:
        """Put aside once more: each is written again as it is."""
        await self._send([emit.renewed(message, kind=kind) for message in messages])

    def _span(self, message: Message) -> Carried:
        group = self._group if message.topic == self._events else self._companions_group
        return spans.processing(message.topic, message.partition, message.offset, group=group, headers=message.headers)

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


def _within(span: Carried, message: Message) -> Message:
    """What follows from it names the span as its parent."""
    if not span.recording and h.TRACEPARENT in message.headers:
        return message
    return message._replace(headers={**message.headers, h.TRACEPARENT: span.traceparent.encode()})


def _tell(span: Carried, found: list[Output] | Defer) -> None:
    """What became of it."""
    if not span.recording:
        return
    if isinstance(found, Defer):
        span.tell(spans.DEFERRED, found.reason)
        return
    for output in found:
        if output.topic is topics.DEAD_LETTERS:
            span.tell(spans.STAGE, output.headers["dlq.stage"].decode())
            span.fail(output.headers["dlq.error-code"].decode())


async def serve(settings: ResolverSettings) -> None:
    """Run the resolver with its health endpoints until SIGTERM or SIGINT."""
    stop = set_by_signal(asyncio.Event())
    with tempfile.TemporaryDirectory(prefix="ml-connector-resolver-") as home:
        resolver = Resolver(settings, SystemClock(), home)
        health = HealthServer(settings.http_host, settings.http_port, live=resolver.live, ready=resolver.ready)
        port = await health.start()
        prefer_latency()
        log.info("serving", host=settings.http_host, port=port)
        try:
            await resolver.run(stop)
        finally:
            await health.close()
            await asyncio.to_thread(telemetry.shutdown)  # what it reads last is asked of this loop


def main() -> None:
    process.run("resolver", ResolverSettings, serve)
