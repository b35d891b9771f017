"""An awaitable, idempotent producer: the sync confluent Producer and who polls it, a thread or the event loop.

A thread's acknowledgements reach the event loop in batches, one wake-up each (facts/kafka.md section 2: the library's
own AIOProducer has no headers and answers after seconds). A loop that sends thousands a second better polls by itself,
every millisecond while something is under way: two threads that take turns with the GIL cost more than what they do.
Never: blocking the loop, losing an error.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message
from confluent_kafka import Producer as ConfluentProducer

from ml_connector.common import measuring, metrics
from ml_connector.common.errors import ConnectorError, DeliveryFailed, Fenced, ProducerFatal, QueueFull
from ml_connector.common.headers import Headers
from ml_connector.common.kafka.record import place_of
from ml_connector.common.topics import MAX_MESSAGE_BYTES

CONNECT_S: Final = 5.0
POLL_S: Final = 0.1  # how soon the thread notices that it shall end
TURN_S: Final = 0.001  # between two polls of the event loop, while something is under way

# Codes after which this producer will never deliver again.
_FENCED: Final = frozenset({KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED})


Done = Callable[[ConnectorError | None, Message], None]  # None: all in-sync replicas have the message


class Delivered(NamedTuple):
    """Where the broker put a message, after all in-sync replicas have it."""

    topic: str
    partition: int
    offset: int


def client_config(kafka: Mapping[str, str]) -> dict[str, Any]:
    """What all our clients share: back soon after an outage, and quiet, since errors reach the caller."""
    return {**kafka, "reconnect.backoff.ms": 50, "reconnect.backoff.max.ms": 1000, "log_level": 2}


def base_config(kafka: Mapping[str, str]) -> dict[str, Any]:
    """What all our producers share (DESIGN section 2)."""
    return {
        **client_config(kafka),
        "enable.idempotence": True,
        "acks": "all",
        "partitioner": "murmur2_random",
        "compression.type": "lz4",
        "allow.auto.create.topics": False,
        "message.max.bytes": MAX_MESSAGE_BYTES,
    }


def connect(client: ConfluentProducer | Consumer) -> None:
    """Be connected before the first real request: what finds no connection is tried again only half a second later.

    (Measured: 510 ms against 35 ms for the first acknowledgement.) No answer is no error here; the caller meets it.
    """
    with contextlib.suppress(KafkaException):
        client.list_topics(timeout=CONNECT_S)


def error_of(error: KafkaError) -> ConnectorError:
    """What the caller does next, from librdkafka's code."""
    if error.code() in _FENCED:
        return Fenced(f"another producer has taken over: {error.name()}")
    if error.fatal():
        return ProducerFatal(f"the Kafka client gave up: {error.name()}")
    return DeliveryFailed(f"the broker did not take the message: {error.name()}")


class Producer:
    """`await send(...)` returns when the broker has acknowledged."""

    def __init__(
        self,
        kafka: Mapping[str, str],
        *,
        linger_ms: float = 2,
        message_timeout_s: float = 10,
        queue_messages: int = 100_000,
        queue_kbytes: int = 256 * 1024,
        polled_by_loop: bool = False,
    ) -> None:
        self._producer = ConfluentProducer(
            {
                **base_config(kafka),
                "linger.ms": linger_ms,
                "message.timeout.ms": int(message_timeout_s * 1000),
                "queue.buffering.max.messages": queue_messages,
                "queue.buffering.max.kbytes": queue_kbytes,
            }
        )
        self._polled_by_loop = polled_by_loop
        self._done: deque[tuple[Done, KafkaError | None, Message]] = deque()
        self._under_way = 0
        self._waking = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="kafka-producer", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self.failing = False  # the last message that came back was not delivered

    def start(self) -> None:
        """Begin to deliver; call it on the event loop that awaits the acknowledgements."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def send(
        self,
        topic: str,
        *,
        value: bytes | None,
        key: bytes | None = None,
        headers: Headers | None = None,
        partition: int | None = None,
    ) -> Delivered:
        """Raises QueueFull, DeliveryFailed, Fenced or ProducerFatal."""
        return await self.send_nowait(topic, value=value, key=key, headers=headers, partition=partition)

    def send_nowait(
        self,
        topic: str,
        *,
        value: bytes | None,
        key: bytes | None = None,
        headers: Headers | None = None,
        partition: int | None = None,
    ) -> asyncio.Future[Delivered]:
        """Queue a message; the future has the acknowledgement or the error. Raises QueueFull at once."""
        if self._loop is None:
            raise RuntimeError("start() the producer first")
        future: asyncio.Future[Delivered] = self._loop.create_future()
        self.post(
            functools.partial(_resolve, future), topic, value=value, key=key, headers=headers, partition=partition
        )
        return future

    def post(
        self,
        done: Done,
        topic: str,
        *,
        value: bytes | None,
        key: bytes | None = None,
        headers: Headers | None = None,
        partition: int | None = None,
    ) -> None:
        """Queue a message; `done` hears on the event loop what became of it. Raises QueueFull or what is fatal."""
        loop = self._loop
        if loop is None:
            raise RuntimeError("start() the producer first")
        try:
            self._producer.produce(
                topic,
                value=value,
                key=key,
                headers=headers or None,  # type: ignore[arg-type]  # a dict of bytes will do; the stubs want it wider
                partition=-1 if partition is None else partition,
                on_delivery=functools.partial(self._delivered, done),
            )
        except BufferError as error:
            raise QueueFull("too many messages wait for the broker", after_s=1.0) from error
        except KafkaException as error:
            raise error_of(error.args[0]) from error
        if self._polled_by_loop and not self._under_way:
            loop.call_later(TURN_S, self._turn, loop)
        self._under_way += 1

    def queued(self) -> int:
        """Messages that the broker has not acknowledged yet."""
        return len(self._producer)

    async def flush(self, timeout_s: float) -> int:
        """Wait for what is queued; how many are left."""
        return await asyncio.to_thread(self._producer.flush, timeout_s)

    async def close(self, timeout_s: float = 10.0) -> None:
        """Flush, then end the thread."""
        await self.flush(timeout_s)
        self._stop.set()
        await asyncio.to_thread(self._thread.join)
        self._drain()

    def _poll(self) -> None:
        connect(self._producer)
        while not self._polled_by_loop and not self._stop.is_set():
            self._producer.poll(POLL_S)

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        self._producer.poll(0)
        self._drain()
        if self._under_way:
            loop.call_later(TURN_S, self._turn, loop)

    def _delivered(self, done: Done, error: KafkaError | None, message: Message) -> None:
        """On whichever thread polls or flushes."""
        self._done.append((done, error, message))
        if not self._polled_by_loop and not self._waking and self._loop is not None and not self._loop.is_closed():
            self._waking = True
            self._loop.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        self._waking = False
        while self._done:
            done, error, message = self._done.popleft()
            self._under_way -= 1
            self.failing = error is not None
            measuring.count(metrics.PRODUCED if error is None else metrics.PRODUCE_ERRORS)
            done(None if error is None else error_of(error), message)


def _resolve(future: asyncio.Future[Delivered], error: ConnectorError | None, message: Message) -> None:
    if future.done():
        return  # the caller's deadline was earlier
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(Delivered(*place_of(message)))
