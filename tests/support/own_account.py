"""One more account, with its own flow, of a running writer: what one test does to it, no other test sees."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Self

import msgspec
from confluent_kafka import Consumer, TopicPartition

from ml_connector.common import topics
from ml_connector.common.dead_letters import DeadLetter
from ml_connector.common.generation import Generation
from ml_connector.common.kafka.partition import partition_for
from ml_connector.common.keys import Entity, external_id, record_key
from ml_connector.common.wire import BatchJob, Desired, Hydrate, Outcome, Parent
from support.desired import RECORD_TYPES, desired
from support.judging import Violation, judge
from support.writing import PARTITIONS, SUBSIDIARY, Writing, until

WRITER: Final = "netsuite-writer"
NAMES: Final = {
    "customer": "companyName",
    "contact": "lastName",
    "opportunity": "title",
}  # of the field with the version
OF_CUSTOMER: Final = {"contact": "company", "opportunity": "entity"}
_VERSION: Final = re.compile(r"v[0-9]+\Z")
_JOB: Final = re.compile(r"/job/[^/]+\Z")
Line = dict[str, Any]  # of NetSuite's log


class OwnAccount:
    """`await OwnAccount.open(writing, "2000001")`; keeps what was emitted, for the judge."""

    def __init__(self, writing: Writing, name: str, *, slots: int) -> None:
        self.writing = writing
        self.account = f"{name}_SB1"
        self.flow = f"flow-{name}"
        self.slots = slots
        self.states: list[Desired] = []
        self._unknown: dict[str, Any] | None = None  # the flow, until the first states are there

    @classmethod
    async def open(
        cls,
        writing: Writing,
        name: str,
        *,
        slots: int = 5,
        match: Mapping[Entity, Sequence[str]] | None = None,
        changes: Mapping[str, Any] | None = None,
        **switches: Any,
    ) -> Self:
        """`match`: match rules by entity; `changes`: of its flow, as for `document`."""
        own = cls(writing, name, slots=slots)
        own._unknown = document = own.document(**(changes or {}))
        for entity, fields in (match or {}).items():
            document["entities"][entity]["match"] = list(fields)
        await writing.keep_bodies()
        await writing.add_account(own.account, **{"concurrency_limit": slots, **switches})
        return own

    def document(self, **changes: Any) -> dict[str, Any]:
        """The demo's flow for this account; mappings among the changes are merged one level deep, None takes out."""
        made = self.writing.stack.flow_document()
        made["flow"] = made["pipedrive"]["company"] = self.flow
        made["netsuite"].update(account=self.account, concurrency=self.slots)
        for name, value in changes.items():
            if value is None:
                del made[name]
            else:
                made[name] = {**made.get(name, {}), **value} if isinstance(value, Mapping) else value
        return made

    async def _make_known(self) -> None:
        if self._unknown is not None:
            await self.writing.add_flow(self._unknown)
            self._unknown = None

    # -- in ----------------------------------------------------------------------------------------------------------

    def state(
        self, entity: Entity, source_id: int | str, *, version: int = 1, of: int | str = "", **more: Any
    ) -> Desired:
        """One state, whose name carries its version; `of`: the organization of a person or deal."""
        kind = RECORD_TYPES[entity]
        name = {NAMES[kind]: f"{entity} {source_id} v{version}"}
        parent = external_id("pd", "organization", str(of))
        facts: dict[str, Any] = {
            "cause": f"{self.flow}:{entity}-{source_id}-{version}",
            "flow": self.flow,
            "company": self.flow,
            "account": self.account,
            "fields": {**name, **more.pop("fields", {})},
            "references": {} if entity == "deal" else SUBSIDIARY,
            "parent": Parent(record_key(self.account, "customer", parent), "organization", str(of)) if of else None,
        }
        return desired(entity, str(source_id), version=version, **(facts | more))

    def states_of(self, entity: Entity, numbers: Sequence[int], **facts: Any) -> list[Desired]:
        return [self.state(entity, number, **facts) for number in numbers]

    async def emit(self, *states: Desired) -> None:
        await self._make_known()
        await self._emit(*states)

    async def emit_together(self, *states: Desired) -> None:
        """The writer has all of them before it may write the first; later ones than the first lot wait in a paused flow,
        of which some may go singly when it is resumed."""
        if self._unknown is not None:
            await self._until_taken_in(await self._emit(*states))
            await self._make_known()
            return
        await self.writing.pause(True, flow=self.flow)
        await self._until_taken_in(await self._emit(*states))
        await self.writing.pause(False, flow=self.flow)

    async def _emit(self, *states: Desired) -> int:
        self.states += states
        return await self.writing.emit(*states)

    async def _until_taken_in(self, end: int) -> None:
        consumer = Consumer({**self.writing.kafka, "group.id": WRITER})
        place = TopicPartition(topics.DESIRED.name, partition_for(self.account.encode(), PARTITIONS))

        async def taken_in() -> bool:
            return (await asyncio.to_thread(consumer.committed, [place], 10))[0].offset >= end

        try:
            await until(taken_in, within_s=60)
        finally:
            consumer.close()

    async def fault(self, kind: str, *, count: int | None = 1, **facts: Any) -> int:
        return await self.writing.fault(kind, account=self.account, count=count, **facts)

    async def switch(self, **switches: Any) -> None:
        await self.writing._post("accounts", {"account": self.account, **switches})

    # -- out ---------------------------------------------------------------------------------------------------------

    async def settled(self, *states: Desired, within_s: float = 60.0) -> list[str]:
        """Outcomes by name: of these, or of all that were emitted."""
        return [one.outcome for one in await self.outcomes(*states, within_s=within_s)]

    async def outcomes(self, *states: Desired, within_s: float = 60.0) -> list[Outcome]:
        return await self.writing.settled(*(states or self.states), within_s=within_s)

    async def lines(self) -> list[Line]:
        """Requests and records of jobs."""
        return [line for line in await self.writing.log() if line["account"] == self.account]

    async def log(self) -> list[Line]:
        """Requests."""
        return [line for line in await self.lines() if not line["job"]]

    async def tasks(self) -> list[Line]:
        """Records of jobs."""
        return [line for line in await self.lines() if line["job"]]

    async def judged(self, *, slots: int = 0, client_timeout_s: float | None = None) -> list[Violation]:
        """`client_timeout_s`: after it a request that still runs is no longer the client's. NetSuite counts its slot."""
        evidence = await self.writing.evidence(self.states, slots=slots or self.slots, account=self.account)
        found = judge(evidence)
        if client_timeout_s is not None:
            hung_up = judge(replace(evidence, client_timeout_s=client_timeout_s))
            found = [*hung_up, *(one for one in found if one.rule == "slots")]
        return found

    async def held(self) -> dict[str, dict[str, Any]]:
        """External id -> what NetSuite holds. Its own ids are left out, or shown as external ones; active is the default."""
        kinds = await self.writing.records(self.account)
        names = {record["id"]: record["externalId"] for record in kinds["customer"]}
        found: dict[str, dict[str, Any]] = {}
        for kind, records in kinds.items():
            for record in records:
                assert record["externalId"] not in found, "one external id, two records"
                link = OF_CUSTOMER.get(kind, "")
                shown = {link: names[record[link]]} if link in record else {}
                found[record["externalId"]] = {"isInactive": False, **record, **shown, "id": kind}
        return found

    async def dead_letters(self) -> list[DeadLetter]:
        found = [DeadLetter.read(one.value, one.headers) for one in await self.writing.read(topics.DEAD_LETTERS)]
        return [letter for letter in found if letter.cause.startswith(f"{self.flow}:")]

    async def hydrates(self) -> list[Hydrate]:
        found = [Hydrate.decode(one.value or b"") for one in await self.writing.read(topics.PIPEDRIVE_REQUESTS)]
        return [hydrate for hydrate in found if hydrate.flow == self.flow]

    async def jobs_under_way(self) -> list[BatchJob]:
        """What a new owner would find."""
        newest = {one.key or b"": one.value for one in await self.writing.read(topics.OBSERVED)}
        jobs = [
            BatchJob.decode(value) for key, value in newest.items() if key.startswith(b"job/") and value is not None
        ]
        return [job for job in jobs if job.account == self.account.lower()]


def requests(log: Sequence[Line]) -> dict[str, int]:
    """How many there were of which sort."""
    found: dict[str, int] = {}
    for line in log:
        sort = sort_of(line)
        found[sort] = found.get(sort, 0) + 1
    return found


def sort_of(line: Line) -> str:
    """submit, poll, tasks, result, query, find; any other is a single write."""
    path: str = line["path"]
    if path.endswith("/suiteql"):
        return "query"
    if path.endswith("/result"):
        return "result"
    if path.rstrip("/").endswith("/task"):
        return "tasks"
    if _JOB.search(path):
        return "poll"
    if line["method"] == "PUT" and path.endswith(f"/{line['record_type']}"):
        return "submit"
    return "find" if line["method"] == "GET" else "write"


def newer(state: Desired, version: int) -> Desired:
    """The same object, edited later."""
    name = NAMES[state.record_type]
    fields = {**state.fields, name: _VERSION.sub(f"v{version}", str(state.fields[name]))}
    return msgspec.structs.replace(unchanged(state, version), fields=fields)


def unchanged(state: Desired, version: int, *, force: bool = False) -> Desired:
    """The same content, later."""
    cause = f"{state.flow}:{state.entity}-{state.source_id}-{version}"
    return msgspec.structs.replace(state, generation=Generation(version), cause=cause, force=force)
