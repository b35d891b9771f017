"""Do what needs the broker until the broker has it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from ml_connector.common.clock import Clock
from ml_connector.common.errors import TryLater
from ml_connector.common.logs import get_logger

log = get_logger()

AGAIN_S: Final = 2.0


async def until_done(step: Callable[[], Awaitable[None]], clock: Clock, *, job_id: str) -> None:
    """Until it raises no TryLater."""
    while True:
        try:
            return await step()
        except TryLater as error:
            log.warning("request_waits", id=job_id, problem=str(error))
            await clock.sleep(AGAIN_S)
