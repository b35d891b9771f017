"""Answer what is asked of the accounts whose partitions are ours: `netsuite.requests` in, `connector.replies` out.

Read from the end on, nothing is committed: who gets no answer asks again. Beside the writing, never in its way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from confluent_kafka import OFFSET_END

from ml_connector.common import headers as h
from ml_connector.common import topics
from ml_connector.common.asking import Check, Checked
from ml_connector.common.errors import ConnectorError
from ml_connector.common.kafka.consumer import AssignedConsumer
from ml_connector.common.kafka.producer import Producer
from ml_connector.common.kafka.record import Record
from ml_connector.common.logs import get_logger
from ml_connector.common.settings import Settings

log = get_logger()

AT_ONCE: Final = 4  # answers under way; who asks beyond that gets none
_OTHERS: Final = frozenset({"compare", "census", "poll", "poll-stop", "pushed"})  # `requests.py`, `pushes.py`

Answers = Callable[[str, int], Awaitable[Checked]]  # to a flow's name and the partition that was asked


class Asked:
    """`start`, `run` until cancelled, `close`; `own` whenever partitions come or go."""

    def __init__(self, settings: Settings, producer: Producer, check: Answers) -> None:
        self._requests = AssignedConsumer(
            settings.kafka(), topic=topics.NETSUITE_REQUESTS.full_name(settings.topic_prefix)
        )
        self._replies = topics.REPLIES.full_name(settings.topic_prefix)
        self._producer = producer
        self._check = check
        self._owned: frozenset[int] = frozenset()
        self._changed = asyncio.Event()
        self._under_way: dict[asyncio.Task[None], int] = {}  # its partition

    def start(self) -> None:
        self._requests.start()

    async def close(self) -> None:
        self.own(frozenset())
        await asyncio.gather(*self._under_way, return_exceptions=True)
        await self._requests.close()

    def own(self, partitions: frozenset[int]) -> None:
        """These are ours, and no others; answers for others are given up."""
        if partitions == self._owned:
            return
        self._owned = partitions
        self._changed.set()
        for task, partition in tuple(self._under_way.items()):
            if partition not in partitions:
                task.cancel()

    async def run(self) -> None:
        """Until cancelled."""
        await asyncio.gather(self._follow(), self._read())

    async def _follow(self) -> None:
        followed: frozenset[int] = frozenset()
        while True:
            await self._changed.wait()
            self._changed.clear()
            owned = self._owned
            await self._requests.unassign(followed - owned)
            await self._requests.assign(dict.fromkeys(owned - followed, OFFSET_END))
            followed = owned

    async def _read(self) -> None:
        while True:
            records, _ = await self._requests.next()
            for record in records:
                self._take(record)

    def _take(self, record: Record) -> None:
        """Whatever cannot be answered is left out."""
        kind, request_id = h.text(record.headers, h.KIND), h.text(record.headers, h.REQUEST_ID)
        if record.partition not in self._owned or record.value is None or kind in _OTHERS:
            return
        if kind != "check" or not request_id:
            log.warning("request_unknown", partition=record.partition, offset=record.offset)
            return
        if len(self._under_way) >= AT_ONCE:
            log.warning("request_left_out", partition=record.partition, offset=record.offset, under_way=AT_ONCE)
            return
        task = asyncio.create_task(self._answer(record.value, record.partition, request_id))
        self._under_way[task] = record.partition
        task.add_done_callback(lambda done: self._under_way.pop(done, None))

    async def _answer(self, body: bytes, partition: int, request_id: str) -> None:
        try:
            checked = await self._check(Check.decode(body).flow, partition)
            await self._producer.send(self._replies, key=request_id.encode(), value=checked.encode(), partition=0)
        except ConnectorError as error:
            log.warning("request_not_answered", problem=str(error))
        except Exception as error:  # the top of a task: a fault of ours in a check must not end the writing
            log.error("check_failed", exc_info=error)
