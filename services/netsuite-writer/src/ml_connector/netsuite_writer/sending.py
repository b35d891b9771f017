"""What comparisons, polls and pushes say: to the audit, to the company's owner, and to who owns the account then."""

from __future__ import annotations

from typing import Protocol

from ml_connector.common import headers as h
from ml_connector.common import topics
from ml_connector.common.comparing import Compared, compared_key
from ml_connector.common.directory import LiveFlow
from ml_connector.common.drift import POLL, Poll, Polled, PolledKey
from ml_connector.common.headers import Headers
from ml_connector.common.kafka.partition import partition_for
from ml_connector.common.kafka.producer import Producer
from ml_connector.common.logs import get_logger
from ml_connector.common.settings import Settings
from ml_connector.common.syncing import SyncPage, page_headers
from ml_connector.common.topics import Topic
from ml_connector.common.traceparent import new_traceparent

log = get_logger()


class Flows(Protocol):
    def flow(self, name: str) -> LiveFlow | None: ...


class Sending:
    """All return once the broker has it, and raise TryLater."""

    def __init__(self, settings: Settings, producer: Producer, flows: Flows) -> None:
        self._settings = settings
        self._producer = producer
        self._flows = flows

    async def compared(self, compared: Compared) -> None:
        await self._send(topics.AUDIT, compared.account, compared_key(compared), compared.encode(), {})

    async def polled(self, polled: Polled) -> None:
        await self._send(topics.AUDIT, polled.account, str(PolledKey(polled.job_id, polled.page)), polled.encode(), {})

    async def poll(self, poll: Poll) -> None:
        headers = {h.KIND: POLL, h.FLOW: poll.flow.encode()}
        await self._send(topics.NETSUITE_REQUESTS, poll.account, poll.account, poll.encode(), headers)

    async def walk(self, page: SyncPage) -> None:
        live = self._flows.flow(page.flow)
        if live is None:
            log.error("walk_not_asked", id=page.job_id, flow=page.flow, problem="the flow is not known any more")
            return
        company = live.flow.pipedrive.company
        headers = {**page_headers(page), h.TRACEPARENT: new_traceparent().encode()}
        await self._send(topics.PIPEDRIVE_REQUESTS, company, company, page.encode(), headers)

    async def _send(self, topic: Topic, place: str, key: str, value: bytes, headers: Headers) -> None:
        await self._producer.send(
            topic.full_name(self._settings.topic_prefix),
            key=key.encode(),
            value=value,
            headers=headers,
            partition=partition_for(place.encode(), self._settings.partitions),
        )
