"""Suspend an account, or one of its record types, and let it go on by itself once a probe succeeds.

The rules are in `protect.py`, the account's own breakers in `gate.py`, what is known of it to others in `standings.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

from ml_connector.common import keys
from ml_connector.common.keys import RecordType
from ml_connector.netsuite_writer.gate import Gate
from ml_connector.netsuite_writer.job import Tools
from ml_connector.netsuite_writer.protect import Breaker
from ml_connector.netsuite_writer.schedule import WAYS, queue_of
from ml_connector.netsuite_writer.standings import Standings

KINDS: tuple[RecordType, ...] = get_args(RecordType)


class Suspensions:
    """Of one account. A type is suspended when the role may not write it."""

    def __init__(self, account: str, *, gate: Gate, standings: Standings, tools: Tools) -> None:
        self._account = account
        self._gate = gate
        self._standings = standings
        self._tools = tools
        self._types: dict[RecordType, Breaker] = {}
        self._restore()

    def is_open(self, kind: RecordType) -> bool:
        """Whether only a probe of this type may go."""
        return bool(self._gate.suspended) or (kind in self._types and self._types[kind].is_open)

    def closed(self, now_s: float) -> Iterator[str]:
        """Queues of the schedule from which nothing may go now."""
        for kind, breaker in self._types.items():
            if not breaker.admits(now_s):
                yield from (queue_of(kind, way) for way in WAYS)

    def opens_at_s(self, now_s: float) -> list[float]:
        """When types may be probed."""
        moments = (breaker.opens_at_s(now_s) for breaker in self._types.values())
        return [at_s for at_s in moments if at_s is not None]

    def begin(self, kind: RecordType, began_s: float) -> None:
        """A call of this type begins."""
        if kind in self._types:
            self._types[kind].begin(began_s)

    def over(self, kind: RecordType, began_s: float) -> None:
        """A call is over; if it was the probe and did not decide, the next one may."""
        if kind in self._types:
            self._types[kind].abandoned(started_s=began_s)

    def forbidden(self, kind: RecordType, reason: str, *, began_s: float) -> None:
        """A call that began then was forbidden."""
        if self._breaker(kind).trip(self._tools.clock.monotonic_s(), reason, started_s=began_s):
            self._standings.suspend(keys.account_key(self._account, kind), reason)

    def written(self, kind: RecordType) -> None:
        if kind in self._types and self._types[kind].succeeded():
            self._standings.resume(keys.account_key(self._account, kind))

    def let_go(self) -> None:
        """The account is given up; its gate stays, for the next owner."""
        if self._gate.on_change == self._gate_changed:
            self._gate.on_change = lambda: None

    def _restore(self) -> None:
        """What a former owner knew; a probe decides."""
        now_s = self._tools.clock.monotonic_s()
        standing = self._standings.of(keys.account_key(self._account))
        if standing is not None and not self._gate.suspended:
            self._gate.restore(standing.reason)
        for kind in KINDS:
            standing = self._standings.of(keys.account_key(self._account, kind))
            if standing is not None:
                self._breaker(kind).trip(now_s, standing.reason, started_s=now_s)
        self._gate.on_change = self._gate_changed
        self._gate_changed()

    def _gate_changed(self) -> None:
        key, reason = keys.account_key(self._account), self._gate.suspended
        if reason and self._standings.of(key) is None:
            self._standings.suspend(key, reason)
        elif not reason:
            self._standings.resume(key)

    def _breaker(self, kind: RecordType) -> Breaker:
        if kind not in self._types:
            settings = self._tools.settings
            self._types[kind] = Breaker(
                first_s=settings.suspend_s, longest_s=settings.suspend_longest_s, chance=self._tools.chance
            )
        return self._types[kind]
