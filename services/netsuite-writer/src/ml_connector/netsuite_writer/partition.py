"""One partition of `netsuite.desired`, for as long as this process owns it.

Opening fences the former owner first, then both topics are folded to their end, then the first call is made. While it
is owned only we write the partition's observed entries; an attempt of somebody else in there means that a former owner
woke up, and puts its record in doubt.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from ml_connector.common import spans
from ml_connector.common.comparing import Census, Compare, Compared, not_compared, not_counted
from ml_connector.common.directory import LiveFlow
from ml_connector.common.drift import Poll
from ml_connector.common.errors import BadInput, Malformed, MustStop, TryLater, UnknownSchema
from ml_connector.common.flows import Flow
from ml_connector.common.headers import TRACEPARENT
from ml_connector.common.kafka.record import Record
from ml_connector.common.kafka.transaction import TransactionalProducer
from ml_connector.common.logs import get_logger
from ml_connector.common.wire import Attempt, Desired
from ml_connector.netsuite_writer import doubt
from ml_connector.netsuite_writer.account import Account
from ml_connector.netsuite_writer.call import prove
from ml_connector.netsuite_writer.comparing import Comparing
from ml_connector.netsuite_writer.faults import Postponed
from ml_connector.netsuite_writer.fold import ObservedFold
from ml_connector.netsuite_writer.job import Tools
from ml_connector.netsuite_writer.polling import Handed, Page, Pushed, failed
from ml_connector.netsuite_writer.store import Store, Waiting
from ml_connector.netsuite_writer.together import together

log = get_logger()

FLOW_COMES_WITHIN_MS = 60_000
DOUBTS_AT_ONCE = 500  # of one tick: it must come round, and the broker takes some milliseconds for each
LOOK_AGAIN_S = 30.0  # how often what is blocked is judged anew; usually its release does that at once


@dataclass(slots=True)
class Fold:
    """How far both topics have been read."""

    desired: bool = False
    observed: bool = False

    @property
    def complete(self) -> bool:
        return self.desired and self.observed


class Partition:
    """Give it the records of both topics in order; it does the rest."""

    def __init__(
        self,
        number: int,
        *,
        desired_topic: str,
        observed_topic: str,
        tools: Tools,
        producer: TransactionalProducer,
        make_account: Callable[[str, str, Tools], Account | None],
    ) -> None:
        self.number = number
        self._desired_topic = desired_topic
        self._observed_topic = observed_topic
        self._group = tools.settings.group("netsuite-writer")
        self._tools = tools
        self._producer = producer
        self._make_account = make_account
        self._accounts: dict[str, Account] = {}
        self._unknown: set[str] = set()  # accounts of which no flow is known yet; their work is in the store
        self._fold = Fold()
        self._observing = ObservedFold(number, tools)
        self._refused, self._doubted = Postponed(tools), Postponed(tools)  # keys of desired states; records
        self._looked_s = tools.clock.monotonic_s()
        self._settling = asyncio.create_task(tools.settler.run(), name=f"settle-{number}")

    @property
    def started(self) -> bool:
        return self._fold.complete

    @property
    def fenced(self) -> bool:
        return self._tools.settler.fenced.is_set()

    @property
    def waiting(self) -> int:
        return sum(len(account) for account in self._accounts.values())

    @property
    def accounts(self) -> Collection[Account]:
        return self._accounts.values()

    @property
    def store(self) -> Store:
        return self._tools.store

    def position(self) -> int | None:
        """The next offset of `netsuite.desired` that is not in the store yet."""
        return self._tools.store.position(self._desired_topic)

    def observed_position(self) -> int | None:
        """The same of `netsuite.observed`."""
        return self._tools.store.position(self._observed_topic)

    def fold_desired(self, records: list[Record], *, ended: bool) -> None:
        """Keep the records; once both topics were read to their end, also act on them."""
        fresh: list[Waiting] = []
        with self._tools.store.change():
            for record in records:
                key = (record.key or b"").decode()
                trace = self._taken(record) if record.value is not None else ""
                self._tools.store.put_desired(key, record.value, trace=trace)
                if record.value is not None:
                    fresh.append(Waiting(key, trace, record.value))
            if records:
                self._tools.store.move(self._desired_topic, records[-1].offset + 1)
        if self._fold.complete:
            self._accept(fresh)
        elif ended:
            self._fold.desired = True
            self._start_if_complete()

    def _taken(self, record: Record) -> str:
        """The traceparent of all that follows from it."""
        topic, headers = self._desired_topic, record.headers
        with spans.processing(topic, record.partition, record.offset, group=self._group, headers=headers) as span:
            return span.traceparent if TRACEPARENT in headers else ""

    def fold_observed(self, records: list[Record], *, ended: bool) -> None:
        """Until the end: what is known. After it: only what is not ours."""
        with self._tools.store.change():
            self._observing.take(records)
            if records:
                self._tools.store.move(self._observed_topic, records[-1].offset + 1)
        if ended and not self._fold.observed:
            self._fold.observed = True
            self._observing.end()
            self._start_if_complete()

    def _start_if_complete(self) -> None:
        if not self._fold.complete:
            return
        for job in self._observing.start():
            account = self._account(job.account.lower(), job.members[0].flow) if job.members else None
            if account is None:
                self._observing.stray(job)
            else:
                self._observing.resumed(job)
                account.resume(job)
        count = self._accept(self._tools.store.all_desired())
        log.info("partition_started", partition=self.number, waiting=count)

    def _accept(self, waiting: Iterable[Waiting]) -> int:
        """How many they were. One after another: all bodies of a deep backlog at once are gigabytes."""
        touched: dict[str, Account] = {}
        count = 0
        for one in waiting:
            count += 1
            with self._refused.of(one.key):
                account = self._accept_one(one)
                if account is not None:
                    touched[account.name] = account
        for account in touched.values():
            account.pump()
        return count

    def _accept_one(self, one: Waiting) -> Account | None:
        try:
            flow = Desired.decode(one.body).flow
        except Malformed as error:  # it stays in the topic, where the accounting counts it as waiting
            log.error("desired_refused", partition=self.number, record_key=one.key, problem=str(error))
            return None
        except UnknownSchema as error:
            raise MustStop(str(error)) from error
        account = self._account(_account_of(one.key), flow)
        if account is not None:
            account.accept(one)
        return account

    def _accept_refused(self) -> None:
        """What met a fault of ours on its way in, a while later."""
        again: list[Waiting] = []
        for key in self._refused.due():
            waiting = self._tools.store.desired(key)
            if waiting is None:
                self._refused.forget(key)
            else:
                again.append(waiting)
        self._accept(again)

    def _account(self, name: str, flow: str) -> Account | None:
        """None while the flow is not known: its work stays in the store."""
        if name not in self._accounts:
            made = self._make_account(name, flow, self._tools)
            if made is None:
                if name not in self._unknown:
                    self._unknown.add(name)
                    log.warning("unknown_flow", partition=self.number, account=name, flow=flow)
                return None
            self._accounts[name] = made
        return self._accounts[name]

    async def tick(self) -> None:
        """Now and then: look at what is blocked, and end doubts whose quiet time is over."""
        if not self.started or self.fenced:
            return
        if self._tools.clock.monotonic_s() - self._looked_s >= LOOK_AGAIN_S:
            self._looked_s = self._tools.clock.monotonic_s()
            for account in tuple(self._accounts.values()):
                account.look_again()
        self._accept_refused()
        now_ms = self._tools.clock.now_ms()
        await self._observing.forget_strays(now_ms)
        quiet_ms = int(self._tools.settings.quiet_s * 1000)
        over = (
            one
            for one in self._tools.store.attempts()
            if not one.open and doubt.quiet_at_ms(one, quiet_ms) <= now_ms and self._may_end(one)
        )
        await together(*(self._end_doubt(one) for one in islice(over, DOUBTS_AT_ONCE)))

    def _may_end(self, attempt: Attempt) -> bool:
        record = attempt.record_key
        account = self._accounts.get(_account_of(record))
        if account is None and self._tools.flows.flow(attempt.flow) is None:
            return False
        return not self._doubted.waits(record) and not (account is not None and account.unsettled(record))

    async def _end_doubt(self, attempt: Attempt) -> None:
        record = attempt.record_key
        with self._doubted.of(record):
            owner = self._account(_account_of(record), attempt.flow)
            if owner is not None and not owner.unsettled(record):
                await owner.hydrates.end_doubt(attempt)

    def flow_changed(self, flow: Flow) -> None:
        """It was applied, paused or resumed: what was held back for it is looked at again."""
        if not self.started:
            return
        name = flow.netsuite.account.lower()
        if name in self._unknown:
            self._unknown.discard(name)
            self._accept(self._tools.store.desired_of(name))
        account = self._accounts.get(name)
        if account is not None:
            account.look_again()

    async def compare(self, asked: Compare) -> Compared:
        """Raises TryLater."""
        try:
            comparing, live = self._comparing(asked.flow, asked.account, asked.at_ms)
        except BadInput as error:
            return not_compared(asked, self._tools.clock.now_ms(), str(error))
        return await comparing.compare(asked, live)

    async def count(self, asked: Census) -> AsyncIterator[Compared]:
        """Raises TryLater; Malformed for ids that are none."""
        try:
            comparing, live = self._comparing(asked.flow, asked.account, asked.at_ms)
        except BadInput as error:
            yield not_counted(asked, self._tools.clock.now_ms(), str(error))
            return
        async for told in comparing.counting.count(asked, live):
            yield told

    async def poll(self, poll: Poll) -> Page:
        """Raises TryLater."""
        try:
            comparing, live = self._comparing(poll.flow, poll.account, poll.at_ms)
        except BadInput as error:
            return Page(failed(poll, self._tools.clock.now_ms(), str(error)))
        return await comparing.polling.page(poll, live)

    async def pushed(self, flow: str, records: Sequence[Pushed]) -> Handed:
        """Raises Refused, TryLater."""
        live = self._tools.flows.flow(flow)
        if live is None:
            raise TryLater(f"flow {flow} is not known yet")
        comparing, live = self._comparing(flow, live.flow.netsuite.account, self._tools.clock.now_ms())
        return await comparing.polling.pushed(records, live)

    def _comparing(self, flow: str, account_name: str, at_ms: int) -> tuple[Comparing, LiveFlow]:
        """`at_ms`: when it was asked. Raises TryLater, BadInput."""
        name, live = account_name.lower(), self._tools.flows.flow(flow)
        account = self._account(name, flow) if self.started else None
        if account is None or live is None or live.flow.netsuite.account.lower() != name:
            if self.started and self._tools.clock.now_ms() - at_ms > FLOW_COMES_WITHIN_MS:
                raise BadInput(f"no flow {flow} of account {account_name} is known here")
            raise TryLater(f"flow {flow} is not known yet")
        return account.comparing, live

    async def prove(self) -> None:
        """Raises TryLater unless it is still ours."""
        await prove(self._tools.settler)

    async def close(self, within_s: float) -> int | None:
        """Give it up in order: finish what is in flight, settle it, keep the store. The next offset to commit."""
        await asyncio.gather(*(account.stop(within_s) for account in self._accounts.values()))
        try:
            await asyncio.wait_for(self._tools.settler.drained(), within_s)
        except TimeoutError:
            log.warning("settling_not_ended", partition=self.number)
        await self._end_settling()
        position = self.position()
        self._tools.store.close(now_ms=self._tools.clock.now_ms())
        return position

    async def drop(self) -> None:
        """Somebody else owns it already: record nothing, and do not trust the store."""
        await asyncio.gather(*(account.stop(0.0) for account in self._accounts.values()))
        await self._end_settling()
        self._tools.store.abandon()

    async def _end_settling(self) -> None:
        self._settling.cancel()
        await asyncio.gather(self._settling, return_exceptions=True)
        await self._producer.close()

    def check(self) -> None:
        """Raises MustStop when settling has ended by itself."""
        if self._settling.done() and not self._settling.cancelled() and not self.fenced:
            error = self._settling.exception()
            raise MustStop(f"settling partition {self.number} ended: {type(error).__name__}") from error


def _account_of(key: str) -> str:
    return key.partition("/")[0]
