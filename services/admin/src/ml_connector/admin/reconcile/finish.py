"""End a reconcile whose walks are over: wait until all that they asked for is told, have the account's owner look for
records that no object is behind, wait for that, too.

What follows depends on the job and on what the audit has told alone. A count that is asked for twice is told under the
same keys.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

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
        waits_for, entity = await asyncio.to_thread(self._next, job)
        if waits_for:
            return {}
        if entity is None:
            return {"state": "done", "why": ""}
        requests = await asyncio.to_thread(self._requests, job, entity)
        account = job.account.encode()
        headers = {h.KIND: CENSUS, h.FLOW: job.flow.encode(), h.TRACEPARENT: new_traceparent().encode()}
        place = partition_for(account, self._partitions)
        for one in requests:
            await self._producer.send(self._topic, key=account, value=one.encode(), headers=headers, partition=place)
        return {"counted": {**job.counted, entity: len(requests)}}

    def _next(self, job: SyncJob) -> tuple[str, Entity | None]:
        """What is waited for, in words; or the entity whose records are to be counted now."""
        with self._database.read() as connection:
            return awaited(connection, job), next((one for one in counts(job) if one not in job.counted), None)

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


def counts(job: SyncJob) -> tuple[Entity, ...]:
    """Of which entities all records are counted: not if only some objects were compared."""
    return job.entities if job.mode == "full" else ()


def awaited(connection: Connection, job: SyncJob) -> str:
    """What the account's owner still has to tell, in words."""
    for entity in job.entities:
        walked = job.walked.get(entity)
        if walked is None or walked.state != "done":
            continue
        whole, progress = whole_pages(connection, job.job_id, entity), walked.progress
        pages = range(progress.first_page, progress.last_page + 1)
        left = sum(page not in whole for page in pages)
        if left:
            return f"{left} of {len(pages)} pages of {entity}s are still to be compared with NetSuite"
        if not all(-number in whole for number in range(job.counted.get(entity, 0))):
            return f"NetSuite is searched for {entity}s that Pipedrive does not hold"
    return ""
