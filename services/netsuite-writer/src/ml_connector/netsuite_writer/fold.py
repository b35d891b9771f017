"""Fold `netsuite.observed` into the store: until its end whatever is known, afterwards only what is not ours.

A value that cannot be read stops nobody. It is told and counted, and taken for the worst it may have said: an attempt,
that some call was never answered; a batch, that any state that waits was in it; a halt or a suspension, that it holds.
An observed state is only read when its record is asked for: that record waits until a person decides (Store.observed).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

from ml_connector.common import keys
from ml_connector.common.codec import Wire
from ml_connector.common.errors import Malformed, MustStop, TryLater, UnknownSchema
from ml_connector.common.generation import Generation
from ml_connector.common.kafka.record import Record
from ml_connector.common.logs import get_logger
from ml_connector.common.wire import Attempt, BatchJob, Desired, Member, Standing
from ml_connector.netsuite_writer import doubt
from ml_connector.netsuite_writer.job import Tools
from ml_connector.netsuite_writer.store import Waiting
from ml_connector.netsuite_writer.unanswered import in_doubt

log = get_logger()

W = TypeVar("W", bound=Wire)

_ATTEMPT, _JOB, _FLOW = "attempt/", "job/", "flow/"
_STANDINGS = ("account/", _FLOW)
_NOBODYS: Final = Generation(0)  # no state has it, so what was settled is always another one
UNREADABLE: Final = "what was kept of it cannot be read"


class ObservedFold:
    """Of one partition, within one assignment. In order: `take` until the end, `end`, `start`; then `take` again."""

    def __init__(self, partition: int, tools: Tools) -> None:
        self._partition = partition
        self._tools = tools
        self._ended, self._started = False, False
        self._resumed: set[str] = set()
        self._strays: dict[str, int] = {}  # batches that are nobody's any more -> when they appeared
        self._lost_attempts: set[str] = set()  # records whose attempt cannot be read
        self._lost_batch = False  # or that of a batch

    def take(self, records: Sequence[Record]) -> None:
        """Inside a change of the store. Raises MustStop for what a newer release wrote."""
        observed: dict[str, bytes | None] = {}
        for record in records:
            key = (record.key or b"").decode()
            self._tools.store.unreadable.discard(key)
            if self._ended:
                self._take_foreign(key, record.value)
            elif not self._take_open(key, record.value):
                observed[key] = record.value
        if observed:
            self._tools.store.put_all_observed(observed)
        if self._started:
            self._doubt_what_is_lost()

    def end(self) -> None:
        """What comes from now on was written since we own it."""
        self._ended = True

    def start(self) -> list[BatchJob]:
        """Everything is in the store that will be: the batches that a former owner left behind."""
        self._started = True
        self._doubt_what_is_lost()
        return self._tools.store.jobs()

    def resumed(self, job: BatchJob) -> None:
        """It is seen through; what its former owner writes of it means nothing."""
        self._resumed.add(job.idempotency_key)

    def stray(self, job: BatchJob) -> None:
        """Nobody sees it through: its records are in doubt."""
        self._strays[job.idempotency_key] = self._tools.clock.now_ms()
        for member in job.members:
            self._put(in_doubt(member, self._tools))

    async def forget_strays(self, now_ms: int) -> None:
        """Until the quiet time of their records is over the next owner has to find them."""
        for key, seen_ms in tuple(self._strays.items()):
            if seen_ms + int(self._tools.settings.quiet_s * 1000) > now_ms:
                continue
            try:
                await self._tools.messages.job(None, key)
            except TryLater:
                return
            del self._strays[key]

    # -- until the end -----------------------------------------------------------------------------------------------

    def _take_open(self, key: str, value: bytes | None) -> bool:
        """Whether it says what is open or suspended, and not what a record's state is."""
        store, name, now_ms = self._tools.store, key.partition("/")[2], self._tools.clock.now_ms()
        if key.startswith(_ATTEMPT):
            self._lost_attempts.discard(name)
            attempt = self._read(Attempt, key, value)
            store.put_attempt(name, None if attempt is None else doubt.restored(attempt, now_ms))
        elif key.startswith(_JOB):
            self._strays.pop(name, None)
            store.put_job(name, self._read(BatchJob, key, value))
        elif key.startswith(_STANDINGS):
            standing = self._read(Standing, key, value)
            if standing is None and value is not None:
                standing = Standing(
                    state="halted" if key.startswith(_FLOW) else "suspended", reason=UNREADABLE, at_ms=now_ms
                )
            store.put_standing(key, standing)
        else:
            return False
        return True

    def _read(self, kind: type[W], key: str, value: bytes | None) -> W | None:
        """None also for what cannot be read."""
        try:
            return None if value is None else kind.decode(value)
        except UnknownSchema as error:
            raise MustStop(f"{key}: {error}") from error
        except Malformed as error:
            log.error("stored_entry_unreadable", partition=self._partition, name=key, problem=str(error))
        self._tools.store.unreadable.add(key)
        name = key.partition("/")[2]
        if kind is Attempt:
            self._lost_attempts.add(name)
        elif kind is BatchJob:
            self._lost_batch = True
            self._strays[name] = self._tools.clock.now_ms()
        return None

    # -- after it ----------------------------------------------------------------------------------------------------

    def _take_foreign(self, key: str, value: bytes | None) -> None:
        """What a former owner wrote that does not know yet that it is one: its records are in doubt."""
        if key.startswith(_ATTEMPT):
            attempt = self._read(Attempt, key, value)
            if attempt is not None and attempt.open and attempt.owner != self._tools.owner:
                log.warning("attempt_of_a_former_owner", partition=self._partition, record_key=attempt.record_key)
                known, now_ms = self._tools.store.attempt(attempt.record_key), self._tools.clock.now_ms()
                self._put(doubt.joined(attempt, known, now_ms))
        elif key.startswith(_JOB):
            job = self._read(BatchJob, key, value)
            if job is not None and job.owner != self._tools.owner and job.idempotency_key not in self._resumed:
                log.warning("batch_of_a_former_owner", partition=self._partition, records=len(job.members))
                self.stray(job)

    # -- what cannot be read -----------------------------------------------------------------------------------------

    def _doubt_what_is_lost(self) -> None:
        if not (self._lost_batch or self._lost_attempts):
            return
        for one in list(self._tools.store.all_desired()):
            record = keys.DesiredKey.parse(one.key).record
            if self._lost_batch or record in self._lost_attempts:
                self._doubt_waiting(one, record)
                self._lost_attempts.discard(record)
        for record in self._lost_attempts:
            self._doubt_settled(record)
        self._lost_batch, self._lost_attempts = False, set()

    def _doubt_waiting(self, one: Waiting, record: str) -> None:
        try:
            self._doubt(record, Desired.decode(one.body))
        except (Malformed, UnknownSchema):
            return  # it is not written: partition.py tells of it

    def _doubt_settled(self, record: str) -> None:
        """Nothing of it waits: an older call was not answered, and a newer one was."""
        try:
            observed = self._tools.store.observed(record)
        except Malformed:
            return  # it is not written, as said above
        live = None if observed is None else self._tools.flows.flow(observed.flow)
        source = None if live is None else keys.source_of(live.flow.external_ids, record.rpartition("/")[2])
        if live is None or source is None:
            log.error("record_not_read_again", partition=self._partition, record_key=record)
            return
        self._doubt(record, Member("", live.flow.flow, live.flow.pipedrive.company, *source))

    def _doubt(self, record: str, source: Desired | Member) -> None:
        """Of a state that nobody knows: after the quiet time the object is read again, whatever was settled."""
        known, now_ms = self._tools.store.attempt(record), self._tools.clock.now_ms()
        doubts = () if known is None else known.doubts
        made = doubt.attempt_of(source, record, _NOBODYS, owner=self._tools.owner, at_ms=now_ms, doubts=doubts)
        self._put(doubt.unanswered(made, now_ms))

    def _put(self, attempt: Attempt) -> None:
        self._tools.store.put_attempt(attempt.record_key, attempt)
