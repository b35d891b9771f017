"""Companies that only a person can let go on: a grant that was revoked, a credential that Pipedrive refuses.

Told in `pipedrive.state`, for the next owner and for operators, once for each change. What the topic holds counts: a
crash before it has the change leads to the same call again, and that to the same change.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from ml_connector.common import keys
from ml_connector.common.clock import Clock
from ml_connector.common.errors import ConnectorError
from ml_connector.common.logs import get_logger
from ml_connector.common.wire import Standing
from ml_connector.resolver import emit
from ml_connector.resolver.message import Output

log = get_logger()

Stored = Callable[[str], bytes | None]
Keep = Callable[[Sequence[Output]], Awaitable[None]]


class CompanyStanding:
    """Of one company; only its owner calls `stopped` and `works`."""

    def __init__(self, company: str, stored: Stored, keep: Keep, clock: Clock) -> None:
        """`stored`: the newest value of a key of `pipedrive.state`. `keep` returns when the broker has it."""
        self._company = company
        self._key = keys.standing_key(company)
        self._stored = stored
        self._keep = keep
        self._clock = clock
        self._sent: tuple[bytes | None, Standing | None] | None = None  # what stood there before, what was written
        self._turn = asyncio.Lock()

    @property
    def now(self) -> Standing | None:
        """None: it works, as far as anybody knows. What was written counts until it comes back from the topic."""
        stored = self._stored(self._key)
        if self._sent is not None and self._sent[0] == stored:
            return self._sent[1]
        self._sent = None
        return None if stored is None else _read(stored)

    async def stopped(self, reason: str) -> None:
        """`reason`: for people."""
        async with self._turn:
            if self.now is None or self.now.reason != reason:
                log.error("company_suspended", company=self._company, reason=reason)
                await self._tell(Standing(state="suspended", reason=reason, at_ms=self._clock.now_ms()))

    async def works(self) -> None:
        """After every call that went well: nothing when it was not stopped."""
        if self.now is None:
            return
        async with self._turn:
            if self.now is not None:
                log.info("company_resumed", company=self._company)
                await self._tell(None)

    async def _tell(self, standing: Standing | None) -> None:
        before = self._stored(self._key)
        await self._keep([emit.state(self._company, self._key, None if standing is None else standing.encode())])
        self._sent = before, standing


class Standings:
    """One for each company, whoever asks."""

    def __init__(self, stored: Stored, keep: Keep, clock: Clock) -> None:
        self._make = partial(CompanyStanding, stored=stored, keep=keep, clock=clock)
        self._of: dict[str, CompanyStanding] = {}

    def of(self, company: str) -> CompanyStanding:
        found = self._of.get(company)
        if found is None:
            found = self._of[company] = self._make(company)
        return found

    def suspended(self) -> list[str]:
        return [company for company, one in self._of.items() if one.now is not None]


def _read(stored: bytes) -> Standing | None:
    """What another release wrote is written anew, if it still is so."""
    try:
        return Standing.decode(stored)
    except ConnectorError:
        return None
