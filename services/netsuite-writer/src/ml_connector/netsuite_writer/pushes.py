"""Gather what NetSuite's own scripts push, and ask for its comparison: once for many changes.

A bulk edit of 10,000 records comes as 10,000 messages within minutes. Those of a partition are gathered until none has
come for QUIET_S, or the first one is LONGEST_S old; each record is looked at once, however often it was pushed. The
partition's position is committed once their comparisons are asked for, so that none gets lost. Whose record is being
written now waits until that has ended.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from ml_connector.common import headers as h
from ml_connector.common.clock import Clock
from ml_connector.common.drift import PUSHED, PushedRecord, read_pushed
from ml_connector.common.errors import BadInput, TryLater
from ml_connector.common.kafka.record import Record
from ml_connector.common.logs import get_logger
from ml_connector.common.syncing import SyncPage
from ml_connector.netsuite_writer import drift
from ml_connector.netsuite_writer.again import AGAIN_S, GIVES_UP_S, until_done
from ml_connector.netsuite_writer.comparisons import Ask
from ml_connector.netsuite_writer.polling import Handed, Pushed
from ml_connector.netsuite_writer.requests import PASSED_S, Requests
from ml_connector.netsuite_writer.suiteql import Refused

log = get_logger()

QUIET_S: Final = 1.0
LONGEST_S: Final = 5.0
LOOK_S: Final = 0.25
WRITING_S: Final = 60.0  # longer than that nobody waits for a write: it is told as waiting then
MOST_HELD: Final = 20_000  # records of one process; beyond that nothing more is read
TOKEN_SHARE: Final = 0.5

# Sorts out what a flow was told of, in this partition. Raises Refused, TryLater.
Look = Callable[[int, str, Sequence[Pushed]], Awaitable[Handed]]


@dataclass(frozen=True, slots=True)
class _Held:
    """`offset`: of the oldest message that names it."""

    record: Pushed
    offset: int
    since_s: float


@dataclass(slots=True)
class _Place:
    """One partition: its records by flow, and how far it is read."""

    flows: dict[str, dict[tuple[str, str, str], _Held]] = field(default_factory=lambda: defaultdict(dict))
    read_to: int = -1
    last_s: float = 0.0
    busy: set[str] = field(default_factory=set)  # flows that are being looked at
    committed: int = -1

    def count(self) -> int:
        return sum(map(len, self.flows.values()))

    def done_to(self) -> int:
        """The offset below which nothing is held any more."""
        return min((one.offset for some in self.flows.values() for one in some.values()), default=self.read_to)


class Pushes:
    """`run` until cancelled, then `own` nothing; `own` whenever partitions come or go."""

    def __init__(self, requests: Requests, look: Look, ask: Ask, clock: Clock) -> None:
        self._requests = requests
        self._look = look
        self._ask = ask
        self._clock = clock
        self._owned: frozenset[int] = frozenset()
        self._changed = asyncio.Event()
        self._places: dict[int, _Place] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def own(self, partitions: frozenset[int]) -> None:
        """These are ours, and no others."""
        if partitions != self._owned:
            self._owned = partitions
            self._changed.set()

    async def run(self) -> None:
        """Until cancelled."""
        try:
            await asyncio.gather(self._follow(), self._read(), self._work())
        finally:
            for task in self._tasks:
                task.cancel()

    async def _follow(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            owned = self._owned
            gone = self._places.keys() - owned
            for number in gone:
                del self._places[number]
            await self._requests.unassign(gone)
            added = owned - self._places.keys()
            if added:
                starts = await self._requests.committed(added)
                self._places.update({number: _Place() for number in added})
                await self._requests.assign(starts)

    async def _read(self) -> None:
        while True:
            if sum(place.count() for place in self._places.values()) >= MOST_HELD:
                await self._clock.sleep(LOOK_S)
                continue
            records, _ = await self._requests.next()
            for record in records:
                place = self._places.get(record.partition)
                if place is not None and record.offset >= place.read_to:
                    place.read_to = record.offset + 1
                    if record.value is not None and record.headers.get(h.KIND) == PUSHED:
                        self._take(record, place)

    def _take(self, record: Record, place: _Place) -> None:
        try:
            pushed = [found for one in read_pushed(record.value or b"") if (found := _read(one)) is not None]
        except BadInput as error:
            log.warning("push_refused", partition=record.partition, offset=record.offset, problem=str(error))
            return
        place.last_s = now_s = self._clock.monotonic_s()
        held = place.flows[h.text(record.headers, h.FLOW)]
        for one in pushed:
            key = (one.record_type, one.external_id.lower(), one.internal_id if not one.external_id else "")
            before = held.get(key)
            held[key] = _Held(one, before.offset if before else record.offset, before.since_s if before else now_s)

    # -- what was gathered -------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        passed_s = self._clock.monotonic_s()
        while True:
            await self._clock.sleep(LOOK_S)
            now_s = self._clock.monotonic_s()
            for number, place in self._places.items():
                for flow in [flow for flow in place.flows if flow not in place.busy and _due(place, flow, now_s)]:
                    place.busy.add(flow)
                    task = asyncio.create_task(self._hand_on(number, place, flow))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
            if now_s - passed_s >= PASSED_S:
                passed_s = now_s
                await asyncio.gather(*(self._commit(number, place) for number, place in tuple(self._places.items())))

    async def _hand_on(self, number: int, place: _Place, flow: str) -> None:
        """What is held for one flow. Whatever cannot be looked at now stays."""
        looked = dict(place.flows[flow])
        try:
            later = await self._asked(number, flow, [one.record for one in looked.values()])
            now_s = self._clock.monotonic_s()
            for key, one in looked.items():
                waits = one.record in later and now_s - one.since_s < WRITING_S
                if not waits and place.flows[flow].get(key) is one:
                    del place.flows[flow][key]
            if later:
                await self._clock.sleep(QUIET_S)
        except TryLater as error:
            log.info("pushes_wait", flow=flow, records=len(looked), problem=str(error))
            self._drop_old(place, flow)
            await self._clock.sleep(AGAIN_S)
        except Exception as error:  # the top of a task: a fault of ours must not end the writing, nor come for ever
            log.error("pushes_failed", flow=flow, records=len(looked), exc_info=error)
            place.flows[flow].clear()
        finally:
            place.busy.discard(flow)
            if not place.flows[flow]:
                del place.flows[flow]
        await self._commit(number, place)

    async def _asked(self, number: int, flow: str, records: Sequence[Pushed]) -> set[Pushed]:
        """Those that are to be looked at again. Raises TryLater."""
        try:
            handed = await self._look(number, flow, records)
        except Refused as error:
            log.warning("push_refused", flow=flow, records=len(records), problem=str(error))
            return set()
        job_id = f"push-{uuid.uuid4().hex[:12]}"
        asked = 0
        for entity, ids in handed.ids.items():
            page = SyncPage(
                job_id=job_id,
                flow=flow,
                entity=entity,
                at_ms=self._clock.now_ms(),
                ids=tuple(ids),
                token_share=TOKEN_SHARE,
                purpose="drift",
                urgent=True,
                unfollowed=True,
            )
            await until_done(partial(self._ask, page), self._clock, job_id=job_id)
            asked += len(ids)
        log.info("pushes_taken", id=job_id, flow=flow, records=asked, count=len(records), waiting=len(handed.later))
        return set(handed.later)

    def _drop_old(self, place: _Place, flow: str) -> None:
        now_s = self._clock.monotonic_s()
        old = [key for key, one in place.flows[flow].items() if now_s - one.since_s >= GIVES_UP_S]
        for key in old:
            del place.flows[flow][key]
        if old:
            log.error("pushes_given_up", flow=flow, records=len(old))

    async def _commit(self, number: int, place: _Place) -> None:
        if self._places.get(number) is not place:
            return
        done_to = place.done_to()
        if done_to > place.committed:
            place.committed = done_to
            await self._requests.commit({number: done_to})


def _due(place: _Place, flow: str, now_s: float) -> bool:
    since_s = min((one.since_s for one in place.flows[flow].values()), default=now_s)
    return now_s - place.last_s >= QUIET_S or now_s - since_s >= LONGEST_S


def _read(one: PushedRecord) -> Pushed | None:
    """None: no record of ours can be meant."""
    internal_id = str(one.id)
    if one.type is None or not (one.external_id or (internal_id.isdigit() and len(internal_id) < 20)):
        return None
    return Pushed(one.type, one.external_id or "", internal_id, drift.moment_ms(one.last_modified_date))
