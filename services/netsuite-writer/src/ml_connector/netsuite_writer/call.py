"""Make one record's request: references, strategy, digest; announce its attempt; ask NetSuite; say what it told.

In: a job whose parent is settled. Out: how it ended, or what NetSuite said. Never: scheduling, settling, pauses.
"""

from __future__ import annotations

from ml_connector.common import measuring, metrics
from ml_connector.common.directory import LiveFlow
from ml_connector.common.errors import TryLater
from ml_connector.common.wire import Attempt, Desired, Try
from ml_connector.netsuite_writer import doubt, match, settle, write
from ml_connector.netsuite_writer.adopt import match_rules
from ml_connector.netsuite_writer.job import Ready, Told, Tools
from ml_connector.netsuite_writer.netsuite.client import NetsuiteClient, Response
from ml_connector.netsuite_writer.outcome import Ending
from ml_connector.netsuite_writer.references import References, Unknown
from ml_connector.netsuite_writer.settle import Answer
from ml_connector.netsuite_writer.settlement import Settler

SAME = "NetSuite already holds exactly this"


class NotOurs(TryLater):
    """Nothing was asked of NetSuite: the broker is away, or somebody else owns the partition."""


async def prove(settler: Settler) -> None:
    """Raises NotOurs unless the partition is still ours."""
    if settler.proved:
        return
    try:
        ours = await settler.prove()
    except TryLater as error:
        raise NotOurs("the broker does not answer") from error
    if not ours:
        raise NotOurs("somebody else owns the partition")


class Caller:
    """Calls of one account."""

    def __init__(self, *, client: NetsuiteClient, tools: Tools) -> None:
        self._client = client
        self._tools = tools
        self._references = References(client, tools.clock)
        self.ready_s = 0.0  # from an attempt to its acknowledgement, as a moving average

    async def make(self, job: Ready) -> Ending | Told:
        """Raises NotOurs when no call may be made."""
        request = await self.prepare(job)
        if isinstance(request, write.Request) and request.kind == "upsert" and looks_up(job.desired, job.live):
            request = await self._create_or_update(job, request)
        if isinstance(request, Ending):
            return request
        if isinstance(request, Answer):
            return Told(settle.settle(request, "upsert"))
        await self._announce(job)
        return await self._ask(job, request)

    async def prepare(self, job: Ready, *, unless_held: bool = True) -> write.Request | Ending | Answer:
        """The request; or how the job ends without one; or the answer that says why nobody knows.

        `unless_held`: none for what NetSuite is known to hold.
        """
        desired = job.desired
        if desired.action != "upsert":  # deleted, gone, merged
            statuses = job.live.flow.statuses
            made = write.inactivate(desired, lost_status=statuses.get("deleted") or statuses.get("lost"))
            if made is None:
                return Ending("ignored", "the flow names no status for deleted deals (statuses.deleted)")
            return self._unless_held(job, made)
        found = await self._references.find(desired.references)
        if isinstance(found, Answer):
            return found
        if isinstance(found, Unknown):
            text = f"field {found.field!r}: NetSuite has no such {found.kind}"
            return Ending("dead_lettered", text, "write", "UNKNOWN_REFERENCE", tries=job.entry.tries)
        observed, adopts = self._tools.store.observed(desired.record_key), job.entry.adopts
        in_doubt = desired.force or self._tools.store.in_doubt(desired.record_key)  # of a deletion, perhaps
        revive = in_doubt or adopts is not None
        request = write.upsert(desired, observed=observed, parent_id=job.parent_id, found=found, revive=revive)
        if adopts is not None:
            return request.as_("adopt", adopts)
        return self._unless_held(job, request) if unless_held else request

    async def prove(self) -> None:
        """The partition was ours a moment ago. Raises NotOurs."""
        await prove(self._tools.settler)

    def _unless_held(self, job: Ready, request: write.Request) -> write.Request | Ending:
        """Skip what NetSuite is known to hold; not while a call of an unknown outcome may yet change it."""
        record = job.desired.record_key
        observed = self._tools.store.observed(record)
        if observed is None or job.desired.force or observed.digest != request.digest or observed.outcome != "written":
            return request
        if self._tools.store.in_doubt(record):
            return request
        return Ending("written", SAME, internal_id=observed.internal_id, digest=request.digest, tries=job.entry.tries)

    async def _create_or_update(self, job: Ready, request: write.Request) -> write.Request | Answer:
        """For an account that does not take PUT: PATCH what is there, else POST."""
        if self._tools.store.internal_id(job.desired.record_key) is not None:
            return request.as_("update")
        found = (await self._client.find(request, traceparent=job.traceparent)).answer
        if found.status == 404:
            return request.as_("create")
        return request.as_("update") if found.status == 200 else found

    async def _announce(self, job: Ready) -> None:
        """Before a call its attempt is in the topic; and here before that, as a message may arrive and seem lost."""
        attempt = self._attempt(job)
        self._tools.store.put_attempt(job.entry.record, attempt)
        began_s = self._tools.clock.monotonic_s()
        try:
            await self._tools.messages.attempt(attempt, job.entry.record)
        except TryLater as error:
            raise NotOurs("the broker did not take the attempt") from error
        took_s = self._tools.clock.monotonic_s() - began_s
        self.ready_s = took_s if self.ready_s == 0.0 else self.ready_s + (took_s - self.ready_s) / 16

    async def _ask(self, job: Ready, request: write.Request) -> Told:
        response = await self._call(job, request)
        verdict = settle.settle(response.answer, request.kind)
        if isinstance(verdict, settle.Landed):
            verdict, response = await self._landed(job, request)
        elif isinstance(verdict, settle.Vanished) and request.kind == "update":
            request = request.as_("create")
            response = await self._call(job, request)
            verdict = settle.settle(response.answer, request.kind)
        if isinstance(verdict, settle.Written) and verdict.internal_id is None:
            verdict = await self._look_up(job, request)
        elif isinstance(verdict, settle.Reject) and verdict.code == settle.DUPLICATE:
            verdict = await self._with_candidates(job, verdict)
        return Told(verdict, request.payload, response.body, request.digest)

    async def _landed(self, job: Ready, request: write.Request) -> tuple[settle.Verdict, Response]:
        """Our external id exists: then the same state is an update now. Otherwise somebody else has the name."""
        found = await self._client.find(request, traceparent=job.traceparent)
        if found.answer.status == 404:
            return settle.Reject(settle.DUPLICATE, "This entity already exists, under another external id."), found
        if found.answer.status != 200:
            return settle.settle(found.answer, request.kind), found
        again = await self._call(job, request.as_("update" if looks_up(job.desired, job.live) else "upsert"))
        verdict = settle.settle(again.answer, request.kind)
        if isinstance(verdict, settle.Landed):
            verdict = settle.Reject(again.answer.code, again.answer.detail)
        return verdict, again

    async def _with_candidates(self, job: Ready, refused: settle.Reject) -> settle.Reject | settle.TryAgain:
        """Whom NetSuite may mean, by the flow's match rules: a person decides (DESIGN section 6)."""
        rules = match_rules(job.desired, job.live)
        wanted = match.wanted(job.desired, rules)
        if wanted is None:
            return refused
        answer, rows = await self._client.query(match.query_all(job.desired.record_type, rules, wanted))
        if settle.fault_of(answer) is not None:
            return settle.TryAgain(unknown=False)
        candidates = match.others(wanted, rows)
        return settle.Reject(refused.code, f"{refused.message} {match.listed(candidates)}") if candidates else refused

    async def _call(self, job: Ready, request: write.Request) -> Response:
        """One request, noted in the entry's tries."""
        started_ms = self._tools.clock.now_ms()
        response = await self._client.write(request, traceparent=job.traceparent, attempt=len(job.entry.tries) + 1)
        took_ms = self._tools.clock.now_ms() - started_ms
        answer = response.answer
        measuring.count(metrics.ATTEMPTS, job.desired.account, answer.shown)
        job.entry.tries.append(
            Try(started_ms, took_ms, request.method, request.address, answer.status, answer.code, answer.detail)
        )
        return response

    def _attempt(self, job: Ready) -> Attempt:
        record, now_ms = job.entry.record, self._tools.clock.now_ms()
        before = self._tools.store.attempt(record)
        doubts = doubt.restored(before, now_ms).doubts if before is not None else ()
        return doubt.attempt_of(
            job.desired, record, job.desired.generation, owner=self._tools.owner, at_ms=now_ms, doubts=doubts
        )

    async def _look_up(self, job: Ready, request: write.Request) -> settle.Written | settle.TryAgain:
        """A written record whose answer did not name its id: children need it. Not found: it was not written."""
        known_id = self._tools.store.internal_id(job.desired.record_key)
        if known_id is not None:
            return settle.Written(known_id)
        internal_id = (await self._client.find(request, traceparent=job.traceparent)).answer.internal_id
        return settle.TryAgain(unknown=True) if internal_id is None else settle.Written(internal_id)


def looks_up(desired: Desired, live: LiveFlow) -> bool:
    """Whether its account does not take PUT for this record type (docs/unproven.md)."""
    return desired.record_type == "opportunity" and live.flow.netsuite.opportunities == "look-up"
