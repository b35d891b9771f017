"""What works on jobs does so on one of several replicas: the one that materializes, once it knows what others did."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from ml_connector.common.clock import Clock, Deadline
from ml_connector.common.logs import get_logger

log = get_logger()

LOOK_S: Final = 0.5  # between two looks at what is to be done
AGAIN_S: Final = 2.0  # after a failure
LEVEL_S: Final = 600.0  # nobody waits for an answer


class Leading(Protocol):
    """`leads`: of several replicas this one works. Level: what the topics held when it was asked has been read."""

    @property
    def leads(self) -> bool: ...

    async def until_level(self, deadline: Deadline) -> None: ...


class Level:
    """Whether this process knows what another replica has done, or its database forgot, since it leads."""

    def __init__(self, leading: Leading, clock: Clock) -> None:
        self._leading = leading
        self._clock = clock
        self._reached = False

    def leads(self) -> bool:
        """While it does not, others act."""
        self._reached &= self._leading.leads
        return self._leading.leads

    async def reach(self) -> bool:
        """Whether that was news: what was read before it may be old. Raises TryLater."""
        if self._reached:
            return False
        await self._leading.until_level(Deadline.after(self._clock, LEVEL_S))
        self._reached = True
        return True


async def keep_looking(look: Callable[[], Awaitable[None]], clock: Clock, *, every_s: float, waits: str) -> None:
    """Until cancelled. `waits`: the event that is logged when a look fails."""
    while True:
        wait_s = every_s
        try:
            await look()
        except Exception as error:  # the broker, the database: it is the same to look again
            log.warning(waits, exc_info=error)
            wait_s = AGAIN_S
        await clock.sleep(wait_s)
