"""Work for many companies: some at a time, and one that does not answer holds up no other."""

from __future__ import annotations

import asyncio

import pytest

from ml_connector.common.errors import MustStop
from ml_connector.resolver.several import AT_ONCE, several


async def test_one_that_does_not_answer_holds_up_no_other_and_few_are_under_way_at_a_time() -> None:
    answered = asyncio.Event()
    done: list[int] = []
    under_way: set[int] = set()
    most = 0

    async def work(number: int) -> None:
        nonlocal most
        under_way.add(number)
        most = max(most, len(under_way))
        await (answered.wait() if number == 0 else asyncio.sleep(0))
        under_way.discard(number)
        done.append(number)
        if len(done) == 999:
            answered.set()

    async with asyncio.timeout(10):
        await several(range(1000), work)

    assert (sorted(done), done[-1], most) == (list(range(1000)), 0, AT_ONCE)


async def test_what_ends_the_process_ends_all_that_is_under_way() -> None:
    begun: list[int] = []

    async def work(number: int) -> None:
        begun.append(number)
        if number == 1:
            raise MustStop("fenced")
        await asyncio.Event().wait()

    with pytest.raises(MustStop, match="fenced"):
        await several(range(1000), work)

    assert begun == list(range(AT_ONCE))
    assert len(asyncio.all_tasks()) == 1
