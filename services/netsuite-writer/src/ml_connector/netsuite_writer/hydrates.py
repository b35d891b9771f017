"""Ask Pipedrive's side for one object: an unknown parent, a merged one's child, a record in doubt."""

from __future__ import annotations

from ml_connector.common.errors import TryLater
from ml_connector.common.keys import Entity
from ml_connector.common.wire import Attempt, Desired, Hydrate, Lane
from ml_connector.netsuite_writer import doubt, parents
from ml_connector.netsuite_writer.job import Tools

# Of which object, and which parent it is asked for: a child whose parent was merged twice has two questions.
_Question = tuple[Entity, str, str]


class Hydrates:
    """The questions of one account; each is asked once in a while, however many wait for the answer."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._asked_s: dict[_Question, float] = {}

    async def for_decision(self, decision: parents.Decision, child: Desired) -> None:
        """What a child's decision asks for, if anything."""
        if isinstance(decision, parents.HydrateParent) and child.parent is not None:
            question = child.parent.entity, child.parent.source_id, ""
            await self._ask(child, question, reason="unknown parent")
        elif isinstance(decision, parents.HydrateChild):
            await self._ask(child, _merged(child), reason="merged parent")

    def ask_again(self, child: Desired) -> None:
        """The answer was no use."""
        self._asked_s.pop(_merged(child), None)

    async def _ask(self, desired: Desired, question: _Question, *, reason: str) -> None:
        """Ask for one object, not again for a while."""
        now_s = self._tools.clock.monotonic_s()
        if now_s - self._asked_s.get(question, float("-inf")) < self._tools.settings.hydrate_again_s:
            return
        entity, source_id, _ = question
        self._asked_s[question] = now_s
        asked = False
        try:
            asked = await self._send(desired.flow, desired.company, entity, source_id, lane=desired.lane, reason=reason)
        finally:
            if not asked:
                self._asked_s.pop(question, None)  # the timer asks again

    async def end_doubt(self, attempt: Attempt) -> None:
        """The quiet time of an unanswered call is over: assert the newest state again if it could have been undone."""
        record = attempt.record_key
        if doubt.must_assert_again(attempt, self._tools.store.observed(record)):
            asked = await self._send(
                attempt.flow,
                attempt.company,
                attempt.entity,
                attempt.source_id,
                lane="live",
                reason="in doubt",
                force=True,  # a late call may have changed what NetSuite is believed to hold
            )
            if not asked:
                return
        if self._tools.store.attempt(record) is not attempt:
            return  # a call has begun meanwhile, and its own ending or doubt follows
        try:
            await self._tools.messages.attempt(None, record)
        except TryLater:
            return  # the entry stays, and the timer comes back to it
        if self._tools.store.attempt(record) is attempt:
            self._tools.store.put_attempt(record, None)

    async def _send(
        self,
        flow: str,
        company: str,
        entity: Entity,
        source_id: str,
        *,
        lane: Lane,
        reason: str,
        force: bool = False,
    ) -> bool:
        now_ms = self._tools.clock.now_ms()
        request = Hydrate(
            request_id=f"{flow}-{entity}-{source_id}-{now_ms}",
            flow=flow,
            entity=entity,
            source_id=source_id,
            lane=lane,
            reason=reason,
            at_ms=now_ms,
            force=force,
        )
        try:
            await self._tools.messages.hydrate(request, company)
        except TryLater:
            return False
        return True


def _merged(child: Desired) -> _Question:
    return child.entity, child.source_id, "" if child.parent is None else child.parent.record_key
