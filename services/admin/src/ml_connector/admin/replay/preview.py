"""Ask the company's owner what the mapping would make of an event, and wait for the answer."""

from __future__ import annotations

import asyncio
import uuid
from typing import Final

from confluent_kafka import OFFSET_END

from ml_connector.admin.replay.issue import Issued
from ml_connector.common import headers as h
from ml_connector.common import topics
from ml_connector.common.errors import ConnectorError
from ml_connector.common.kafka.consumer import AssignedConsumer
from ml_connector.common.kafka.partition import partition_for
from ml_connector.common.kafka.producer import Producer
from ml_connector.common.logs import get_logger
from ml_connector.common.settings import Settings
from ml_connector.common.wire import Preview

log = get_logger()

ANSWER_S: Final = 30.0  # a resolver that is being replaced is back by then


class Previews:
    """Requests go to `pipedrive.requests`, answers come in `connector.replies`."""

    def __init__(self, settings: Settings, producer: Producer) -> None:
        self._settings = settings
        self._producer = producer
        self._replies = AssignedConsumer(settings.kafka(), topic=topics.REPLIES.full_name(settings.topic_prefix))
        self._asked: dict[str, asyncio.Future[Preview]] = {}

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
                waiting = self._asked.get((record.key or b"").decode("utf-8", "replace"))
                if waiting is None or waiting.done() or record.value is None:
                    continue
                try:
                    waiting.set_result(Preview.decode(record.value))
                except ConnectorError as error:
                    waiting.set_exception(error)

    async def ask(self, message: Issued) -> Preview:
        """Without an answer in time the result is `unresolved`. Raises TryLater, Malformed, UnknownSchema."""
        request_id = uuid.uuid4().hex
        answer = self._asked[request_id] = asyncio.get_running_loop().create_future()
        headers = {**message.headers, h.KIND: b"preview", h.REQUEST_ID: request_id.encode()}
        try:
            await self._producer.send(
                topics.PIPEDRIVE_REQUESTS.full_name(self._settings.topic_prefix),
                key=message.company,
                value=message.value,
                headers=headers,
                partition=partition_for(message.company, self._settings.partitions),
            )
            return await asyncio.wait_for(answer, ANSWER_S)
        except TimeoutError:
            reason = f"the resolver did not answer within {ANSWER_S:.0f} s"
            return Preview(request_id=request_id, result="unresolved", reason=reason)
        finally:
            del self._asked[request_id]
