"""The one way to a NetSuite account: every request of any kind enters here, and tells how it ended.

In: requests that want to begin, answers. Out: a slot, when one is free and the account is not suspended.
The rules are in `govern.py` and `protect.py`; here requests wait. Urgent ones (they settle or unblock many records)
go before the others; those that can wait (they only compare) go when nobody else wants the slot, or have one of
SPARE_TURNS.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from ml_connector.common.clock import Clock
from ml_connector.netsuite_writer.govern import Governor
from ml_connector.netsuite_writer.protect import Breaker, Streak
from ml_connector.netsuite_writer.settings import WriterSettings
from ml_connector.netsuite_writer.settle import Answer, fault_of

OUTAGE_FIRST_S: Final = 1.0
# No Retry-After of NetSuite is documented (facts/netsuite.md section 9): one that is mistaken must not stop an account
# for longer than a suspension waits for its probe.
RETRY_AFTER_LONGEST_S: Final = 60.0
LOOK_AGAIN_S: Final = 0.05
REFUSED_CROWDS: Final = 2  # logins refused in a row, per slot, until nobody takes them for overload any more
AHEAD: Final = 3.0  # of those that get ready while a call takes its time: they are ready in bursts
SPARE_TURNS: Final = 16  # of so many slots that others wait for too; as the backfill lane has
REASONS: Final = {
    "unauthorized": "NetSuite refuses the credentials, also with a new token",
    "unavailable": "NetSuite answers nothing or with server errors, whatever is asked",
}


class Slot(NamedTuple):
    """Since when, and how many were in flight then."""

    started_s: float
    among: int


# Awaited in the slot, as the last thing before a request; raises TryLater to prevent it: a process that was stopped for
# a while learns here that somebody else owns the account.
Admit = Callable[[], Awaitable[None]]


async def _always() -> None:
    """While nobody owns it."""


class Gate:
    """The slots of one account, and whether it is suspended."""

    def __init__(self, governor: Governor, *, settings: WriterSettings, clock: Clock, chance: random.Random) -> None:
        self.governor = governor
        self._clock = clock
        self._hold_s = settings.hold_s
        longest_s = settings.suspend_longest_s
        self._credentials = Breaker(first_s=settings.suspend_s, longest_s=longest_s, chance=chance)
        self._outage = Breaker(first_s=min(OUTAGE_FIRST_S, settings.suspend_s), longest_s=longest_s, chance=chance)
        self._streak = Streak(settings.outage_run)
        self._urgent: deque[asyncio.Future[Slot]] = deque()
        self._others: deque[asyncio.Future[Slot]] = deque()
        self._spare: deque[asyncio.Future[Slot]] = deque()
        self._passed_over = 0  # slots that went to others since one of these had its turn
        self._timer: asyncio.TimerHandle | None = None
        self._good_s = float("-inf")
        self._refused_logins = 0  # in a row
        self.write_s = 0.0  # how long one request takes, as a moving average
        self.on_change: Callable[[], None] = lambda: None
        self.admit: Admit = _always  # whose account it is now sets it

    @property
    def suspended(self) -> str:
        """Why no request may go but a probe; empty when they may."""
        return self._credentials.reason or self._outage.reason

    def restore(self, reason: str) -> None:
        """A former owner has suspended the account: begin with a probe."""
        breaker = self._credentials if reason == REASONS["unauthorized"] else self._outage
        now_s = self._clock.monotonic_s()
        breaker.trip(now_s, reason, started_s=now_s)

    def limit(self) -> int:
        return self.governor.limit(self._clock.monotonic_s())

    def room(self, *, ready_s: float) -> int:
        """Single calls that may be under way: as many as slots, and so many that get ready meanwhile, which takes each
        `ready_s`, that a slot that is given back finds one waiting."""
        limit = self.limit()
        meanwhile = limit * ready_s / self.write_s if self.write_s else 0.0
        return limit + 1 + self.governor.ceiling // 8 + min(limit, int(AHEAD * meanwhile))

    # -- one request -------------------------------------------------------------------------------------------------

    async def enter(self, *, urgent: bool = False, spare: bool = False) -> Slot:
        """Wait for a slot and take it. `spare`: it can wait for all others."""
        now_s = self._clock.monotonic_s()
        if not self._anybody() and self._free(now_s) > 0:
            return self._take(now_s)
        turn: asyncio.Future[Slot] = asyncio.get_running_loop().create_future()
        (self._spare if spare else self._urgent if urgent else self._others).append(turn)
        self.wake()
        try:
            return await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self.leave(None, turn.result())
            raise

    async def look(self) -> Slot:
        """A slot for a look that a person asked for: also while the account is suspended, when they are mostly free."""
        while self.suspended:
            now_s = self._clock.monotonic_s()
            if self.governor.free(now_s) > 0:
                return Slot(now_s, self.governor.take())
            await self._clock.sleep(LOOK_AGAIN_S)
        return await self.enter(urgent=True)

    def leave(self, answer: Answer | None, slot: Slot) -> None:
        """The request ended; None: it was given up, or says nothing."""
        now_s = self._clock.monotonic_s()
        try:
            if answer is None:
                self._abandoned(slot.started_s)
            else:
                self._told(answer, now_s, slot)
        finally:
            self._give_back(now_s)

    def disguises_overload(self, slot: Slot) -> bool:
        """Whether a refused login may mean that too many are in flight (facts/netsuite.md section 9): others got in
        meanwhile, or may yet, as some did before. Refused again and again, it is what it says."""
        self._refused_logins += 1
        if self._good_s > slot.started_s:
            return True
        others = self.governor.in_flight > 1 and self._good_s > float("-inf")
        return others and self._refused_logins <= REFUSED_CROWDS * self.governor.ceiling

    def wake(self) -> None:
        """Let in as many as may begin now."""
        now_s = self._clock.monotonic_s()
        while self._anybody() and self._free(now_s) > 0:
            turn = self._next()
            if not turn.done():
                turn.set_result(self._take(now_s))
        self._arm(now_s)

    def hold(self, until_s: float) -> None:
        """A request that nobody waits for any more may still occupy a slot."""
        self.governor.hold(until_s)

    def given_up(self) -> None:
        """We do not wait for a request's answer any more; NetSuite goes on with it."""
        self.hold(self._clock.monotonic_s() + self._hold_s)

    def _anybody(self) -> bool:
        return bool(self._urgent or self._others or self._spare)

    def _next(self) -> asyncio.Future[Slot]:
        others = self._urgent or self._others
        if others and not (self._spare and self._passed_over >= SPARE_TURNS - 1):
            self._passed_over += bool(self._spare)
            return others.popleft()
        self._passed_over = 0
        return self._spare.popleft()

    # -- rules -------------------------------------------------------------------------------------------------------

    def _free(self, now_s: float) -> int:
        if not (self._credentials.admits(now_s) and self._outage.admits(now_s)):
            return 0
        free = self.governor.free(now_s)
        return min(free, 1) if self.suspended else free

    def _take(self, now_s: float) -> Slot:
        if self.suspended:
            self._credentials.begin(now_s)
            self._outage.begin(now_s)
        return Slot(now_s, self.governor.take())

    def _give_back(self, now_s: float) -> None:
        self.governor.give_back()
        if self._anybody():
            self.wake()

    def _told(self, answer: Answer, now_s: float, slot: Slot) -> None:
        started_s = slot.started_s
        if answer.retry_after_s > 0 and answer.status in {429, 503}:
            self.governor.wait(now_s + min(answer.retry_after_s, RETRY_AFTER_LONGEST_S))
        match fault_of(answer):
            case None:
                self._well(now_s, started_s)
            case "overloaded":
                self.governor.overloaded(now_s, started_s=started_s, among=slot.among)
                self._abandoned(started_s)
            case "unauthorized":
                self._trip(self._credentials, REASONS["unauthorized"], now_s, started_s)
            case "unavailable":
                if answer.status == 0 and answer.sent:
                    self.given_up()
                if self._streak.failed() or self._outage.is_open:
                    self._trip(self._outage, REASONS["unavailable"], now_s, started_s)
                self._abandoned(started_s)  # of the credentials it says nothing

    def _well(self, now_s: float, started_s: float) -> None:
        self._good_s, self._refused_logins = now_s, 0
        took_s = now_s - started_s
        self.write_s = took_s if self.write_s == 0.0 else self.write_s + (took_s - self.write_s) / 16
        self._streak.succeeded()
        if self.suspended:
            self._credentials.succeeded()
            self._outage.succeeded()
            self.on_change()

    def _trip(self, breaker: Breaker, reason: str, now_s: float, started_s: float) -> None:
        if breaker.trip(now_s, reason, started_s=started_s):
            self.on_change()
        self._abandoned(started_s)

    def _abandoned(self, started_s: float) -> None:
        self._credentials.abandoned(started_s=started_s)
        self._outage.abandoned(started_s=started_s)

    def _arm(self, now_s: float) -> None:
        """Wake again when a slot or a probe comes due by itself."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._anybody():
            return
        moments = (self._credentials.opens_at_s(now_s), self._outage.opens_at_s(now_s), self.governor.opens_at_s(now_s))
        due_s = min((at_s for at_s in moments if at_s is not None), default=None)
        if due_s is not None:
            self._timer = asyncio.get_running_loop().call_later(max(0.001, due_s - now_s), self.wake)
