"""End a reconcile whose walks are over: wait until all that they asked for is told, have the account's owner look for
records that no object is behind, wait for that, too.

What follows depends on the job and on what the audit has told alone. A count that is asked for twice is told under the
same keys.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final, NamedTuple

from sqlalchemy import Connection

from ml_connector.admin.database import Database
from ml_connector.admin.reconcile.told import covered_by, whole_pages
from ml_connector.common import headers as h
from ml_connector.common import topics
from ml_connector.common.clock import Clock
from ml_connector.common.comparing import CENSUS, Census
from ml_connector.common.covering import pack
from ml_connector.common.kafka.partition import partition_for
from ml_connector.common.kafka.producer import Producer
from ml_connector.common.keys import Entity
from ml_connector.common.settings import Settings
from ml_connector.common.sync_job import SyncJob
from ml_connector.common.traceparent import new_traceparent

MOST_IDS: Final = 300_000  # of one request: a mebibyte, if each is some hundred above the last

Change = Mapping[str, object]


class Finishing:
    """`look` at a running reconcile whose walks are over; what of it changes by that."""

    def __init__(self, settings: Settings, database: Database, producer: Producer, clock: Clock) -> None:
        self._database = database
        self._producer = producer
        self._clock = clock
        self._topic = topics.NETSUITE_REQUESTS.full_name(settings.topic_prefix)
        self._partitions = settings.partitions

    async def look(self, job: SyncJob) -> Change:
        """Raises DeliveryFailed."""
        stage = await asyncio.to_thread(self._stage, job)
        if stage.waits_for:
            return {}
        if stage.to_count is None:
            return {"state": "done", "why": ""}
        entity = stage.to_count
        requests = await asyncio.to_thread(self._requests, job, entity)
        account = job.account.encode()
        headers = {h.KIND: CENSUS, h.FLOW: job.flow.encode(), h.TRACEPARENT: new_traceparent().encode()}
        place = partition_for(account, self._partitions)
        for one in requests:
            await self._producer.send(self._topic, key=account, value=one.encode(), headers=headers, partition=place)
        return {"counted": {**job.counted, entity: len(requests)}}

    def _stage(self, job: SyncJob) -> Stage:
        with self._database.read() as connection:
            return stage_of(connection, job)

    def _requests(self, job: SyncJob, entity: Entity) -> list[Census]:
        with self._database.read() as connection:
            ids = covered_by(connection, job.job_id, entity)
        starts = range(0, max(1, len(ids)), MOST_IDS)
        bounds = [0, *(ids[start - 1] for start in starts[1:]), 0]
        return [
            Census(
                job_id=job.job_id,
                flow=job.flow,
                account=job.account,
                entity=entity,
                page=-number,
                at_ms=self._clock.now_ms(),
                began_ms=job.created_at_ms,
                above=bounds[number],
                up_to=bounds[number + 1],
                covered=pack(ids[start : start + MOST_IDS]),
            )
            for number, start in enumerate(starts)
        ]


class Stage(NamedTuple):
    """`waits_for`: what the account's owner still has to tell, in words; `to_count`: whose records it shall count."""

    waits_for: str = ""
    to_count: Entity | None = None


def stage_of(connection: Connection, job: SyncJob) -> Stage:
    """Of one whose walks are over. Only if all objects were compared all records are counted."""
    whole = {entity: whole_pages(connection, job.job_id, entity) for entity in job.entities}
    for entity in job.entities:
        progress = job.walked[entity].progress
        pages = range(progress.first_page, progress.last_page + 1)
        left = sum(page not in whole[entity] for page in pages)
        if left:
            return Stage(f"{left} of {len(pages)} pages of {entity}s are still to be compared with NetSuite")
    to_count = next((entity for entity in job.entities if job.mode == "full" and entity not in job.counted), None)
    if to_count is not None:
        return Stage(to_count=to_count)
    for entity in job.entities:
        if not all(-number in whole[entity] for number in range(job.counted.get(entity, 0))):
            return Stage(f"NetSuite is searched for {entity}s that Pipedrive does not hold")
    return Stage()
