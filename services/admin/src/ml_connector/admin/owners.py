"""Ask the owner of a company or an account something, and wait for the answer.

Requests go to `pipedrive.requests` and `netsuite.requests`, answers come in `connector.replies`. What ingest tells of
itself there is passed on.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from confluent_kafka import OFFSET_END

from ml_connector.common import headers as h
from ml_connector.common import topics
from ml_connector.common.asking import INGEST
from ml_connector.common.codec import Wire
from ml_connector.common.errors import TryLater
from ml_connector.common.kafka.consumer import AssignedConsumer
from ml_connector.common.kafka.partition import partition_for
from ml_connector.common.kafka.producer import Producer
from ml_connector.common.settings import Settings
from ml_connector.common.topics import Topic

ANSWER_S: Final = 30.0  # a process that is being replaced is back by then

W = TypeVar("W", bound=Wire)


class NoAnswer(TryLater):
    """The owner did not answer in time: it may be starting, or busy, or not there."""


class Owners:
    """`start`, `run` until cancelled, `close`; `ask` as often as you like meanwhile."""

    def __init__(
        self, settings: Settings, producer: Producer, *, hear: Callable[[str, bytes], None] = lambda _, __: None
    ) -> None:
        """`hear`: key and value of each message of ingest."""
        self._settings = settings
        self._hear = hear
        self._producer = producer
        self._replies = AssignedConsumer(settings.kafka(), topic=topics.REPLIES.full_name(settings.topic_prefix))
        self._asked: dict[str, asyncio.Future[bytes]] = {}

    async def start(self) -> None:
        self._replies.start()
        await self._replies.assign({0: OFFSET_END})

    async def close(self) -> None:
        await self._replies.close()

    async def run(self) -> None:
        """Until cancelled: hand out the answers."""
        while True:
            records, _ = await self._replies.next()
            for record in records:
                if record.key is not None and record.value is not None:
                    self._take(record.key.decode("utf-8", "replace"), record.value)

    def _take(self, key: str, value: bytes) -> None:
        waiting = self._asked.get(key)
        if key.startswith(INGEST):
            self._hear(key, value)
        elif waiting is not None and not waiting.done():
            waiting.set_result(value)

    async def ask(
        self,
        topic: Topic,
        whose: str,
        kind: str,
        *,
        body: bytes,
        answer: type[W],
        headers: Mapping[str, bytes] | None = None,
        within_s: float = ANSWER_S,
    ) -> W:
        """`whose`: the company or the account. Raises NoAnswer, TryLater, Malformed, UnknownSchema."""
        request_id = uuid.uuid4().hex
        coming = self._asked[request_id] = asyncio.get_running_loop().create_future()
        try:
            await self._producer.send(
                topic.full_name(self._settings.topic_prefix),
                key=whose.encode(),
                value=body,
                headers={**(headers or {}), h.KIND: kind.encode(), h.REQUEST_ID: request_id.encode()},
                partition=partition_for(whose.encode(), self._settings.partitions),
            )
            return answer.decode(await asyncio.wait_for(coming, within_s))
        except TimeoutError as error:
            service = "resolver" if topic is topics.PIPEDRIVE_REQUESTS else "netsuite-writer"
            raise NoAnswer(f"the {service} did not answer within {within_s:.0f} s") from error
        finally:
            del self._asked[request_id]
