"""Timeouts for very many short waits: one timer for all of them, where `asyncio.timeout` sets one for each.

(Measured on the way of a webhook: 5 microseconds a wait less, a tenth of what a request costs; docs/performance.md.)
As all waits of one kind may take equally long, they expire in the order in which they began.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any


class Timeouts:
    """Blocks that may each take `after_s` seconds."""

    def __init__(self, after_s: float) -> None:
        self._after_s = after_s
        self.running: dict[Timeout, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def limit(self) -> Timeout:
        """`with timeouts.limit(): await ...` raises TimeoutError. All on one event loop."""
        return Timeout(self)

    def begin(self, limit: Timeout) -> asyncio.Task[object]:
        """The task that waits. (The loop is kept: asking asyncio for it each time doubles what this costs.)"""
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        if task is None:
            raise RuntimeError("a timeout needs a task")
        limit.ends_s = ends_s = loop.time() + self._after_s
        self.running[limit] = None
        if self._timer is None:
            self._timer = loop.call_at(ends_s, self._expire, loop)
        return task

    def _expire(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        while self.running:
            limit = next(iter(self.running))
            if limit.ends_s > loop.time():
                self._timer = loop.call_at(limit.ends_s, self._expire, loop)
                return
            del self.running[limit]
            limit.expire()


class Timeout:
    """One wait. As with `asyncio.timeout`, whoever else cancels the task meanwhile is not kept from it."""

    __slots__ = ("_cancelling", "_expired", "_task", "_timeouts", "ends_s")

    def __init__(self, timeouts: Timeouts) -> None:
        self._timeouts = timeouts
        self._expired = False
        self.ends_s = 0.0

    def __enter__(self) -> None:
        self._task = self._timeouts.begin(self)
        self._cancelling = self._task.cancelling()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._timeouts.running.pop(self, None)
        if self._expired and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def expire(self) -> None:
        self._expired = True
        self._task.cancel()


class Overdue:
    """Futures that shall be done within `after_s` seconds; one that is not gets an error."""

    def __init__(self, after_s: float, error: Callable[[], Exception] = TimeoutError) -> None:
        self._after_s = after_s
        self._error = error
        self._watched: deque[tuple[float, asyncio.Future[Any]]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """Futures that are remembered."""
        return len(self._watched)

    def watch(self, future: asyncio.Future[Any]) -> None:
        """All on one event loop."""
        watched = self._watched
        while watched and watched[0][1].done():
            watched.popleft()
        loop = future.get_loop()
        ends_s = loop.time() + self._after_s
        watched.append((ends_s, future))
        if self._timer is None:
            self._timer = loop.call_at(ends_s, self._expire, loop)

    def _expire(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        while self._watched:
            ends_s, future = self._watched[0]
            if ends_s > loop.time():
                self._timer = loop.call_at(ends_s, self._expire, loop)
                return
            self._watched.popleft()
            if not future.done():
                future.set_exception(self._error())
