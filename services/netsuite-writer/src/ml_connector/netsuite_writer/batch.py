"""Write many records of one type in one asynchronous request (Oracle article_0127092747), exactly once for each.

In: jobs that may be written now. Out: their endings. A batch lives in `netsuite.observed` from before its submission
until all its records are settled: whoever owns the account then finds its job again by the idempotency key.

Its cost in slots is a submission, a poll at the moment when it should have ended, and one SuiteQL query that shows for
which records NetSuite holds what was sent. Only the others are asked one by one.

A fault of ours ends the batch, not its records: those that `hold.py` knows to be left go singly, as after no answer.
One that cannot even be put in doubt stays locked while that is tried again: nothing else would keep rule 3.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from ml_connector.common import measuring, metrics, spans, topics
from ml_connector.common.errors import TryLater
from ml_connector.common.logs import get_logger
from ml_connector.common.wire import BatchJob, Try
from ml_connector.netsuite_writer import settle
from ml_connector.netsuite_writer.call import Caller, NotOurs
from ml_connector.netsuite_writer.hold import Hold
from ml_connector.netsuite_writer.job import Desk, Job, Ready, Told, Tools
from ml_connector.netsuite_writer.netsuite.client import NetsuiteClient
from ml_connector.netsuite_writer.netsuite.reading import last_segment
from ml_connector.netsuite_writer.outcome import Ending
from ml_connector.netsuite_writer.questions import TRIES, Gone, Questions
from ml_connector.netsuite_writer.settle import Answer
from ml_connector.netsuite_writer.together import together
from ml_connector.netsuite_writer.unanswered import Unanswered, member_of
from ml_connector.netsuite_writer.write import Request, named

log = get_logger()

IDEMPOTENCY_ERROR: Final = "IDEMPOTENCY_ERROR"


class _Refused(Exception):
    """NetSuite has not taken the batch, for another reason than load: its records go by single calls."""


@dataclass(frozen=True, slots=True)
class _Member:
    job: Ready
    request: Request


@dataclass(frozen=True, slots=True)
class _Batch:
    """`known_order`: NetSuite got the members in this order; after a crash nobody can tell."""

    stored: BatchJob
    members: Sequence[_Member]
    known_order: bool


class Batches:
    """The batches of one account."""

    def __init__(self, account: str, *, client: NetsuiteClient, caller: Caller, desk: Desk, tools: Tools) -> None:
        self._account = account
        self._client = client
        self._caller = caller
        self._desk = Hold(desk)
        self._tools = tools
        self._topic = topics.DESIRED.full_name(tools.settings.topic_prefix)
        self._questions = Questions(account, client=client, tools=tools)
        self._unanswered = Unanswered(account, desk=self._desk, tools=tools)
        self.under_way = 0

    def worth(self, depth: int, *, calls_per_s: float) -> bool:
        """Whether a batch ends before single calls would have come to the end of the queue."""
        settings = self._tools.settings
        if self.under_way >= settings.jobs_at_once or depth < settings.batch_from:
            return False
        return depth >= calls_per_s * self._questions.expected_s(settings.batch_size)

    async def run(self, jobs: Sequence[Ready]) -> None:
        """From the first line to the last."""
        self._desk.take(jobs)
        stored: BatchJob | None = None
        try:
            members = await self._prepared(jobs)
            if len(members) < 2:
                for member in members:
                    self._desk.go_first(member.job, "single")
                return
            stored = self._new(members)
            await self._announce(stored)
            await self._traced(_Batch(stored, members, known_order=True))
        except Exception as error:  # the top of a task: a fault of ours must not lose the records
            log.error("batch_failed", account=self._account, records=len(jobs), exc_info=error)
            await self._give_up(jobs, stored)

    def _new(self, members: Sequence[_Member]) -> BatchJob:
        return BatchJob(
            idempotency_key=str(uuid.uuid4()),
            account=self._account,
            record_type=members[0].request.record_type,
            members=tuple(member_of(member.job) for member in members),
            at_ms=self._tools.clock.now_ms(),
            owner=self._tools.owner,
        )

    async def resume(self, stored: BatchJob, jobs: Sequence[Ready]) -> None:
        """A batch of a former owner; `jobs` are those of its records that are not settled yet."""
        self._desk.take(jobs)
        try:
            made = [(job, await self._caller.prepare(job, unless_held=False)) for job in jobs]
            members = [_Member(job, request) for job, request in made if isinstance(request, Request)]
            await self._traced(_Batch(stored, members, known_order=False))
            # Locked until now, as they may have been in the batch.
            await self._unanswered.go_again([job for job, request in made if not isinstance(request, Request)])
        except Exception as error:  # the top of a task, as above
            log.error("batch_failed", account=self._account, records=len(jobs), exc_info=error)
            await self._give_up(jobs, stored)

    async def _give_up(self, jobs: Sequence[Ready], stored: BatchJob | None) -> None:
        """Whoever has not ended goes singly; in doubt as in `Gone`, once NetSuite may be executing the batch."""
        left = self._desk.left(jobs)
        if stored is None:
            for job in left:
                self._desk.go_later(job, "single")
            return
        await self._unanswered.go_again(left)
        await self._forget(stored)

    async def _traced(self, batch: _Batch) -> None:
        """One span for all, which the requests of the batch belong to; linked to each member's trace."""
        traces = [member.job.traceparent for member in batch.members]
        more = {spans.ACCOUNT: batch.members[0].job.desired.account, spans.RECORD_TYPE: batch.stored.record_type}
        with spans.batch(self._topic, traces, more):
            await self._see_through(batch)

    async def _see_through(self, batch: _Batch) -> None:
        try:
            job_id = batch.stored.job_id or await self._submitted(batch)
            await self._questions.completed(job_id, len(batch.members))
            await self._settle(batch, job_id)
        except _Refused:
            for member in batch.members:
                self._desk.go_first(member.job, "single")
        except Gone:
            log.warning("batch_gone", account=self._account, id=batch.stored.job_id)
            await self._unanswered.go_again([member.job for member in batch.members])
        await self._forget(batch.stored)

    # -- before ------------------------------------------------------------------------------------------------------

    async def _prepared(self, jobs: Sequence[Ready]) -> list[_Member]:
        """Those that need a request; the others end here, and one that meets a fault of ours goes alone, later."""
        members: list[_Member] = []
        endings: list[tuple[Job, Ending]] = []
        for job in jobs:
            try:
                made = await self._caller.prepare(job)
                ending = made if isinstance(made, Ending) else None
                if isinstance(made, Answer):
                    ending = self._desk.follow(job, Told(settle.settle(made, "upsert")))
            except Exception as error:  # noqa: BLE001  one of many: the others must not wait for it
                job.entry.way = "single"
                self._desk.fault(job, error)
                continue
            if isinstance(made, Request):
                members.append(_Member(job, made))
            elif ending is not None:
                endings.append((job, ending))
        await self._end(endings)
        return members

    async def _announce(self, stored: BatchJob) -> None:
        """Before the request its members and its key are in the topic. Tried until it is certain: the message may have
        arrived, and then a later owner would find its records in this batch, whatever else became of them."""
        failures = 0
        while True:
            try:
                await self._tools.messages.job(stored, stored.idempotency_key)
            except TryLater as error:
                log.warning("batch_not_announced", account=self._account, problem=str(error))
            else:
                break
            failures += 1
            await self._pause(failures)
        self._store(stored)

    async def _submitted(self, batch: _Batch) -> str:
        """The job's id. Asked again with the same key until there is an answer: NetSuite takes a key only once."""
        items = [named(member.request.external_id, member.request.body) for member in batch.members]
        stored = batch.stored
        failures, refusals, may_arrive = 0, 0, not batch.known_order
        while items:
            answer = await self._submit(stored, items)
            measuring.count(metrics.ATTEMPTS, batch.members[0].job.desired.account, answer.shown)
            if answer.location and (answer.status == 202 or answer.code == IDEMPOTENCY_ERROR):
                job_id = last_segment(answer.location)
                await self._note(msgspec.structs.replace(stored, job_id=job_id))
                return job_id
            fault = settle.fault_of(answer)
            if fault is None and answer.status != 202 and answer.code:
                log.warning("batch_refused", account=self._account, status=answer.status, code=answer.code)
                if not may_arrive:
                    raise _Refused
                refusals += 1  # an earlier try may yet arrive: once one is taken, NetSuite takes the key no more
                if refusals >= TRIES:
                    raise Gone
            may_arrive = may_arrive or (answer.sent and fault in {None, "unavailable"})
            failures += 1
            await self._pause(failures)
        raise _Refused

    async def _submit(self, stored: BatchJob, items: list[bytes]) -> Answer:
        try:
            response = await self._client.submit(
                stored.record_type,
                items,
                idempotency_key=stored.idempotency_key,
                parallel=self._tools.settings.batch_parallel,
            )
        except NotOurs as error:  # an earlier try may have arrived
            return Answer(0, detail=str(error), sent=False)
        return response.answer

    async def _note(self, stored: BatchJob) -> None:
        """Only spares the next owner a question."""
        self._store(stored)
        try:
            await self._tools.messages.job(stored, stored.idempotency_key)
        except TryLater as error:
            log.warning("job_not_kept", account=self._account, problem=str(error))

    # -- after -------------------------------------------------------------------------------------------------------

    async def _settle(self, batch: _Batch, job_id: str) -> None:
        tried = Try(
            batch.stored.at_ms,
            self._tools.clock.now_ms() - batch.stored.at_ms,
            "PUT",
            f"{batch.stored.record_type} (job {job_id})",
            202,
        )
        for member in batch.members:
            member.job.entry.tries.append(tried)
        sent = {member.request.external_id: member.request.body for member in batch.members}
        held = await self._questions.held(batch.stored.record_type, sent)
        endings: list[tuple[Job, Ending]] = []
        doubtful: list[_Member] = []
        for member in batch.members:
            internal_id = held.get(member.request.external_id)
            if internal_id is None:
                doubtful.append(member)
            else:
                told = Told(settle.Written(internal_id), member.request.payload, b"", member.request.digest)
                self._collect(member, told, endings)
        await together(self._end(endings), self._settle_doubtful(batch, job_id, doubtful))

    async def _settle_doubtful(self, batch: _Batch, job_id: str, doubtful: Sequence[_Member]) -> None:
        by_results = batch.known_order and self._tools.settings.batch_doubtful == "results"
        numbers = await self._questions.task_numbers(job_id) if doubtful and by_results else []
        if len(numbers) != len(batch.members):
            for member in doubtful:
                self._desk.go_first(member.job, "single")
            return
        places = {member.job.entry.record: number for member, number in zip(batch.members, numbers, strict=True)}
        results = await together(
            *(self._result(f"{job_id}/task/{places[member.job.entry.record]}/result", member) for member in doubtful)
        )
        told_of = {member.job.entry.record: told for member, told in zip(doubtful, results, strict=True)}
        endings: list[tuple[Job, Ending]] = []
        went_on = False  # whether a member behind this one was written
        for member in reversed(batch.members):
            told = told_of.get(member.job.entry.record)
            if member.job.entry.record not in told_of:
                went_on = True
            elif told is None:
                self._desk.go_later(member.job, "single")
            elif isinstance(told.verdict, settle.Reject) and not went_on:
                # A batch may stop at a failure, and then those behind it failed in name only.
                self._desk.go_first(member.job, "single")
            else:
                went_on = went_on or isinstance(told.verdict, settle.Written)
                self._collect(member, told, endings)
        await self._end(endings)

    async def _result(self, path: str, member: _Member) -> Told | None:
        """None: it does not say, speaks of another record, or a single call finds the candidates. Asked once: it stays
        what it is."""
        response = await self._client.result(path)
        verdict = settle.settle(response.answer, "upsert")
        known_id = self._tools.store.internal_id(member.job.entry.record)
        match verdict:
            case settle.Written(internal_id=str() as internal_id) if known_id in {None, internal_id}:
                return Told(verdict, member.request.payload, response.body, member.request.digest)
            case settle.Reject(code=code) if code not in {"NONEXISTENT_ID", "unclassified", settle.DUPLICATE}:
                return Told(verdict, member.request.payload, response.body, member.request.digest)
            case settle.TryAgain(unknown=True):
                await self._unanswered.note(member.job)
        return None

    def _collect(self, member: _Member, told: Told, endings: list[tuple[Job, Ending]]) -> None:
        ending = self._desk.follow(member.job, told)
        if ending is not None:
            endings.append((member.job, ending))

    async def _end(self, endings: Sequence[tuple[Job, Ending]]) -> None:
        await together(*(self._desk.end(job, ending) for job, ending in endings))

    async def _forget(self, stored: BatchJob) -> None:
        """All its records are settled or wait again. A message that is not taken costs the next owner a look."""
        try:
            await self._tools.messages.job(None, stored.idempotency_key)
        except TryLater as error:
            log.warning("job_not_forgotten", account=self._account, problem=str(error))
        self._tools.store.put_job(stored.idempotency_key, None)

    def _store(self, stored: BatchJob) -> None:
        self._tools.store.put_job(stored.idempotency_key, stored)

    async def _pause(self, failures: int) -> None:
        await self._tools.clock.sleep(self._tools.backoff_s(failures))
