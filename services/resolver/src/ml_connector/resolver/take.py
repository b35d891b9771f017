"""Faust in its safe shell (facts/kafka.md section 1): nothing leaves the agent but success.

Faust acknowledges an event whose agent raised, so the agent never raises: what cannot be written ends the process
before anything is committed. One agent, concurrency 1; a batch is left only when every output is acknowledged.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import faust
from faust.utils.urls import urllist

from ml_connector.common.logs import get_logger
from ml_connector.resolver.faust_login import credentials
from ml_connector.resolver.faust_transport import Transport
from ml_connector.resolver.message import Message

log = get_logger()

BATCH: Final = 200
WITHIN_S: Final = 0.004  # how long a batch waits for more; part of every event's latency
EXIT_CODE: Final = 70

HandleBatch = Callable[[list[Message]], Awaitable[None]]
Owned = Callable[[frozenset[int]], Awaitable[None]]


def make_app(kafka: Mapping[str, str], *, group: str, topic: str, handle: HandleBatch, owned: Owned, home: str) -> Any:
    """A Faust app that hands over batches of `topic`. `owned` hears which partitions are ours after each change."""
    broker = f"kafka://{kafka['bootstrap.servers'].replace(',', ';kafka://')}"
    app = faust.App(
        group,
        broker=broker,
        broker_credentials=credentials(kafka),
        datadir=home,
        store="memory://",
        key_serializer="raw",
        value_serializer="raw",
        consumer_auto_offset_reset="earliest",
        stream_wait_empty=True,
        stream_buffer_maxsize=4096,
        broker_commit_interval=1.0,
        broker_session_timeout=20,
        broker_heartbeat_interval=3,
        topic_allow_declare=False,
        topic_disable_leader=True,
        producer_request_timeout=30,
        web_enabled=False,
        loghandlers=[],
    )
    app.transport = Transport(urllist(broker), app)
    source = app.topic(topic, key_type=bytes, value_type=bytes)

    @app.agent(source, concurrency=1)  # type: ignore[untyped-decorator]  # Faust is not typed
    async def take(stream: Any) -> None:
        async for events in stream.take_events(BATCH, within=WITHIN_S):
            await _survive(handle, [_message(event) for event in events])

    async def assigned(_: Any, partitions: Any, **__: Any) -> None:
        await owned(frozenset(place.partition for place in partitions if place.topic == topic))

    app.on_partitions_assigned.connect(assigned, weak=False)
    return app


async def _survive(handle: HandleBatch, messages: list[Message]) -> None:
    """Anything unexpected ends the process at once, without a last commit: the batch is read again."""
    try:
        await handle(messages)
    except asyncio.CancelledError:
        os._exit(EXIT_CODE)  # Faust would acknowledge what was cut off in the middle
    except BaseException as error:  # the top of the loop: what is not handled here, Faust loses
        log.error("batch_failed", records=len(messages), exc_info=error)
        os._exit(EXIT_CODE)


def _message(event: Any) -> Message:
    message = event.message
    headers = {name: value for name, value in dict(message.headers or ()).items() if value is not None}
    return Message(message.topic, message.partition, message.offset, message.key or b"", message.value or b"", headers)
