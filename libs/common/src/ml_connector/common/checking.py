"""Look at one thing after another because somebody asks: in order, each only if what it needs is well, all in one time.

In: looks by name, and what each of them needs. Out: a finding for each. What a look sees is its own affair.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from ml_connector.common.asking import Finding, Looked

LEAST_S: Final = 0.001  # a look with less time is not begun

Look = Callable[[], Awaitable[Looked]]


def not_looked(why: str) -> Looked:
    return Looked("skipped", f"not looked at: {why}")


@dataclass(frozen=True, slots=True)
class Checkup:
    """One side of a flow. `slow`: what a look says that takes all the time there is."""

    side: str
    needs: Mapping[str, tuple[str, ...]]
    slow: Looked
    now_s: Callable[[], float]  # never goes back

    async def run(self, looks: Mapping[str, Look], *, within_s: float) -> tuple[Finding, ...]:
        """In the order of `looks`; what a look needs stands before it."""
        ends_s = self.now_s() + within_s
        found: dict[str, Finding] = {}
        for what, look in looks.items():
            began_s = self.now_s()
            lacks = [need for need in self.needs.get(what, ()) if found[need].result in {"failed", "skipped"}]
            looked = not_looked(f"needs {lacks[0]}") if lacks else await self._within(look, ends_s - began_s)
            found[what] = Finding(f"{self.side}.{what}", *looked, took_ms=round((self.now_s() - began_s) * 1000))
        return tuple(found.values())

    async def _within(self, look: Look, left_s: float) -> Looked:
        if left_s < LEAST_S:
            return not_looked("no time left")
        try:
            async with asyncio.timeout(left_s):
                return await look()
        except TimeoutError:
            return self.slow
