"""Wire ingest: directory, doors, publisher, server. The only place where real adapters meet the rules."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, MutableMapping
from typing import Any, Final

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from ml_connector.common import logs, measuring, metrics, telemetry, topics
from ml_connector.common.clock import Clock, Deadline, SystemClock
from ml_connector.common.directory import Directory
from ml_connector.common.errors import ConnectorError, InvalidSettings, MustStop
from ml_connector.common.health import serving_metrics
from ml_connector.common.kafka.admin import TopicSpec, refuse_other_partitions
from ml_connector.common.kafka.producer import Producer
from ml_connector.common.logs import get_logger
from ml_connector.common.memory import rarely_collect
from ml_connector.common.ports import free_port
from ml_connector.ingest.doors import Doors
from ml_connector.ingest.listening import refuse_newcomers
from ml_connector.ingest.publish import Publisher
from ml_connector.ingest.receive import PATH, SILENT, Limits, Receive, Receiver, Scope, Send
from ml_connector.ingest.report import Reporter
from ml_connector.ingest.settings import IngestSettings

log = get_logger()

START_DEADLINE_S: Final = 60.0
QUIET_S: Final = 0.3
SUMMARY_EVERY_S: Final = 60.0
BACKLOG: Final = 2048
MAX_HEADER_BYTES: Final = 32 * 1024


class Ingest:
    """The process: what it needs, in the order in which it starts and stops."""

    def __init__(self, settings: IngestSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._producer = Producer(settings.kafka(), linger_ms=2, message_timeout_s=settings.ack_deadline_s * 2)
        self._directory = Directory(settings)
        self._doors = Doors(self._directory)
        self.reporter = Reporter(self._doors, self._producer, clock, prefix=settings.topic_prefix)
        self._directory.on_change(self.reporter.changed)
        publisher = Publisher(self._producer, prefix=settings.topic_prefix, ack_deadline_s=settings.ack_deadline_s)
        limits = Limits(
            settings.max_body_bytes, settings.max_buffered_bytes, settings.body_deadline_s, settings.trusted_proxies
        )
        self.receiver = Receiver(self._doors, publisher, clock, limits, self._give_up)
        self.stop = asyncio.Event()
        self.failure: MustStop | None = None

    async def start(self) -> None:
        settings = self._settings
        events = TopicSpec(topics.EVENTS.full_name(settings.topic_prefix), settings.partitions, {})
        await asyncio.to_thread(refuse_other_partitions, settings.kafka(), [events])
        self._producer.start()
        measuring.read(metrics.DELIVERIES, self._doors.readings)
        measuring.read(metrics.ANSWERING, lambda: [(self.receiver.answering_s, {})])
        measuring.read(metrics.IN_FLIGHT, lambda: [(self.receiver.in_flight, {})])
        await self._directory.start(Deadline.after(self._clock, START_DEADLINE_S))
        await self.reporter.tell()  # before the first delivery: who rotates a key must know whom to wait for
        self.receiver.ready = True

    async def say_farewell(self, port: int) -> None:
        """Not ready, and each answer ends its connection; then nobody new is let in, and who is in gets an answer."""
        self.receiver.stopping = True
        await self._clock.sleep(self._settings.farewell_s)
        refuse_newcomers(port)
        await self.drain()

    async def drain(self) -> None:
        """Wait until every request has its answer, and for a moment no other one came."""
        deadline = Deadline.after(self._clock, self._settings.drain_s)
        answered_s = self._clock.monotonic_s()
        while not deadline.expired and self._clock.monotonic_s() - answered_s < QUIET_S:
            await self._clock.sleep(0.02)
            if self.receiver.in_flight:
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
        if self.receiver.stopping:
            return "stopping"
        if not self.receiver.ready or not self._directory.ready:
            return "flows and secrets are not read to their end"
        problems = self._doors.problems()
        return problems[0] if problems else None

    async def summarize(self) -> None:
        """One log line a minute and flow, instead of one a request."""
        while True:
            await self._clock.sleep(SUMMARY_EVERY_S)
            for flow, counts in self._doors.counts().items():
                log.info(
                    "deliveries",
                    flow=flow,
                    count=counts.accepted,
                    refused=counts.refused,
                    unavailable=counts.unavailable,
                )


def make_asgi(ingest: Ingest) -> Any:
    """The hot route first; everything else is FastAPI's."""
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

    receiver = ingest.receiver

    def app(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "http" and scope["path"].startswith(PATH):
            return receiver(scope, receive, send)
        return around(scope, receive, silently(send))

    return app


def silently(send: Send) -> Send:
    async def send_silently(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [SILENT, *message["headers"]]
        await send(message)

    return send_silently


def make_server(ingest: Ingest, settings: IngestSettings, port: int) -> Server:
    """granian, because it has a deadline for headers."""
    return Server(
        make_asgi(ingest),
        address=settings.http_host,
        port=port,
        interface=Interfaces.ASGINL,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(
            header_read_timeout=int(settings.header_deadline_s * 1000), max_buffer_size=MAX_HEADER_BYTES
        ),
        websockets=False,
        backlog=BACKLOG,
        backpressure=settings.max_connections,
        log_enabled=False,
    )


async def serve(settings: IngestSettings) -> None:
    """Run until SIGTERM or SIGINT: then stop accepting, answer what is in flight, flush.

    Raises MustStop when this process will not publish any more.
    """
    ingest = Ingest(settings, SystemClock())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ingest.stop.set)
    port = settings.http_port or free_port(settings.http_host)
    server = make_server(ingest, settings, port)
    serving = asyncio.create_task(server.serve())
    aside = [asyncio.create_task(ingest.summarize())]
    try:
        await ingest.start()
        aside.append(asyncio.create_task(ingest.reporter.run()))
        rarely_collect()
        log.info("serving", host=settings.http_host, port=port)
        async with serving_metrics(settings, ready=ingest.not_ready):
            stopped = asyncio.create_task(ingest.stop.wait())
            await asyncio.wait([serving, stopped], return_when=asyncio.FIRST_COMPLETED)
            await ingest.say_farewell(port)
    finally:
        server.stop()  # type: ignore[no-untyped-call]  # granian declares no types here
        await asyncio.gather(serving, return_exceptions=True)
        await ingest.drain()
        for task in aside:
            task.cancel()
        await ingest.close()
        telemetry.shutdown()
    if ingest.failure is not None:
        raise ingest.failure


def main() -> None:
    """Exit code 0 after a signal, 1 when it cannot go on, 2 for wrong settings."""
    import uvloop

    try:
        settings = IngestSettings.load()
        logs.configure("ingest", level=settings.log_level, form=settings.log_format)
        telemetry.configure("ingest")
        uvloop.run(serve(settings))
    except InvalidSettings as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(2) from error
    except ConnectorError as error:
        log.error("must_stop", problem=str(error))
        raise SystemExit(1) from error
