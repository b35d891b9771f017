"""Our short way through Faust's consumer ends as Faust's own does: a message is handed on at once, after a wait, or not."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from faust.transport.drivers import aiokafka

from ml_connector.resolver.message import Message
from ml_connector.resolver.take import make_app

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def consumer(tmp_path: Path) -> Any:
    """The one that the resolver's app would consume with; nothing is connected."""

    async def handle(_: list[Message]) -> None: ...

    async def owned(_: frozenset[int]) -> None: ...

    app = make_app(
        {"bootstrap.servers": "127.0.0.1:9"}, group="g", topic="t", handle=handle, owned=owned, home=str(tmp_path)
    )
    app.finalize()
    return app.consumer


async def handing_on(room: asyncio.Future[str] | None) -> str:
    """As Faust's conductor: where there is no room it waits, in a task of its own and else."""
    if room is not None:
        await asyncio.sleep(0)
        await asyncio.wait([room])
        return await room
    return "at once"


async def test_message_with_room_is_handed_on_without_a_task(consumer: Any) -> None:
    suspended = asyncio.Event()
    before = asyncio.all_tasks()
    waiting = consumer.wait_first(handing_on(None), suspended.wait())

    with pytest.raises(StopIteration) as ended:
        waiting.send(None)

    assert ended.value.value.results == ["at once"]
    assert asyncio.all_tasks() == before


async def test_message_without_room_is_handed_on_when_there_is(consumer: Any) -> None:
    room: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(consumer.wait_first(handing_on(room), asyncio.Event().wait()))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not waiting.done()

    room.set_result("later")

    assert (await waiting).results == ["later"]


async def test_suspended_flow_ends_the_wait_for_room(consumer: Any) -> None:
    """A full buffer must not hold up a rebalance."""
    room: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    suspended = asyncio.Event()
    begun: Any = handing_on(room)
    waiting = asyncio.create_task(consumer.wait_first(begun, suspended.wait()))
    for _ in range(5):
        await asyncio.sleep(0)

    suspended.set()
    await waiting
    for _ in range(5):
        await asyncio.sleep(0)

    assert begun.cr_frame is None, "it was cancelled, and has ended"


@pytest.mark.parametrize("waits", [False, True])
async def test_what_fails_while_it_is_handed_on_is_raised(consumer: Any, waits: bool) -> None:
    async def fails() -> None:
        if waits:
            await asyncio.sleep(0)
        raise LookupError("no such partition")

    with pytest.raises(LookupError):
        await consumer.wait_first(fails(), asyncio.Event().wait())


async def test_event_is_waited_for(consumer: Any) -> None:
    """While a flow is suspended, as in each rebalance, the consumer waits for one that says it goes on."""
    goes_on = asyncio.Event()
    waiting = asyncio.create_task(consumer.wait(goes_on))
    await asyncio.sleep(0)
    assert not waiting.done()

    goes_on.set()

    assert not (await waiting).stopped


async def test_consumer_is_fausts_but_for_that(consumer: Any) -> None:
    assert isinstance(consumer, aiokafka.Consumer)
    own = {name for name in vars(type(consumer)) if callable(getattr(type(consumer), name))}
    assert "wait_first" in own
    assert "_drain_messages" not in own
