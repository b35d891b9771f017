"""Look for gaps in what was delivered, and catch up with them, on the one replica that materializes.

`gaps.py` decides, `step.py` does it once. A search is of this process: killed, it begins anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

import msgspec
from sqlalchemy import Connection

from ml_connector.admin.catchup.gaps import GROWS_MS, Seen, Trouble, heard_after, is_due, troubles_of
from ml_connector.admin.catchup.keep import put_heard, read_catch_ups, read_deliveries, read_heard
from ml_connector.admin.catchup.search import NotSearched, Wait, known_ids, missing_of
from ml_connector.admin.catchup.step import TOKEN_SHARE, Searched, Steps, current
from ml_connector.admin.changing import alone
from ml_connector.admin.database import Database
from ml_connector.admin.flows.active import ActiveFlows
from ml_connector.admin.leading import Leading, Level, keep_looking
from ml_connector.admin.owners import NoAnswer, Owners
from ml_connector.admin.replay.control import tell
from ml_connector.admin.sync.ask import ORDER
from ml_connector.admin.webhooks.ingests import Ingests
from ml_connector.common import topics
from ml_connector.common.asking import ListedIds, ListIds
from ml_connector.common.catch_up import HEARD_KEY, CatchUp, Heard, Run
from ml_connector.common.clock import Clock
from ml_connector.common.flows import Flow
from ml_connector.common.keys import Entity
from ml_connector.common.logs import get_logger

log = get_logger()

LOOK_S: Final = 2.0
ASK_AGAIN_S: Final = 10.0
LONGEST_WAIT_S: Final = 900.0


class _Work(NamedTuple):
    flow: Flow
    entry: CatchUp
    troubles: list[Trouble]


class CatchUps:
    """`run` until cancelled. `publish` writes what was committed."""

    def __init__(
        self,
        database: Database,
        steps: Steps,
        owners: Owners,
        ingests: Ingests,
        publish: Callable[[], Awaitable[bool]],
        leading: Leading,
        clock: Clock,
        *,
        ban_s: float,
    ) -> None:
        self._ban_ms = int(ban_s * 1000)
        self._database = database
        self._steps = steps
        self._owners = owners
        self._ingests = ingests
        self._publish = publish
        self._level = Level(leading, clock)
        self._clock = clock
        self._flows = ActiveFlows()
        self._searches: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        try:
            await keep_looking(self.look, self._clock, every_s=LOOK_S, waits="catch_ups_wait")
        finally:
            for task in self._searches.values():
                task.cancel()
            await asyncio.gather(*self._searches.values(), return_exceptions=True)

    async def look(self) -> None:
        """One look at all flows."""
        if not self._level.leads():
            return
        await self._level.reach()
        heard = await self._hear()
        told = False
        try:
            for work in await asyncio.to_thread(self._work, heard):
                told |= await self._go_on(work)
        finally:
            if told:
                await self._publish()

    async def _hear(self) -> Heard:
        """What is known of ingest now; that it runs is kept every minute."""
        with self._database.read() as connection:
            before = read_heard(connection)
        if self._ingests.unheard_s:  # this service has just been started: nothing follows from silence
            return msgspec.structs.replace(before, up_ms=0)
        words = self._ingests.live()
        after = heard_after(before, [one.began_ms for one in words], max((one.at_ms for one in words), default=0))
        if after.up_ms - before.up_ms >= GROWS_MS or after.down_to_ms != before.down_to_ms:

            def write(connection: Connection) -> None:
                put_heard(connection, after)
                tell(connection, HEARD_KEY, after.encode())

            await alone(self._database, write)
        return after

    async def _go_on(self, work: _Work) -> bool:
        """Whether anything of it is to be told."""
        name, now_ms = work.flow.flow, self._clock.now_ms()
        entry = await alone(
            self._database, lambda connection: self._steps.look(connection, name, work.troubles, now_ms)
        )
        if entry.version != work.entry.version:
            run = entry.runs[-1] if entry.runs else None
            log.info("catch_up", flow=name, state=run.phase if run else "gap", id=run.run_id if run else "")
        run = current(entry)
        if run is not None and run.phase == "search" and name not in self._searches:
            self._searches[name] = asyncio.create_task(self._search(work.flow, run))
        return entry.version != work.entry.version

    def _work(self, heard: Heard) -> list[_Work]:
        """Flows of which there is something to do, or may be."""
        now_ms = self._clock.now_ms()
        words = self._ingests.live()
        with self._database.read() as connection:
            flows = self._flows.read(connection)
            entries, seen = read_catch_ups(connection), read_deliveries(connection)
        found = []
        for flow in flows:
            entry = entries.get(flow.flow, CatchUp(flow.flow))
            if flow.pipedrive.events == "none":  # nothing is delivered, so nothing gets lost
                found += [_Work(flow, entry, [])] if current(entry) else []
                continue
            doors = [one.flows[flow.flow] for one in words if flow.flow in one.flows]
            troubles = troubles_of(Seen(seen.get(flow.flow), doors, heard), now_ms, self._ban_ms)
            if current(entry) or is_due(entry, troubles, now_ms):
                found.append(_Work(flow, entry, troubles))
        return found

    # -- what is gone ------------------------------------------------------------------------------------------------

    async def _search(self, flow: Flow, run: Run) -> None:
        """Until it is known, or somebody must look."""
        try:
            searched = False
            while self._level.leads() and not searched:
                searched = await self._searched(flow, run)
        except Exception as error:  # the database: the next look begins it anew
            log.warning("search_stopped", flow=flow.flow, exc_info=error)
        finally:
            self._searches.pop(flow.flow, None)

    async def _searched(self, flow: Flow, run: Run) -> bool:
        """One search; False: it must begin anew, and has waited for that."""
        name, now_ms = flow.flow, self._clock.now_ms
        try:
            found = await self._missing(flow)
            while not await self._told(name, run, found):  # another sync of the flow is under way
                await self._clock.sleep(ASK_AGAIN_S)
        except NotSearched as error:
            problem = str(error)
            await alone(self._database, lambda on: self._steps.failed(on, name, run.run_id, problem, now_ms()))
        except Wait as error:
            log.info("search_waits", flow=name, problem=str(error), after_s=error.after_s)
            await self._clock.sleep(min(error.after_s, LONGEST_WAIT_S))
            return False
        await self._publish()
        return True

    async def _told(self, name: str, run: Run, found: Searched) -> bool:
        """Whether what follows from a search is under way."""
        now_ms = self._clock.now_ms()
        entry = await alone(self._database, lambda on: self._steps.searched(on, name, run.run_id, found, now_ms))
        now = current(entry)
        return now is None or now.phase != "search"

    async def _missing(self, flow: Flow) -> Searched:
        """Raises NotSearched, Wait."""
        entities = [entity for entity in ORDER if flow.mapping_of(entity) is not None]
        found, known = {}, 0
        for entity in entities:
            ids = await asyncio.to_thread(self._known, flow, entity)
            known += len(ids)
            found[entity] = await missing_of(self._asker(flow), flow.flow, entity, ids, TOKEN_SHARE)
        return Searched(found, known)

    def _known(self, flow: Flow, entity: Entity) -> set[int]:
        with self._database.read() as connection:
            return known_ids(connection, flow, entity)

    def _asker(self, flow: Flow) -> Callable[[ListIds], Awaitable[ListedIds]]:
        async def ask(asked: ListIds) -> ListedIds:
            try:
                return await self._owners.ask(
                    topics.PIPEDRIVE_REQUESTS,
                    flow.pipedrive.company,
                    "list-ids",
                    body=asked.encode(),
                    answer=ListedIds,
                )
            except NoAnswer as error:
                raise Wait(str(error), ASK_AGAIN_S) from error

        return ask
