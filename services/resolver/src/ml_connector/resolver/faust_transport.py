"""Faust's Kafka transport, but that a message for which there is room is handed on at once.

Faust makes four tasks for each message and waits for the first of them, lest a full buffer hold up a rebalance. Nearly
always there is room: then none is needed.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Coroutine, Generator
from typing import Any

from faust.transport.drivers import aiokafka
from mode.services import WaitResults


class Consumer(aiokafka.Consumer):  # type: ignore[misc]  # Faust is not typed
    """It waits for a message to be handed on, unless the flow is suspended meanwhile; or for an event."""

    async def wait_first(self, handing_on: Any, *others: Any, timeout: Any = None) -> WaitResults:  # noqa: ASYNC109  it overrides
        """As `mode.Service` has it; what ends without waiting needs no tasks."""
        if not asyncio.iscoroutine(handing_on):
            return await super().wait_first(handing_on, *others, timeout=timeout)
        try:
            waits_for = handing_on.send(None)
        except BaseException as ended:  # in whatever way it ended, the others are not waited for
            for other in others:
                other.close()
            if isinstance(ended, StopIteration):
                return WaitResults([handing_on], [ended.value], False)
            raise
        return await super().wait_first(_go_on(handing_on, waits_for), *others, timeout=timeout)


class Transport(aiokafka.Transport):  # type: ignore[misc]  # Faust is not typed
    Consumer = Consumer


async def _go_on(begun: Coroutine[Any, Any, Any], waits_for: Any) -> Any:
    """The rest of a coroutine that has begun, and now waits for something."""
    return await _passed_through(begun, waits_for)


@types.coroutine
def _passed_through(begun: Coroutine[Any, Any, Any], waits_for: Any) -> Generator[Any, Any, Any]:
    while True:
        try:
            try:
                sent = yield waits_for
            except BaseException as error:  # noqa: BLE001  whatever it is, it is meant for the coroutine
                waits_for = begun.throw(error)
            else:
                waits_for = begun.send(sent)
        except StopIteration as done:
            return done.value
