"""The tasks of one account: a stop waits for its calls and breaks off everything else."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from ml_connector.common.logs import get_logger

log = get_logger()


class Tasks:
    """Of one account, within one assignment of its partition."""

    def __init__(self, account: str) -> None:
        self._account = account
        self._all: set[asyncio.Task[object]] = set()
        self._left: set[asyncio.Task[object]] = set()

    def spawn(self, work: Coroutine[Any, Any, object]) -> asyncio.Task[object]:
        """Something that a stop lets come to its end."""
        task: asyncio.Task[object] = asyncio.create_task(work)
        self._all.add(task)
        task.add_done_callback(self._ended)
        return task

    def spawn_left(self, work: Coroutine[Any, Any, object]) -> None:
        """Something that is left to the next owner: a batch, a pause."""
        self._left.add(self.spawn(work))

    async def stop(self, within_s: float) -> None:
        """Wait for what is in flight, then give it up."""
        for task in self._left:
            task.cancel()
        if calls := self._all - self._left:
            _, late = await asyncio.wait(calls, timeout=within_s)
            for task in late:
                task.cancel()
        await asyncio.gather(*self._all, return_exceptions=True)

    def _ended(self, task: asyncio.Task[object]) -> None:
        self._all.discard(task)
        self._left.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("record_stuck", account=self._account, exc_info=task.exception())
