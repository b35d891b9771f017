"""`pipedrive.state` in memory. What is written is read at once, or later where a test says so."""

from __future__ import annotations

from collections.abc import Sequence

from ml_connector.common import topics
from ml_connector.common.clock import Clock
from ml_connector.common.keys import standing_key
from ml_connector.common.wire import Standing
from ml_connector.resolver.message import Output
from ml_connector.resolver.standings import CompanyStanding


class Crash(Exception):
    """The process is gone."""


class StateTopic:
    """`written`: all that ever was. `lag`: what was written is not read before `catch_up`. `crash`: "before" or
    "after" the broker has the next message."""

    def __init__(self) -> None:
        self.written: list[Output] = []
        self.lag = False
        self.crash = ""
        self._read: dict[str, bytes | None] = {}
        self._seen = 0

    def standing(self, company: str, clock: Clock) -> CompanyStanding:
        """As a process that has just begun has it."""
        return CompanyStanding(company, self.get, self.keep, clock)

    def get(self, key: str) -> bytes | None:
        return self._read.get(key)

    async def keep(self, outputs: Sequence[Output]) -> None:
        if self.crash == "before":
            raise Crash
        assert {output.topic for output in outputs} == {topics.STATE}
        self.written += outputs
        if not self.lag:
            self.catch_up()
        if self.crash == "after":
            raise Crash

    def catch_up(self, count: int | None = None) -> None:
        """Read what was written; at most `count` messages."""
        upto = len(self.written) if count is None else min(len(self.written), self._seen + count)
        self._read |= {output.key.decode(): output.value for output in self.written[self._seen : upto]}
        self._seen = upto

    def told(self, company: str) -> list[str | None]:
        """Why it was stopped, message by message; None: it was not any more."""
        values = [output.value for output in self.written if output.key.decode() == standing_key(company)]
        return [None if value is None else Standing.decode(value).reason for value in values]
