"""Timeouts that share a timer behave as `asyncio.timeout` does."""

from __future__ import annotations

import asyncio

import pytest

from ml_connector.common.timeouts import Overdue, Timeouts

pytestmark = pytest.mark.asyncio


async def never() -> None:
    await asyncio.Event().wait()


async def test_what_takes_too_long_is_a_timeout_error() -> None:
    timeouts = Timeouts(0.01)
    for _ in range(2):  # the timer is set anew
        with pytest.raises(TimeoutError), timeouts.limit():
            await never()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_what_is_in_time_goes_on() -> None:
    timeouts = Timeouts(0.02)
    with timeouts.limit():
        await asyncio.sleep(0)
    await asyncio.sleep(0.04)  # nothing happens to whoever has left


async def test_each_has_its_own_time() -> None:
    """The first takes too long, those that begin later do not."""
    timeouts = Timeouts(0.1)
    late = asyncio.create_task(limited(timeouts, never()))
    await asyncio.sleep(0.06)
    in_time = [asyncio.create_task(limited(timeouts, asyncio.sleep(0.06, "done"))) for _ in range(5)]
    assert await late == "too late"
    assert await asyncio.gather(*in_time) == ["done"] * 5


async def limited(timeouts: Timeouts, work: object) -> object:
    try:
        with timeouts.limit():
            return await work  # type: ignore[misc]  # a coroutine of either kind
    except TimeoutError:
        return "too late"


async def test_another_cancellation_is_none_of_ours() -> None:
    timeouts = Timeouts(10)
    task = asyncio.create_task(limited(timeouts, never()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_errors_of_the_work_come_through() -> None:
    with pytest.raises(ValueError, match="its own"), Timeouts(10).limit():
        raise ValueError("its own")


async def test_future_that_is_overdue_gets_a_timeout_error() -> None:
    overdue, loop = Overdue(0.02), asyncio.get_running_loop()
    for _ in range(2):  # the timer is set anew
        late, in_time = loop.create_future(), loop.create_future()
        overdue.watch(in_time)
        overdue.watch(late)
        in_time.set_result("done")
        with pytest.raises(TimeoutError):
            await late
        assert in_time.result() == "done"


async def test_futures_that_are_done_are_forgotten() -> None:
    """At thousands of messages a second they would pile up until their time is over."""
    overdue, loop = Overdue(60), asyncio.get_running_loop()
    for _ in range(1000):
        future = loop.create_future()
        overdue.watch(future)
        future.set_result(None)
    assert overdue.waiting == 1
