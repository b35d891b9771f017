"""Do several things at once. One that fails lets the others come to their end before it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Made = TypeVar("Made")


async def together(*works: Coroutine[Any, Any, Made]) -> list[Made]:
    """What they return, in order. Raises the first failure among them."""
    made: list[Made] = []
    for one in await asyncio.gather(*works, return_exceptions=True):
        if isinstance(one, BaseException):
            raise one
        made.append(one)
    return made
