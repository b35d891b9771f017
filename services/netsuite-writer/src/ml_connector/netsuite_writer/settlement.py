"""Record what became of records: one Kafka transaction for all that settles together.

In: settlements. Out: dead letters, audit outcomes, observed entries and tombstones, committed as one; then the same in
the local store. The transactional id is the partition's, so a fenced former owner can record nothing.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Final

from ml_connector.common import keys, measuring, metrics, spans, topics
from ml_connector.common.clock import Clock
from ml_connector.common.dead_letters import DeadLetter
from ml_connector.common.errors import Fenced, TryLater
from ml_connector.common.headers import TRACEPARENT
from ml_connector.common.kafka.transaction import Transaction, TransactionalProducer
from ml_connector.common.logs import get_logger
from ml_connector.common.telemetry import Carried, recorded
from ml_connector.common.wire import Attempt, Observed, Outcome
from ml_connector.netsuite_writer.store import Store

log = get_logger()

GROUP: Final = 200  # settlements of one commit; a commit costs about 10 ms whatever is in it
APART_S: Final = 0.05  # commits begin at least so far apart: each costs what ten settlements do
KEPT_AT_ONCE: Final = 4  # NetSuite's answers wait no longer than these take
RETRY_S: Final = 1.0


@dataclass(slots=True)
class Settlement:
    """The end of one desired state. `outcome` None: a repetition, which only needs its tombstone."""

    record: str
    desired_key: str
    outcome: Outcome | None = None
    observed: Observed | None = None  # None: unchanged
    attempt: Attempt | None = None  # with `clears_attempt` the entry that stays; None: nothing stays
    clears_attempt: bool = False
    dead_letter: DeadLetter | None = None
    traceparent: str = ""
    losses: list[Settlement] = field(default_factory=list)  # of the same record, committed with it
    span: Carried | None = None
    messages: Transaction = field(default_factory=Transaction)  # what is sent of it
    done: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Settler:
    """Commits the settlements of one partition, in order."""

    def __init__(
        self,
        partition: int,
        *,
        producer: TransactionalProducer,
        store: Store,
        prefix: str,
        session_timeout_s: float,
        clock: Clock,
    ) -> None:
        self._partition = partition
        self._producer = producer
        self._store = store
        self._clock = clock
        self._queue: asyncio.Queue[Settlement] = asyncio.Queue()
        self._desired = topics.DESIRED.full_name(prefix)
        self._observed = topics.OBSERVED.full_name(prefix)
        self._audit = topics.AUDIT.full_name(prefix)
        self._dead_letters = topics.DEAD_LETTERS.full_name(prefix)
        # A new owner appears only after a session of silence; a commit this recent proves that there is none.
        self._proof_s = session_timeout_s / 2
        self._proved_s = clock.monotonic_s()  # the producer has just fenced everybody else
        self._proving = asyncio.Lock()
        self._began_s = float("-inf")  # the last commit
        self.fenced = asyncio.Event()

    def submit(self, settlement: Settlement) -> asyncio.Future[None]:
        """Queue it; the future ends once it is committed and stored.

        What cannot be put into messages is raised here, to whoever has the record, and not to the others of its group.
        """
        self._send(settlement.messages, settlement)
        for one in (settlement, *settlement.losses):
            if recorded(one.traceparent):
                one.span = self._span(one)
        self._queue.put_nowait(settlement)
        return settlement.done

    async def run(self) -> None:
        """Until cancelled, or fenced."""
        while not self.fenced.is_set():
            group = [await self._queue.get()]
            await self._space_out()
            while not self._queue.empty() and len(group) < GROUP:
                group.append(self._queue.get_nowait())
            await self._commit(group)

    async def _space_out(self) -> None:
        """Alone at once; under load many together."""
        wait_s = self._began_s + APART_S - self._clock.monotonic_s()
        if wait_s > 0:
            await self._clock.sleep(wait_s)
        self._began_s = self._clock.monotonic_s()

    @property
    def proved(self) -> bool:
        """Whether the last proof is fresh enough."""
        return self._proved_s + self._proof_s > self._clock.monotonic_s() and not self.fenced.is_set()

    async def prove(self) -> bool:
        """Whether the partition is still ours: a process that was stopped for a while learns it before it calls."""
        async with self._proving:
            if self.proved or self.fenced.is_set():
                return self.proved
            started_s = self._clock.monotonic_s()
            try:
                async with self._producer.transaction() as transaction:
                    self._put(transaction, keys.attempt_key(keys.NO_RECORD), None)
            except Fenced:
                self._lose()
                return False
            self._proved_s = max(self._proved_s, started_s)
            return True

    def _lose(self) -> None:
        log.warning("fenced", partition=self._partition)
        self.fenced.set()

    async def drained(self) -> None:
        """Until everything that was submitted is committed."""
        await self._queue.join()

    async def _commit(self, group: list[Settlement]) -> None:
        while True:
            started_s = self._clock.monotonic_s()
            try:
                async with self._producer.transaction() as transaction:
                    for settlement in group:
                        transaction.messages += settlement.messages.messages
            except Fenced:
                self._lose()
                return
            except TryLater as error:
                log.warning("settling_again", partition=self._partition, records=len(group), problem=str(error))
                await self._clock.sleep(RETRY_S)
            else:
                break
        self._proved_s = max(self._proved_s, started_s)
        for first in range(0, len(group), KEPT_AT_ONCE):
            self._keep(group[first : first + KEPT_AT_ONCE])
            await asyncio.sleep(0)

    def _send(self, to: Transaction, settlement: Settlement) -> None:
        headers = {TRACEPARENT: settlement.traceparent.encode()} if settlement.traceparent else None
        letter = settlement.dead_letter
        if letter is not None:
            to.send(
                self._dead_letters,
                key=letter.cause.encode(),
                value=letter.body,
                headers=letter.to_headers(),
                partition=self._partition,
            )
        outcome = settlement.outcome
        if outcome is not None:
            key = keys.outcome_key(outcome.cause, outcome.record_key).encode()
            to.send(self._audit, key=key, value=outcome.encode(), headers=headers, partition=self._partition)
        if settlement.observed is not None:
            self._put(to, settlement.record, settlement.observed.encode())
        if settlement.clears_attempt:
            stays = settlement.attempt.encode() if settlement.attempt is not None else None
            self._put(to, keys.attempt_key(settlement.record), stays)
        to.send(self._desired, key=settlement.desired_key.encode(), value=None, partition=self._partition)
        for loss in settlement.losses:
            self._send(to, loss)

    def _span(self, settlement: Settlement) -> Carried | None:
        outcome, letter = settlement.outcome, settlement.dead_letter
        if outcome is None:
            return None
        more = {
            spans.FLOW: outcome.flow,
            spans.ACCOUNT: outcome.account,
            spans.RECORD_TYPE: outcome.record_key.split("/", 2)[1],
            spans.CAUSE: outcome.cause,
            spans.OUTCOME: outcome.outcome,
        }
        span = spans.settling(self._desired, parent=settlement.traceparent, more=more)
        if letter is not None:
            span.tell(spans.STAGE, letter.stage)
            span.fail(letter.code)
        return span

    def _put(self, to: Transaction, key: str, value: bytes | None) -> None:
        to.send(self._observed, key=key.encode(), value=value, partition=self._partition)

    def _keep(self, group: list[Settlement]) -> None:
        with self._store.change():
            for settlement in group:
                for one in (settlement, *settlement.losses):
                    self._store.put_desired(one.desired_key, None)
                    _count(one)
                    if one.span is not None:
                        one.span.end()
                if settlement.observed is not None:
                    self._store.put_observed(settlement.record, settlement.observed.encode())
                if settlement.clears_attempt:
                    self._store.put_attempt(settlement.record, settlement.attempt)
        for settlement in group:
            self._queue.task_done()
            if not settlement.done.done():
                settlement.done.set_result(None)


def _count(settlement: Settlement) -> None:
    outcome, letter = settlement.outcome, settlement.dead_letter
    if outcome is not None:
        measuring.count(metrics.OUTCOMES, outcome.account, outcome.outcome)
    if letter is not None:
        measuring.count(metrics.DEAD_LETTERS, letter.account, letter.stage)
