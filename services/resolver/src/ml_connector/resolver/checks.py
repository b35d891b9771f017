"""Answer whoever asks for a check, beside the companies' queues: a slow Pipedrive would hold them up.

A check that is lost with its process is asked for again (`common/asking.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from ml_connector.common import headers as h
from ml_connector.common import topics
from ml_connector.common.asking import Check
from ml_connector.common.clock import Clock
from ml_connector.common.errors import ConnectorError, Malformed
from ml_connector.common.logs import get_logger
from ml_connector.resolver.check import Clients, check
from ml_connector.resolver.message import Message, Output
from ml_connector.resolver.plan import FlowPlan

log = get_logger()

CHECK: Final = b"check"
AT_ONCE: Final = 4  # of all companies

Emit = Callable[[Sequence[Output]], Awaitable[None]]


def asks_for_check(message: Message) -> bool:
    """Whether somebody wants to know if the Pipedrive side of a flow is well."""
    return message.headers.get(h.KIND) == CHECK


class Checks:
    """The checks that are under way."""

    def __init__(self, plan: Callable[[str], FlowPlan | None], clients: Clients, emit: Emit, clock: Clock) -> None:
        self._plan = plan
        self._clients = clients
        self._emit = emit
        self._clock = clock
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
            flow = Check.decode(message.value).flow
            async with self._turn:
                found = await check(flow, self._plan(flow), self._clients, self._clock)
            await self._emit([Output(topics.REPLIES, request_id, request_id, found.encode(), {})])
        except ConnectorError as error:
            log.error("check_failed", topic=message.topic, offset=message.offset, problem=str(error))
