"""Polls as jobs: begin one, say how far it is, drive it until all that it asked for is told.

A poll is a chain of requests that the account's owner keeps going by itself (`common/drift.py`); here it is only begun,
and watched in the audit. A request for its first page that is repeated changes nothing there.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, func, select

from ml_connector.admin.changing import Said
from ml_connector.admin.database import Database
from ml_connector.admin.flows.look import find
from ml_connector.admin.schedule.kinds import Due
from ml_connector.admin.schedule.syncs import states_of
from ml_connector.admin.sync.ask import Asked, rfc3339
from ml_connector.admin.sync.control import Syncs
from ml_connector.admin.tables import compared, difference, drift, polled, sync
from ml_connector.common import headers as h
from ml_connector.common import topics
from ml_connector.common.clock import Clock
from ml_connector.common.drift import POLL, POLL_STOP, Poll, PollStop
from ml_connector.common.flows import Flow
from ml_connector.common.kafka.partition import partition_for
from ml_connector.common.kafka.producer import Producer
from ml_connector.common.keys import Entity
from ml_connector.common.settings import Settings
from ml_connector.common.sync_job import SyncJob, Walked
from ml_connector.common.syncing import Progress
from ml_connector.common.traceparent import new_traceparent

FIRST_MS: Final = 24 * 3600 * 1000  # so far back looks a flow's first poll
SAY_AGAIN_S: Final = 30.0
LOOKED_BACK: Final = 50  # polls

Change = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class OfEntity:
    """`known`: not compared again; `asked`: handed on to be compared. `began_ms`, `ended_ms`: of its pages."""

    pages: int = 0
    rows: int = 0
    known: int = 0
    asked: int = 0
    began_ms: int = 0
    ended_ms: int = 0


@dataclass(frozen=True, slots=True)
class Told:
    """Of a poll so far. `found`: of what was compared, what differs, by `comparing.Found`; `did`: what was done."""

    by_entity: dict[Entity, OfEntity] = field(default_factory=dict)
    compared: int = 0
    found: Counter[str] = field(default_factory=Counter)
    did: Counter[str] = field(default_factory=Counter)
    last: bool = False  # there is no further page
    failed: str = ""

    @property
    def asked(self) -> int:
        return sum(one.asked for one in self.by_entity.values())


def told_of(connection: Connection, job_id: str) -> Told:
    pages = connection.execute(select(polled).where(polled.c.job_id == job_id).order_by(polled.c.page)).all()
    by_entity: dict[Entity, OfEntity] = {}
    for row in pages:
        was = by_entity.get(row.entity, OfEntity(began_ms=row.at_ms))
        by_entity[row.entity] = OfEntity(
            was.pages + 1, was.rows + row.rows, was.known + row.known, was.asked + row.asked, was.began_ms, row.at_ms
        )
    walks = (f"{job_id}.", f"{job_id}/")  # `/` follows `.`: all of `drift.walk_of`
    of_job = [table.c.job_id.between(*walks) for table in (compared, difference, drift)]
    parts = select(func.coalesce(func.sum(compared.c.records + compared.c.unmapped), 0)).where(of_job[0])
    by_found = select(difference.c.found, func.count()).where(of_job[1]).group_by(difference.c.found)
    by_did = select(drift.c.did, func.count()).where(of_job[2]).group_by(drift.c.did)
    refused = select(compared.c.failed).where(of_job[0], compared.c.failed != "").limit(1)
    whole = [row.page for row in pages] == list(range(1, len(pages) + 1))
    return Told(
        by_entity=by_entity,
        compared=int(connection.scalar(parts) or 0),
        found=Counter(dict(connection.execute(by_found).tuples().all())),
        did=Counter(dict(connection.execute(by_did).tuples().all())),
        last=whole and bool(pages) and pages[-1].last,
        failed=next((row.failed for row in pages if row.failed), "") or connection.scalar(refused) or "",
    )


class Polls:
    """Polls on demand and on a schedule; `look` is the driver's."""

    def __init__(self, settings: Settings, database: Database, syncs: Syncs, producer: Producer, clock: Clock) -> None:
        self._database = database
        self._syncs = syncs
        self._producer = producer
        self._clock = clock
        self._topic = topics.NETSUITE_REQUESTS.full_name(settings.topic_prefix)
        self._partitions = settings.partitions
        self._said_s: dict[str, float] = {}

    # -- beginning ---------------------------------------------------------------------------------------------------

    async def create(self, asked: Asked, said: Said) -> SyncJob:
        """`asked.since` empty: from the beginning of the last one that ended well. Raises as `Syncs.create`."""
        if not asked.since:
            asked = await asyncio.to_thread(self._since_last, asked)
        return await self._syncs.create(asked, said)

    async def cancel(self, job_id: str, said: Said) -> SyncJob:
        """Raises NotFound, Conflict, TryLater; then it may be cancelled though its owner has not heard of it."""
        job = await self._syncs.act(job_id, "cancel", said, "drift")
        await self._send(job, POLL_STOP, PollStop(job_id=job.job_id).encode())
        return job

    def start(self, connection: Connection, due: Due) -> str:
        """The schedule's kind `netsuite_poll`."""
        asked = Asked(due.flow.flow, "since", purpose="drift", token_share=due.flow.schedule.token_share)
        since = since_of(connection, asked, due.flow, due.now_ms)
        return self._syncs.begin(connection, replace(asked, since=since), due.said).job_id

    def states(self, connection: Connection, flow: str | None, job_ids: Collection[str]) -> Mapping[str, str]:
        return states_of(connection, job_ids)

    def _since_last(self, asked: Asked) -> Asked:
        with self._database.read() as connection:
            flow = find(connection, asked.flow).version.read()
            return replace(asked, since=since_of(connection, asked, flow, self._clock.now_ms()))

    # -- watching ----------------------------------------------------------------------------------------------------

    async def look(self, job: SyncJob) -> Change:
        """What of a running one changes by what is told. Raises DeliveryFailed."""
        told = await asyncio.to_thread(self._told, job.job_id)
        if not told.by_entity:
            await self._begin(job)
            return {}
        if not told.last or told.compared < told.asked:
            return {}
        self._said_s.pop(job.job_id, None)
        return {
            "state": "failed" if told.failed else "done",
            "why": told.failed,
            "walked": {entity: _walked(one) for entity, one in told.by_entity.items()},
        }

    def _told(self, job_id: str) -> Told:
        with self._database.read() as connection:
            return told_of(connection, job_id)

    async def _begin(self, job: SyncJob) -> None:
        now_s = self._clock.monotonic_s()
        if now_s - self._said_s.get(job.job_id, -SAY_AGAIN_S) < SAY_AGAIN_S:
            return
        poll = Poll(
            job_id=job.job_id,
            flow=job.flow,
            account=job.account,
            entities=job.entities,
            at_ms=self._clock.now_ms(),
            since_ms=int(datetime.fromisoformat(job.since).timestamp() * 1000),
            again=job.force,
            token_share=job.token_share,
        )
        await self._send(job, POLL, poll.encode())
        self._said_s[job.job_id] = now_s

    async def _send(self, job: SyncJob, kind: bytes, value: bytes) -> None:
        account = job.account.encode()
        headers = {h.KIND: kind, h.FLOW: job.flow.encode(), h.TRACEPARENT: new_traceparent().encode()}
        partition = partition_for(account, self._partitions)
        await self._producer.send(self._topic, key=account, value=value, headers=headers, partition=partition)


def since_of(connection: Connection, asked: Asked, flow: Flow, now_ms: int) -> str:
    """The beginning of the last poll of these entities that ended well; without one a day ago."""
    entities = set(asked.entities or flow.entities)
    wanted = select(sync.c.value).where(sync.c.flow == asked.flow, sync.c.purpose == "drift", sync.c.state == "done")
    newest = wanted.order_by(sync.c.created_at_ms.desc()).limit(LOOKED_BACK)
    for job in map(SyncJob.decode, connection.scalars(newest)):
        if entities <= set(job.entities):
            return rfc3339(job.created_at_ms)
    return rfc3339(now_ms - FIRST_MS)


def _walked(one: OfEntity) -> Walked:
    return Walked("done", one.began_ms, one.ended_ms, Progress(pages=one.pages, read=one.rows, desired=one.asked))
