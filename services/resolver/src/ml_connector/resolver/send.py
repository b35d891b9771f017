"""Write what follows from messages: in the order that the audit needs, and again until the broker has it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from ml_connector.common import headers as h
from ml_connector.common import spans, topics
from ml_connector.common.clock import Clock
from ml_connector.common.errors import ConnectorError, QueueFull, TryLater
from ml_connector.common.kafka.partition import partition_for
from ml_connector.common.kafka.producer import Delivered, Producer
from ml_connector.common.logs import get_logger
from ml_connector.common.telemetry import Carried
from ml_connector.common.traceparent import current
from ml_connector.resolver.gauges import count
from ml_connector.resolver.message import Output

log = get_logger()

AGAIN_S: Final = 0.5
NOTHING: Final = Carried("")  # an audit entry: it is part of what wrote it


class Sender:
    """Returns when all is acknowledged, however long that takes.

    To stop without a broker would restart every replica; one that is cut off alone loses its partitions anyway.
    """

    def __init__(self, producer: Producer, clock: Clock, *, prefix: str, partitions: int) -> None:
        self._producer = producer
        self._clock = clock
        self._places = {topic.name: (topic.full_name(prefix), topic.partitions(partitions)) for topic in topics.ALL}

    async def send(self, outputs: Sequence[Output]) -> None:
        """Dead letters first: an outcome must not claim what is not written."""
        first = [output for output in outputs if output.topic is topics.DEAD_LETTERS]
        rest = [output for output in outputs if output.topic is not topics.DEAD_LETTERS]
        for left in (first, rest):
            while left:
                left[:] = await self._some(left)

    async def _some(self, outputs: list[Output]) -> list[Output]:
        """Those that are still to be written."""
        waiting: list[tuple[Output, asyncio.Future[Delivered], Carried]] = []
        left: list[Output] = []
        written: list[Output] = []
        problem: ConnectorError | None = None
        for position, output in enumerate(outputs):
            span = self._span(output)
            try:
                waiting.append((output, self._queue(output, span), span))
            except QueueFull as error:
                left, problem = outputs[position:], error
                span.end(error)
                break
        for output, sent, span in waiting:
            try:
                where = await sent
            except TryLater as error:
                problem = error
                left.append(output)
                span.end(error)
            else:
                written.append(output)
                if span.recording:
                    spans.sent(span, where.partition, where.offset)
                    span.end()
        count(written)
        if problem is not None:
            log.warning("sending_again", records=len(left), problem=str(problem))
            await self._clock.sleep(AGAIN_S)
        return left

    def _span(self, output: Output) -> Carried:
        """Of what goes on as a trace. The next page of a walk begins one of its own, or walks would have no end."""
        parent = h.text(output.headers, h.TRACEPARENT)
        if parent:
            return spans.sending(self._places[output.topic.name][0], parent=parent)
        if output.topic is topics.PIPEDRIVE_REQUESTS:
            return spans.sending(self._places[output.topic.name][0], links=[current()])
        return NOTHING

    def _queue(self, output: Output, span: Carried) -> asyncio.Future[Delivered]:
        name, partitions = self._places[output.topic.name]
        headers = output.headers
        if span.recording or (span is not NOTHING and h.TRACEPARENT not in headers):
            headers = {**headers, h.TRACEPARENT: span.traceparent.encode()}
        return self._producer.send_nowait(
            name,
            key=output.key,
            value=output.value,
            headers=headers,
            partition=partition_for(output.partition_key, partitions),
        )
