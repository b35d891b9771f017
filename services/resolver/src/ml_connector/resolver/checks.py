"""Answer whoever asks for a check or the webhooks, beside the companies' queues: a slow Pipedrive would hold them up.

What is lost with its process is asked for again (`common/asking.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from ml_connector.common import headers as h
from ml_connector.common import topics
from ml_connector.common.asking import Check, ListIds, Webhooks
from ml_connector.common.clock import Clock
from ml_connector.common.codec import Wire
from ml_connector.common.errors import ConnectorError, Malformed
from ml_connector.common.flows import parse_flow
from ml_connector.common.logs import get_logger
from ml_connector.resolver.census import list_ids
from ml_connector.resolver.check import FITTING, check
from ml_connector.resolver.message import Message, Output
from ml_connector.resolver.plan import UNAPPLIED, FlowPlan, compile_flow
from ml_connector.resolver.subscribe import Clients, Subscriber

log = get_logger()

CHECK: Final = b"check"
WEBHOOKS: Final = b"webhooks"
LIST_IDS: Final = b"list-ids"
AT_ONCE: Final = 4  # of all companies

Emit = Callable[[Sequence[Output]], Awaitable[None]]


def asks_for_check(message: Message) -> bool:
    """Whether somebody wants to know if the Pipedrive side of a flow is well, to see or install its webhooks, or which
    objects there are."""
    return message.headers.get(h.KIND) in {CHECK, WEBHOOKS, LIST_IDS}


class Checks:
    """The answers that are under way."""

    def __init__(self, plan: Callable[[str], FlowPlan | None], clients: Clients, emit: Emit, clock: Clock) -> None:
        self._plan = plan
        self._clients = clients
        self._emit = emit
        self._clock = clock
        self._subscriber = Subscriber(clients)
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Semaphore(AT_ONCE)

    def begin(self, message: Message) -> None:
        """Returns at once."""
        task = asyncio.create_task(self._answer(message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _answer(self, message: Message) -> None:
        request_id = message.headers.get(h.REQUEST_ID, b"")
        try:
            if not request_id:
                raise Malformed("no request id")
            async with self._turn:
                found = await self._found(message)
            await self._emit([Output(topics.REPLIES, request_id, request_id, found.encode(), {})])
        except ConnectorError as error:
            log.error("check_failed", topic=message.topic, offset=message.offset, problem=str(error))

    async def _found(self, message: Message) -> Wire:
        if message.headers[h.KIND] == WEBHOOKS:
            wanted = Webhooks.decode(message.value)
            return await self._subscriber.answer(wanted, self._plan(wanted.flow))
        if message.headers[h.KIND] == LIST_IDS:
            listing = ListIds.decode(message.value)
            plan = self._plan(listing.flow)
            return await list_ids(listing, plan, None if plan is None else self._clients.client(plan), self._clock)
        asked = Check.decode(message.value)
        if asked.document is None:
            return await check(asked.flow, self._plan(asked.flow), self._clients, self._clock)
        unapplied = compile_flow(parse_flow(asked.document), UNAPPLIED)
        if unapplied.company.encode() != message.key:
            raise Malformed("the document is of another company")
        return await check(asked.flow, unapplied, self._clients, self._clock, only=FITTING)
