"""What works on jobs does so on one of several replicas: the one that materializes, once it knows what others did."""

from __future__ import annotations

from typing import Final, Protocol

from ml_connector.common.clock import Deadline

LOOK_S: Final = 0.5  # between two looks at what is to be done
AGAIN_S: Final = 2.0  # after a failure
LEVEL_S: Final = 600.0  # nobody waits for an answer


class Leading(Protocol):
    """`leads`: of several replicas this one works. Level: what the topics held when it was asked has been read."""

    @property
    def leads(self) -> bool: ...

    async def until_level(self, deadline: Deadline) -> None: ...
