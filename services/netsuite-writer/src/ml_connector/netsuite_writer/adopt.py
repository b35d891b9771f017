"""Look for records that exist in NetSuite already, before a record is written for the first time.

In: jobs of records never seen in NetSuite, whose flow has match rules. Out: the same jobs, told whom to adopt.
One query for many jobs, one query at a time for each record type, so that two records never take over the same one.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from ml_connector.common import spans
from ml_connector.common.directory import LiveFlow
from ml_connector.common.keys import RecordType
from ml_connector.common.logs import get_logger
from ml_connector.common.wire import Desired
from ml_connector.netsuite_writer import match, settle
from ml_connector.netsuite_writer.hold import Hold
from ml_connector.netsuite_writer.job import Desk, Ready, Told
from ml_connector.netsuite_writer.netsuite.client import NetsuiteClient
from ml_connector.netsuite_writer.outcome import Ending

log = get_logger()

Spawn = Callable[[Coroutine[Any, Any, object]], object]


def match_rules(desired: Desired, live: LiveFlow) -> tuple[str, ...]:
    """The body fields that must be equal; none: nothing to look for."""
    mapping = live.flow.mapping_of(desired.entity)
    return mapping.match if mapping is not None else ()


class Adoption:
    """The match queries of one account."""

    def __init__(self, client: NetsuiteClient, desk: Desk, spawn: Spawn, *, topic: str) -> None:
        """`topic`: where the jobs are from."""
        self._client = client
        self._topic = topic
        self._desk = Hold(desk)
        self._spawn = spawn
        self._waiting: dict[RecordType, list[Ready]] = {}
        self._asking: set[RecordType] = set()
        self._claims: dict[str, str] = {}  # internal id -> record key that takes it over

    def full(self) -> list[RecordType]:
        """Types of which enough jobs wait for the next query."""
        return [kind for kind, jobs in self._waiting.items() if len(jobs) >= match.MOST_WANTED]

    def ask(self, job: Ready) -> None:
        """The job is given back to the desk once the answer is there."""
        kind = job.desired.record_type
        self._desk.take([job])
        self._waiting.setdefault(kind, []).append(job)
        if kind not in self._asking:
            self._asking.add(kind)
            self._spawn(self._ask_all(kind))

    async def _ask_all(self, kind: RecordType) -> None:
        try:
            while waiting := self._waiting[kind]:
                fields = match_rules(waiting[0].desired, waiting[0].live)
                group: list[Ready] = []
                others: list[Ready] = []
                for job in waiting:
                    asks = len(group) < match.MOST_WANTED and match_rules(job.desired, job.live) == fields
                    (group if asks else others).append(job)
                self._waiting[kind] = others
                await self._ask_surely(kind, fields, group)
        finally:
            self._asking.discard(kind)

    async def _ask_surely(self, kind: RecordType, fields: tuple[str, ...], group: list[Ready]) -> None:
        """After a fault of ours each is asked for alone: only the one that brings it about has to wait."""
        try:
            await self._ask(kind, fields, group)
        except Exception as error:  # in a task of its own: a fault of ours must not lose the jobs
            left = self._desk.left(group)
            if len(group) > 1:
                log.warning("match_failed", kind=kind, records=len(left), exc_info=error)
            for job in left:
                if len(group) == 1:
                    self._desk.fault(job, error)
                else:
                    await self._ask_surely(kind, fields, [job])

    async def _ask(self, kind: RecordType, fields: tuple[str, ...], group: list[Ready]) -> None:
        wanted = {job.entry.record: match.wanted(job.desired, fields) for job in group}
        asked = [one for one in wanted.values() if one is not None]
        found: dict[str, match.Found] = {}
        if asked:
            traces = [job.traceparent for job in group]
            more = {spans.ACCOUNT: group[0].desired.account, spans.RECORD_TYPE: kind}
            with spans.batch(self._topic, traces, more, operation="match"):
                answer, rows = await self._client.query(match.query(kind, fields, asked))
            if answer.status != 200:
                for job in group:
                    await self._refused(job, Told(settle.settle(answer, "upsert")))
                return
            taken = {internal_id for internal_id, record in self._claims.items() if record not in wanted}
            found = match.decide(fields, asked, rows, claimed=taken)
        for job in group:
            await self._tell(job, fields, found.get(job.entry.record, match.Nobody()))

    async def _tell(self, job: Ready, fields: tuple[str, ...], found: match.Found) -> None:
        match found:
            case match.Unsure():
                await self._ask(job.desired.record_type, fields, [job])
            case match.Adopt(internal_id=internal_id):
                self._claims[internal_id] = job.entry.record
                job.entry.adopts = internal_id
                self._desk.go_first(job, "single")
            case match.Exists() | match.Nobody():
                self._desk.go_first(job, "any")
            case match.Several(internal_ids=candidates):
                ending = Ending("dead_lettered", match.listed(candidates), "write", "SEVERAL_MATCHES")
                await self._desk.end(job, ending)

    async def _refused(self, job: Ready, told: Told) -> None:
        ending = self._desk.follow(job, told)
        if ending is not None:
            await self._desk.end(job, ending)
