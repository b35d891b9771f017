"""Make one record's call: references, attempt, request, verdict. It runs in one slot.

In: a job whose parent is settled. Out: how it ended, or what NetSuite said. Never: scheduling, settling, pauses.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from opentelemetry.trace import SpanKind

from ml_connector.common import telemetry
from ml_connector.common.directory import LiveFlow
from ml_connector.common.errors import ConnectorError, SecretUnreadable, TryLater
from ml_connector.common.logs import get_logger
from ml_connector.common.wire import Attempt, Try
from ml_connector.netsuite_writer import doubt, settle, write
from ml_connector.netsuite_writer.job import Job, Tools
from ml_connector.netsuite_writer.netsuite.client import NetsuiteClient, Response
from ml_connector.netsuite_writer.netsuite.tokens import TokenRefused
from ml_connector.netsuite_writer.outcome import Ending
from ml_connector.netsuite_writer.references import References, Unknown
from ml_connector.netsuite_writer.settle import Answer

log = get_logger()


@dataclass(frozen=True, slots=True)
class Told:
    """What NetSuite said to a job's request, with the bytes of both."""

    verdict: settle.Verdict
    request: bytes = b""
    response: bytes = b""
    digest: str = ""


class NotOurs(TryLater):
    """Nothing was asked of NetSuite: the broker is away, or somebody else owns the partition."""


class Caller:
    """Calls of one account."""

    def __init__(self, account: str, *, client: NetsuiteClient, tools: Tools) -> None:
        self._account = account
        self._client = client
        self._tools = tools
        self._references = References(client, tools.clock)

    async def make(self, job: Job, live: LiveFlow, parent_id: str | None) -> Ending | Told:
        """Raises NotOurs when no call may be made."""
        request = await self._request(job, live, parent_id)
        if isinstance(request, Ending):
            return request
        if isinstance(request, Answer):
            return Told(settle.settle(request, "upsert"))
        await self._announce(job)
        return await self._ask(job, request)

    async def _request(self, job: Job, live: LiveFlow, parent_id: str | None) -> write.Request | Ending | Answer:
        desired = job.desired
        if desired.action == "inactivate":
            statuses = live.flow.statuses
            request = write.inactivate(desired, lost_status=statuses.get("deleted") or statuses.get("lost"))
            return request or Ending("ignored", "the flow names no status for deleted deals (statuses.deleted)")
        found = await self._guarded(self._references.find(desired.references))
        if isinstance(found, Answer):
            return found
        if isinstance(found, Unknown):
            text = f"field {found.field!r}: NetSuite has no such {found.kind}"
            return Ending("dead_lettered", text, "write", "UNKNOWN_REFERENCE", tries=job.entry.tries)
        observed = self._tools.store.observed(desired.record_key)
        return write.upsert(desired, observed=observed, parent_id=parent_id, found=found)

    async def _announce(self, job: Job) -> None:
        """Before a call its attempt is in the topic, and the partition was ours a moment ago."""
        attempt = self._attempt(job)
        try:
            _, ours = await asyncio.gather(
                self._tools.messages.attempt(attempt, job.entry.record), self._tools.settler.prove()
            )
        except TryLater as error:
            raise NotOurs("the broker did not take the attempt") from error
        if not ours:
            raise NotOurs("somebody else owns the partition")
        with self._tools.store.change():
            self._tools.store.put_attempt(job.entry.record, attempt.encode())

    async def _ask(self, job: Job, request: write.Request) -> Told:
        response = await self._call(job, request)
        verdict = settle.settle(response.answer, request.kind)
        if isinstance(verdict, settle.Landed):
            verdict, response = await self._landed(job, request)
        if isinstance(verdict, settle.Written) and verdict.internal_id is None:
            verdict = settle.Written(await self._look_up(job, request))
        return Told(verdict, request.body, response.body, request.digest)

    async def _landed(self, job: Job, request: write.Request) -> tuple[settle.Verdict, Response]:
        """Our external id exists: then the same upsert is an update now. Otherwise somebody else has the name."""
        found = await self._guarded_response(self._client.find(request, traceparent=job.traceparent))
        if found.answer.status == 404:
            return settle.Reject("DUPLICATE", "This entity already exists, under another external id."), found
        if found.answer.status != 200:
            return settle.settle(found.answer, request.kind), found
        again = await self._call(job, request)
        verdict = settle.settle(again.answer, request.kind)
        if isinstance(verdict, settle.Landed):
            verdict = settle.Reject(again.answer.code, again.answer.detail)
        return verdict, again

    async def _call(self, job: Job, request: write.Request) -> Response:
        """One request, noted in the entry's tries, inside one span of the event's trace."""
        started_ms = self._tools.clock.now_ms()
        parent = job.traceparent.encode()
        name = f"{request.method} {request.record_type}"
        with telemetry.span(
            name, SpanKind.CLIENT, parent=parent, attributes={"http.request.method": request.method}
        ) as span:
            response = await self._guarded_response(self._client.write(request, traceparent=span.traceparent))
            span.tell("http.response.status_code", response.answer.status)
        took_ms = self._tools.clock.now_ms() - started_ms
        answer = response.answer
        path = f"{request.record_type}/eid:{request.external_id}"
        job.entry.tries.append(
            Try(started_ms, took_ms, request.method, path, answer.status, answer.code, answer.detail)
        )
        return response

    def _attempt(self, job: Job) -> Attempt:
        desired = job.desired
        before = self._tools.store.attempt(desired.record_key)
        return Attempt(
            record_key=desired.record_key,
            flow=desired.flow,
            entity=desired.entity,
            source_id=desired.source_id,
            company=desired.company,
            generation=desired.generation,
            at_ms=self._tools.clock.now_ms(),
            owner=self._tools.owner,
            doubts=doubt.restored(before).doubts if before is not None else (),
        )

    async def _look_up(self, job: Job, request: write.Request) -> str | None:
        """A written record whose answer did not name its id: children need it."""
        before = self._tools.store.observed(job.desired.record_key)
        if before is not None and before.internal_id is not None:
            return before.internal_id
        found = await self._guarded_response(self._client.find(request, traceparent=job.traceparent))
        return found.answer.internal_id

    async def _guarded(self, work: Any) -> Any:
        """What a refused or unreachable token endpoint means is the same as for any other request."""
        try:
            return await work
        except (TokenRefused, SecretUnreadable) as error:
            log.warning("credentials_refused", account=self._account, problem=str(error))
            return Answer(401)
        except ConnectorError as error:
            return Answer(0, detail=str(error), sent=False)

    async def _guarded_response(self, work: Any) -> Response:
        found = await self._guarded(work)
        return found if isinstance(found, Response) else Response(found)
