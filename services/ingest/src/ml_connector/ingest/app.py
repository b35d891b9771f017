"""Wire ingest: directory, doors, publisher, server. The only place where real adapters meet the rules."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Final

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse

from ml_connector.common import measuring, metrics, process, telemetry, topics
from ml_connector.common.clock import Clock, Deadline, SystemClock
from ml_connector.common.directory import Directory
from ml_connector.common.drift import MOST_PUSHED_BYTES
from ml_connector.common.errors import MustStop
from ml_connector.common.health import serving_metrics
from ml_connector.common.interpreter import prefer_latency
from ml_connector.common.kafka.admin import TopicSpec, refuse_other_partitions
from ml_connector.common.kafka.producer import Producer
from ml_connector.common.logs import get_logger
from ml_connector.common.signals import set_by_signal
from ml_connector.ingest.http.answer import Answer
from ml_connector.ingest.http.asgi import Asgi
from ml_connector.ingest.http.request import Request, Route
from ml_connector.ingest.http.server import Limits, Server
from ml_connector.ingest.publish import Publisher
from ml_connector.ingest.push_doors import PushDoors
from ml_connector.ingest.receive import PATH, PUSH_PATH, Receiver
from ml_connector.ingest.report import Reporter
from ml_connector.ingest.settings import IngestSettings
from ml_connector.ingest.summary import Summary
from ml_connector.ingest.webhook_doors import WebhookDoors

log = get_logger()

START_DEADLINE_S: Final = 60.0
QUIET_S: Final = 0.3
WEBHOOKS: Final = "/webhooks/"


class Ingest:
    """The process: what it needs, in the order in which it starts and stops."""

    def __init__(self, settings: IngestSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._producer = Producer(
            settings.kafka(), linger_ms=2, message_timeout_s=settings.ack_deadline_s * 2, polled_by_loop=True
        )
        self._directory = Directory(settings)
        self._doors = WebhookDoors(self._directory)
        self._push_doors = PushDoors(self._directory)
        self.reporter = Reporter(
            self._doors, self._producer, clock, prefix=settings.topic_prefix, pushes=self._push_doors.counts
        )
        self.summary = Summary(self._doors.counts, clock)
        self._directory.on_flow(self.reporter.flow_changed)
        self._directory.on_secret(self.reporter.secret_changed)
        self.receiver = Receiver(
            self._doors,
            Publisher(self._producer, prefix=settings.topic_prefix),
            clock,
            self._give_up,
            ack_deadline_s=settings.ack_deadline_s,
            trusted_proxies=settings.trusted_proxies,
        )
        self.pushes = Receiver(
            self._push_doors,
            Publisher(self._producer, prefix=settings.topic_prefix, topic=topics.NETSUITE_REQUESTS),
            clock,
            self._give_up,
            ack_deadline_s=settings.ack_deadline_s,
            trusted_proxies=settings.trusted_proxies,
            path=PUSH_PATH,
            most_bytes=MOST_PUSHED_BYTES,
        )
        self.stop = asyncio.Event()
        self.stopping = False
        self.failure: MustStop | None = None

    async def start(self) -> None:
        settings = self._settings
        specs = [
            TopicSpec(topic.full_name(settings.topic_prefix), settings.partitions, {})
            for topic in (topics.EVENTS, topics.NETSUITE_REQUESTS)
        ]
        await asyncio.to_thread(refuse_other_partitions, settings.kafka(), specs)
        self._producer.start()
        measuring.read(metrics.DELIVERIES, self._doors.readings)
        await self._directory.start(Deadline.after(self._clock, START_DEADLINE_S))
        await self.reporter.tell()  # before the first delivery: who rotates a key must know whom to wait for
        self.receiver.ready = self.pushes.ready = True

    async def say_farewell(self, server: Server) -> None:
        """Not ready, and each answer ends its connection; then nobody new is let in, and who is in gets an answer."""
        self.stopping = server.stopping = True
        await self._clock.sleep(self._settings.farewell_s)
        server.refuse_newcomers()
        await self.drain(server)

    async def drain(self, server: Server) -> None:
        """Wait until every request has its answer, and for a moment no other one came."""
        deadline = Deadline.after(self._clock, self._settings.drain_s)
        answered_s = self._clock.monotonic_s()
        while not deadline.expired and self._clock.monotonic_s() - answered_s < QUIET_S:
            await self._clock.sleep(0.02)
            if server.in_flight:
                answered_s = self._clock.monotonic_s()

    async def close(self) -> None:
        await self.reporter.tell(left=True)
        await self._producer.close()
        await self._directory.close()

    def _give_up(self, error: MustStop) -> None:
        """A process that cannot publish any more ends, so that a new one can."""
        self.failure = error
        self.stop.set()

    def not_ready(self) -> str | None:
        """Why no delivery should be sent here; None when all is well."""
        if self.stopping:
            return "stopping"
        if not self.receiver.ready or not self._directory.ready:
            return "flows and secrets are not read to their end"
        problems = self._doors.problems()
        return problems[0] if problems else None


def make_around(ingest: Ingest) -> FastAPI:
    """All that is not the hot route."""
    around = FastAPI(
        openapi_url=None, telemetry={"tracing": False, "metrics": False, "logs": False}
    )  # no spans of probes, and of no query

    @around.get("/livez")
    async def livez() -> PlainTextResponse:
        return PlainTextResponse("ok\n")

    @around.get("/readyz")
    async def readyz() -> PlainTextResponse:
        problem = ingest.not_ready()
        return PlainTextResponse(f"{problem or 'ok'}\n", status_code=503 if problem else 200)

    return around


class Routes:
    """The hot route, that of pushes, and everything else; what is answered below /webhooks/ is counted."""

    def __init__(self, receiver: Receiver, pushes: Receiver, around: Asgi) -> None:
        self._receiver = receiver
        self._pushes = pushes
        self._around = around
        self._answers: dict[int, int] = defaultdict(int)
        self._answering_s = 0.0
        measuring.read(metrics.ANSWERS, self._readings)
        measuring.read(metrics.ANSWERING, lambda: [(self._answering_s, {})])

    def _route(self, request: Request) -> Route:
        if request.path.startswith(PATH):
            return self._receiver
        return self._pushes if request.path.startswith(PUSH_PATH) else self._around

    def admit(self, request: Request) -> Answer | None:
        return self._route(request).admit(request)

    def accept(self, request: Request) -> None:
        self._route(request).accept(request)

    def answered(self, request: Request, answer: Answer, took_s: float) -> None:
        if request.path.startswith(WEBHOOKS):
            self._answers[answer.status] += 1
            self._answering_s += took_s

    def _readings(self) -> list[measuring.Reading]:
        return [(count, {metrics.STATUS: str(status)}) for status, count in self._answers.items()]


def make_server(ingest: Ingest, settings: IngestSettings) -> Server:
    limits = Limits(
        body_bytes=settings.max_body_bytes,
        buffered_bytes=settings.max_buffered_bytes,
        head_deadline_s=settings.header_deadline_s,
        body_deadline_s=settings.body_deadline_s,
        connections=settings.max_connections,
    )
    routes = Routes(ingest.receiver, ingest.pushes, Asgi(make_around(ingest)))
    server = Server(routes, limits, host=settings.http_host, port=settings.http_port)
    measuring.read(metrics.IN_FLIGHT, lambda: [(server.in_flight, {})])
    return server


async def serve(settings: IngestSettings) -> None:
    """Run until SIGTERM or SIGINT: then stop accepting, answer what is in flight, flush.

    Raises MustStop when this process will not publish any more.
    """
    ingest = Ingest(settings, SystemClock())
    set_by_signal(ingest.stop)
    server = make_server(ingest, settings)
    server.start()
    aside = [asyncio.create_task(ingest.summary.run())]
    try:
        await ingest.start()
        aside.append(asyncio.create_task(ingest.reporter.run()))
        prefer_latency()
        log.info("serving", host=settings.http_host, port=server.port)
        async with serving_metrics(settings, ready=ingest.not_ready):
            await ingest.stop.wait()
            await ingest.say_farewell(server)
    finally:
        server.close()
        for task in aside:
            task.cancel()
        await ingest.close()
        await asyncio.to_thread(telemetry.shutdown)  # what it reads last is asked of this loop
    if ingest.failure is not None:
        raise ingest.failure


def main() -> None:
    process.run("ingest", IngestSettings, serve)
