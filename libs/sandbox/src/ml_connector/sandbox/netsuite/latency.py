"""How long requests take: fixed, or log-normal as servers are, by kind of request."""

from __future__ import annotations

import asyncio
import math
import random
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Kind = Literal["read", "write", "query", "job", "token"]


class Delay(BaseModel):
    """`fixed_ms`, or a log-normal around `median_ms`; `sigma` 0.5 puts p99 at about 3.2 times the median."""

    model_config = ConfigDict(extra="forbid")

    fixed_ms: Annotated[float, Field(ge=0)] = 0.0
    median_ms: Annotated[float | None, Field(gt=0)] = None
    sigma: Annotated[float, Field(ge=0, le=3)] = 0.5
    most_ms: Annotated[float, Field(gt=0)] = 900_000.0  # Oracle cuts a synchronous request after 15 minutes

    def draw_ms(self, chance: random.Random) -> float:
        if self.median_ms is None:
            return self.fixed_ms
        return min(self.most_ms, chance.lognormvariate(math.log(self.median_ms), self.sigma))


class Latency:
    """`other` holds for kinds that are not named."""

    def __init__(self, fixed_ms: float = 0.0) -> None:
        self.set({"other": {"fixed_ms": fixed_ms}})

    def set(self, facts: dict[str, dict[str, float]], seed: int = 0) -> None:
        """For all accounts. Raises ValueError (pydantic's) for unknown members."""
        self._delays = _read(facts)
        self._of_account: dict[str, dict[str, Delay]] = {}
        self._chance = random.Random(seed)  # noqa: S311  a model, no secret

    def set_for(self, account: str, facts: dict[str, dict[str, float]]) -> None:
        """Wins over what holds for all; empty ends it."""
        self._of_account.pop(account, None)
        if facts:
            self._of_account[account] = _read(facts)

    async def wait(self, kind: Kind, account: str) -> None:
        delays = self._of_account.get(account, self._delays)
        delay = delays.get(kind) or delays.get("other")
        delay_ms = delay.draw_ms(self._chance) if delay is not None else 0.0
        if delay_ms:
            await asyncio.sleep(delay_ms / 1000)


def _read(facts: dict[str, dict[str, float]]) -> dict[str, Delay]:
    return {name: Delay.model_validate(delay) for name, delay in facts.items()}


def kind_of(method: str, path: str) -> Kind:
    if "/query/" in path:
        return "query"
    if "/async/" in path:
        return "job"
    if "/auth/" in path:
        return "token"
    return "read" if method == "GET" else "write"
