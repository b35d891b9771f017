"""A transactional producer: what is sent together is seen together, and a former owner can record nothing.

All calls of one producer run on one thread of its own, never on the event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from confluent_kafka import KafkaException
from confluent_kafka import Producer as ConfluentProducer

from ml_connector.common import measuring, metrics
from ml_connector.common.errors import ConnectorError, DeliveryFailed
from ml_connector.common.headers import Headers
from ml_connector.common.kafka.producer import base_config, connect, error_of

INIT_TIMEOUT_S: Final = 30.0  # takes a second when the former owner left a transaction open (measured)
COMMIT_TIMEOUT_S: Final = 30.0
# The broker aborts a transaction that its producer left open; other owners wait no longer than this.
TRANSACTION_TIMEOUT_S: Final = 30.0
RETRY_PAUSE_S: Final = 0.1


@dataclass(slots=True)
class Transaction:
    """The messages of one commit."""

    messages: list[tuple[str, bytes | None, bytes | None, Headers | None, int | None]] = field(default_factory=list)

    def send(
        self,
        topic: str,
        *,
        value: bytes | None,
        key: bytes | None = None,
        headers: Headers | None = None,
        partition: int | None = None,
    ) -> None:
        self.messages.append((topic, key, value, headers, partition))


class TransactionalProducer:
    """One `transactional_id`, one owner: `init` fences whoever used it before."""

    def __init__(self, kafka: Mapping[str, str], transactional_id: str) -> None:
        self._producer = ConfluentProducer(
            {
                **base_config(kafka),
                "transactional.id": transactional_id,
                "transaction.timeout.ms": int(TRANSACTION_TIMEOUT_S * 1000),
                "linger.ms": 0,
            }
        )
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="kafka-transaction")

    async def init(self) -> None:
        """Take over. Raises DeliveryFailed when the broker cannot be asked, Fenced, ProducerFatal."""
        await self._run(self._init)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Commit on leaving; nothing is sent when the block raises.

        Raises Fenced or ProducerFatal (stop), DeliveryFailed (aborted: the same again may work).
        """
        transaction = Transaction()
        yield transaction
        if transaction.messages:
            await self._run(self._commit, transaction)

    async def close(self) -> None:
        """End the thread; an open transaction is left to the broker's time-out or to the next owner."""
        await asyncio.to_thread(self._thread.shutdown, wait=True)

    async def _run(self, function: object, *arguments: object) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)  # type: ignore[arg-type]  # bound methods below

    def _init(self) -> None:
        connect(self._producer)
        try:
            self._producer.init_transactions(INIT_TIMEOUT_S)
        except KafkaException as error:
            raise error_of(error.args[0]) from error

    def _commit(self, transaction: Transaction) -> None:
        try:
            self._producer.begin_transaction()
            for topic, key, value, headers, partition in transaction.messages:
                self._producer.produce(
                    topic,
                    key=key,
                    value=value,
                    headers=list(headers.items()) if headers else None,
                    partition=-1 if partition is None else partition,
                )  # whether they arrived, the commit tells for all: a callback for each would want for the GIL
            self._finish()
        except (KafkaException, BufferError) as error:
            measuring.count(metrics.PRODUCE_ERRORS)
            raise self._abort(error) from error

    def _finish(self) -> None:
        """Commit; the library allows the same call again after a retriable error."""
        deadline = time.monotonic() + COMMIT_TIMEOUT_S
        while True:
            try:
                self._producer.commit_transaction(COMMIT_TIMEOUT_S)
            except KafkaException as error:
                if not error.args[0].retriable() or time.monotonic() > deadline:
                    raise
                time.sleep(RETRY_PAUSE_S)
            else:
                return

    def _abort(self, cause: KafkaException | BufferError) -> ConnectorError:
        """What to raise, after the transaction is out of the way."""
        found = error_of(cause.args[0]) if isinstance(cause, KafkaException) else DeliveryFailed("the queue is full")
        if isinstance(found, DeliveryFailed):
            try:
                self._producer.abort_transaction(COMMIT_TIMEOUT_S)
            except KafkaException as error:
                return error_of(error.args[0])
        return found
