"""Do what needs the broker until the broker has it; ask NetSuite until it answers, for an hour at most."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from ml_connector.common.clock import Clock
from ml_connector.common.errors import TryLater
from ml_connector.common.logs import get_logger

log = get_logger()

AGAIN_S: Final = 2.0
GIVES_UP_S: Final = 3600.0  # without NetSuite's answer: others of the partition wait, and what was asked gets old

T = TypeVar("T")


async def until_done(step: Callable[[], Awaitable[None]], clock: Clock, *, job_id: str) -> None:
    """Until it raises no TryLater."""
    while True:
        try:
            return await step()
        except TryLater as error:
            log.warning("request_waits", id=job_id, problem=str(error))
            await clock.sleep(AGAIN_S)


async def until_answered(
    step: Callable[[], Awaitable[T]], given_up: Callable[[str], T], clock: Clock, *, what: str, job_id: str, entity: str
) -> T:
    """Until it raises no TryLater. `given_up` says what stands for it when it does for an hour, or by a fault of ours.

    `what`: begins the names of the events that are logged.
    """
    until_s = clock.monotonic_s() + GIVES_UP_S
    while True:
        try:
            return await step()
        except TryLater as error:
            if clock.monotonic_s() >= until_s:
                return given_up(f"given up after an hour: {error}")
            log.info(f"{what}_waits", id=job_id, entity=entity, problem=str(error))
        except Exception as error:  # the top of a task: a fault of ours must not end the writing
            log.error(f"{what}_failed", id=job_id, entity=entity, exc_info=error)
            return given_up(f"a fault of ours: {type(error).__name__}")
        await clock.sleep(AGAIN_S)
