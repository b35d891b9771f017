"""Drive the syncs from entity to entity, on the one replica that materializes. `decide.py` says what is next.

What is said to a company's owner is said again when nothing shows after a while: it may have got lost, and twice is
harmless.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Protocol

from ml_connector.admin.leading import LOOK_S, Leading, Level, keep_looking
from ml_connector.admin.sync.control import Syncs, UnderWay
from ml_connector.admin.sync.decide import decide, is_walked
from ml_connector.common import headers as h
from ml_connector.common import spans, topics
from ml_connector.common.clock import Clock
from ml_connector.common.kafka.partition import partition_for
from ml_connector.common.kafka.producer import Producer
from ml_connector.common.logs import get_logger
from ml_connector.common.settings import Settings
from ml_connector.common.sync_job import SyncJob
from ml_connector.common.syncing import CONTROL, PAGE, SyncControl, SyncPage

log = get_logger()

SAY_AGAIN_S: Final = 30.0

Saying = SyncPage | SyncControl


class Looking(Protocol):
    """A `reconcile.finish.Finishing`, a `drift.polls.Polls`."""

    async def look(self, job: SyncJob) -> Mapping[str, object]: ...


class Driver:
    """`run` until cancelled. `publish` writes what was committed."""

    def __init__(
        self,
        settings: Settings,
        syncs: Syncs,
        producer: Producer,
        publish: Callable[[], Awaitable[bool]],
        leading: Leading,
        clock: Clock,
        finishing: Looking | None = None,
        polls: Looking | None = None,
    ) -> None:
        """`finishing`: for reconciles, which do not end with their walks. `polls`: for those, which are no walks."""
        self._polls = polls
        self._syncs = syncs
        self._finishing = finishing
        self._producer = producer
        self._publish = publish
        self._level = Level(leading, clock)
        self._clock = clock
        self._topic = topics.PIPEDRIVE_REQUESTS.full_name(settings.topic_prefix)
        self._partitions = settings.partitions
        self._said_s: dict[tuple[str, int, str, str], float] = {}

    async def run(self) -> None:
        await keep_looking(self.look, self._clock, every_s=LOOK_S, waits="syncs_wait")

    async def look(self) -> None:
        """One look at all that is under way."""
        if not self._level.leads():
            return
        found = await asyncio.to_thread(self._syncs.under_way)
        if found and await self._level.reach():
            found = await asyncio.to_thread(self._syncs.under_way)
        for one in found:
            await self._step(one)
        self._forget()

    async def _step(self, one: UnderWay) -> None:
        change = await self._looked(one)
        if change:
            log.info("sync_goes_on", id=one.job.job_id, state=str(change.get("state", one.job.state)))
            await self._syncs.note(one.job, change)
            await self._publish()

    async def _looked(self, one: UnderWay) -> Mapping[str, object]:
        """What of the job is other from now on."""
        if one.job.purpose == "drift":
            if self._polls is None or one.job.state != "running":
                return {}
            return await self._polls.look(one.job)
        decision = decide(one.job, one.walks, self._clock.now_ms())
        for saying in decision.says:
            await self._say(one.job, saying)
        if self._finishing is not None and one.job.purpose == "compare" and is_walked(one.job):
            return await self._finishing.look(one.job)
        return decision.change

    async def _say(self, job: SyncJob, saying: Saying) -> None:
        what = "page" if isinstance(saying, SyncPage) else saying.to
        key = (job.job_id, job.version, saying.entity, what)
        now_s = self._clock.monotonic_s()
        if now_s - self._said_s.get(key, -SAY_AGAIN_S) < SAY_AGAIN_S:
            return
        company = job.company.encode()
        headers = {
            h.KIND: PAGE if isinstance(saying, SyncPage) else CONTROL,
            h.FLOW: job.flow.encode(),
        }
        partition = partition_for(company, self._partitions)
        with spans.sending(self._topic, more={spans.FLOW: job.flow}) as span:
            headers[h.TRACEPARENT] = span.traceparent.encode()
            place = await self._producer.send_nowait(
                self._topic, key=company, value=saying.encode(), headers=headers, partition=partition
            )
            spans.sent(span, place.partition, place.offset)
        self._said_s[key] = now_s

    def _forget(self) -> None:
        """What would be said again anyway."""
        now_s = self._clock.monotonic_s()
        self._said_s = {key: at_s for key, at_s in self._said_s.items() if now_s - at_s < SAY_AGAIN_S}
