"""The one thread that may touch a confluent Consumer; the event loop asks it for what it wants done.

librdkafka's consumer serialises all calls across threads, so a call from elsewhere would wait for a poll
(facts/kafka.md section 2). Polls are short; requests run between them.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any, Final, TypeVar

from confluent_kafka import Consumer, KafkaError, Message

from ml_connector.common.errors import DeliveryFailed
from ml_connector.common.kafka.producer import connect
from ml_connector.common.kafka.record import Record, of_message
from ml_connector.common.logs import get_logger

log = get_logger()

T = TypeVar("T")

POLL_S: Final = 0.05  # how long a request may wait for its turn
BATCH: Final = 500  # messages handed over at once
CLOSE_S: Final = 60.0  # librdkafka was seen to hang in close once its topic had been deleted: we end all the same


class OwnerThread:
    """Polls and hands over; `deliver(records, ended partitions)` is called on the event loop, in order.

    `epoch`: differs for each time that a partition was assigned, asked on the thread. A poll may take partitions away
    and bring them again: what was read of them before is dropped, ends above all.
    """

    def __init__(
        self,
        config: dict[str, Any],
        *,
        name: str,
        deliver: Callable[[list[Record], list[int]], None],
        failed: Callable[[KafkaError], None],
        crashed: Callable[[Exception], None],
        epoch: Callable[[int], int | None],
    ) -> None:
        self._config = config
        self._deliver = deliver
        self._failed = failed
        self._crashed = crashed
        self._epoch = epoch
        self._requests: queue.SimpleQueue[Callable[[Consumer], None]] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._polling = threading.Event()
        self._polling.set()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def call(self, function: Callable[[Consumer], T]) -> asyncio.Future[T]:
        """Run `function` on the owning thread between two polls."""
        future: asyncio.Future[T] = self._loop.create_future()

        def run(consumer: Consumer) -> None:
            try:
                result = function(consumer)
            except BaseException as error:  # noqa: BLE001  whoever awaits the future gets it
                self._tell(_fail, future, error)
            else:
                self._tell(_resolve, future, result)

        self._requests.put(run)
        return future

    def hold(self, held: bool) -> None:
        """Poll no more for now. Not for members of a group: who does not poll for minutes loses its partitions."""
        if held:
            self._polling.clear()
        else:
            self._polling.set()

    async def close(self) -> None:
        """Leave the group (revoke callbacks run) and end the thread."""
        self._stop.set()
        await asyncio.to_thread(self._thread.join, CLOSE_S)
        if self._thread.is_alive():
            log.error("consumer_not_closed", thread=self._thread.name, after_s=CLOSE_S)

    def wait_for(self, coroutine: Any, timeout_s: float) -> Any:
        """For callbacks on the owning thread: run a coroutine on the event loop and wait for it."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout_s)

    def _run(self) -> None:
        consumer = Consumer(self._config)
        connect(consumer)
        try:
            while not self._stop.is_set():
                self._run_requests(consumer)
                self._poll(consumer)
            self._run_requests(consumer)
        except Exception as error:  # noqa: BLE001  the top of a thread: whoever reads next is told
            self._tell(self._crashed, error)
        finally:
            consumer.close()

    def _run_requests(self, consumer: Consumer) -> None:
        while not self._requests.empty():
            self._requests.get()(consumer)

    def _poll(self, consumer: Consumer) -> None:
        if not self._polling.wait(POLL_S):
            return
        polled: list[tuple[Message, int | None]] = []
        message = consumer.poll(POLL_S)
        while message is not None:
            polled.append((message, self._epoch_of(message)))
            message = consumer.poll(0) if len(polled) < BATCH else None
        records: list[Record] = []
        ended: list[int] = []
        for message, epoch in polled:
            if epoch == self._epoch_of(message):
                self._sort(message, records, ended)
        if records or ended:
            self._tell(self._deliver, records, ended)

    def _epoch_of(self, message: Message) -> int | None:
        return self._epoch(message.partition() or 0)

    def _sort(self, message: Message, records: list[Record], ended: list[int]) -> None:
        error = message.error()
        if error is None:
            records.append(of_message(message))
        elif error.code() == KafkaError._PARTITION_EOF:
            ended.append(message.partition() or 0)
        else:
            self._tell(self._failed, error)

    def _tell(self, function: Callable[..., None], *arguments: Any) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *arguments)


def _resolve(future: asyncio.Future[T], result: T) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[T], error: BaseException) -> None:
    if not future.done():
        future.set_exception(DeliveryFailed(type(error).__name__) if isinstance(error, StopIteration) else error)
