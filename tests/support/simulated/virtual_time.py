"""An event loop whose time jumps to the next timer, the clock that follows it, and processes that can be killed in it.

Nothing waits in real time: when nothing is ready, time moves to the next timer. No file, socket or thread.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

EPOCH_S = 1_700_000_000.0
STEPS_WITHOUT_TIME = 50_000  # rounds of the loop at one moment; far fewer are needed for all that a case does at once


class Stuck(AssertionError):
    """Nothing will ever happen again, or things happen without end while no time passes."""


class _Waiting:
    """In place of a selector: to wait is to move the time."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self._steps = 0

    def select(self, timeout_s: float | None) -> list[Any]:
        if timeout_s is None:
            raise Stuck("nothing is left to wait for")
        self._steps = 0 if timeout_s > 0 else self._steps + 1
        if self._steps > STEPS_WITHOUT_TIME:
            self._steps = 0
            raise Stuck("things happen without end while no time passes")
        self.now_s += max(0.0, timeout_s)
        return []


class VirtualLoop(asyncio.BaseEventLoop):
    """Knows for each process its tasks and timers."""

    _scheduled: list[asyncio.TimerHandle]

    def __init__(self) -> None:
        super().__init__()
        self._selector = _Waiting()
        self.problems: list[str] = []
        self.set_exception_handler(lambda _, context: self.problems.append(f"unhandled: {context}"))

    def time(self) -> float:
        return self._selector.now_s

    def create_task(
        self, coro: Any, *, name: object = None, context: contextvars.Context | None = None
    ) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=self, context=context)
        process = PROCESS.get() if context is None else context.get(PROCESS, None)
        if process is not None:
            process.tasks.add(task)
            task.add_done_callback(process.tasks.discard)
        return task

    def end(self) -> None:
        """Whatever still runs is given up."""
        self._scheduled.clear()
        for _ in range(2):
            for task in asyncio.all_tasks(self):
                task.cancel()
            self.run_until_complete(asyncio.sleep(0))
        self.close()

    def cancel_timers_of(self, process: Process) -> None:
        for handle in self._scheduled:
            if getattr(handle, "_context").get(PROCESS, None) is process:  # noqa: B009  no public way to a handle's context
                handle.cancel()

    def _process_events(self, event_list: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody waits in another thread."""


class Process:
    """All that was started within it, and all that this started. It can be killed at any moment."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.tasks: set[asyncio.Task[Any]] = set()
        self.dead = False
        self.cut_off = False  # it lives, but cannot reach the broker
        self._loop = loop
        self._context = contextvars.Context()
        self._context.run(PROCESS.set, self)

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        return self._loop.create_task(work, context=self._context.copy())

    def call(self, function: Callable[[], T]) -> T:
        return self._context.copy().run(function)

    def must_live(self) -> None:
        """Before everything that the world would see: the dead do nothing, whatever their clean-up wants."""
        if self.dead:
            raise asyncio.CancelledError

    async def kill(self) -> None:
        """At this moment, wherever each of its tasks is. No time passes."""
        self.dead = True
        while True:
            self._loop.cancel_timers_of(self)
            tasks = [task for task in self.tasks if not task.done()]
            if not tasks:
                return
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


PROCESS: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)
NOBODY = contextvars.Context()  # for what belongs to no process


class LoopClock:
    """The clock of a virtual loop."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def now_s(self) -> float:
        return EPOCH_S + self._loop.time()

    def now_ms(self) -> int:
        return int(self.now_s() * 1000)

    def monotonic_s(self) -> float:
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
