"""Issue the items of running replays, at their rate, and follow what becomes of them.

A message is written before it is noted, and is the same message whenever it is written again: after a crash what was
not noted is issued once more, unless the audit knows of it already, and its cause gets one outcome all the same.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, RowMapping, bindparam, func, select, update

from ml_connector.admin.database import Database
from ml_connector.admin.leading import AGAIN_S, LEVEL_S, LOOK_S, Leading
from ml_connector.admin.letter_bytes import LetterBytes
from ml_connector.admin.replay.control import Replays, tell
from ml_connector.admin.replay.issue import Impossible, Issued, issue
from ml_connector.admin.replay.keep import ISSUED, SKIPPED, WAITING
from ml_connector.admin.replay.preview import Previews
from ml_connector.admin.tables import cause, edited, job_item, newest
from ml_connector.common import keys, spans, topics
from ml_connector.common.clock import Clock, Deadline
from ml_connector.common.dead_letters import DeadLetter
from ml_connector.common.generation import Generation
from ml_connector.common.headers import TRACEPARENT
from ml_connector.common.kafka.partition import partition_for
from ml_connector.common.kafka.producer import Producer
from ml_connector.common.logs import get_logger
from ml_connector.common.settings import Settings
from ml_connector.common.traceparent import new_traceparent
from ml_connector.common.wire import Preview, ReplayItem, ReplayItems, ReplayJob

log = get_logger()

CHUNK: Final = 2_000  # items that are read, issued and noted together
PREVIEWS: Final = 50
TURN_S: Final = 0.2  # of a paced replay: so much of a second's items at once
_NONE: Final = Generation(0)


_CHANGE: Final = update(job_item).where(
    job_item.c.job_id == bindparam("of_job"), job_item.c.number == bindparam("of_number"), job_item.c.state == WAITING
)


class Runner:
    """`run` until cancelled, on the one replica that materializes."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        replays: Replays,
        letters: LetterBytes,
        producer: Producer,
        previews: Previews,
        leading: Leading,
        clock: Clock,
    ) -> None:
        self._database = database
        self._replays = replays
        self._letters = letters
        self._producer = producer
        self._previews = previews
        self._leading = leading
        self._clock = clock
        self._topic = topics.EVENTS.full_name(settings.topic_prefix)
        self._partitions = settings.partitions
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        try:
            while True:
                for job_id in await asyncio.to_thread(self._replays.running) if self._leading.leads else ():
                    if job_id not in self._tasks:
                        self._tasks[job_id] = asyncio.create_task(self._see_through(job_id))
                await self._clock.sleep(LOOK_S)
        finally:
            tasks = list(self._tasks.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _see_through(self, job_id: str) -> None:
        """Until it is not running any more."""
        level = running = False
        while running or not level:
            try:
                if not level:  # what was issued before a crash is known by now, or will be issued again
                    await self._leading.until_level(Deadline.after(self._clock, LEVEL_S))
                    level = True
                running = await self._turn(job_id)
            except Exception as error:  # the top of a job's loop: whatever it is, the job goes on later
                log.warning("replay_waits", id=job_id, exc_info=error)
                await self._clock.sleep(AGAIN_S)
        del self._tasks[job_id]

    async def _turn(self, job_id: str) -> bool:
        """One chunk, or one look at the outcomes; whether the job is still running."""
        job = await asyncio.to_thread(self._replays.get, job_id)
        if job.state != "running" or not self._leading.leads:
            return False
        started_s = self._clock.monotonic_s()
        shall_take_s = await self._chunk(job) if job.issued < job.total else await self._follow(job)
        await self._clock.sleep(max(0.0, started_s + shall_take_s - self._clock.monotonic_s()))
        return True

    # -- issuing -----------------------------------------------------------------------------------------------------

    async def _chunk(self, job: ReplayJob) -> float:
        """Issue the next items. How many seconds that shall take at the job's rate."""
        size = PREVIEWS if job.dry_run else CHUNK
        if job.rate_per_s is not None:
            size = max(1, min(size, int(job.rate_per_s * TURN_S)))
        items = await asyncio.to_thread(self._next_items, job, size)
        ready = await self._messages(job, [item for item in items if item["state"] == WAITING])
        if job.dry_run:
            changed = await self._preview(ready)
        else:
            await self._issue([message for _, message in ready if isinstance(message, Issued)])
            changed = [_issued(item, message) for item, message in ready]
        skipped = [_skipped(item, found.why) for item, found in ready if isinstance(found, Impossible)]
        await asyncio.to_thread(self._note, job.job_id, job.issued + len(items), changed, skipped)
        return len(changed) / job.rate_per_s if job.rate_per_s is not None else 0.0

    def _next_items(self, job: ReplayJob, size: int) -> Sequence[RowMapping]:
        """Those that the audit knows of already have been issued by somebody who could not note it."""
        with self._database.read() as connection:
            query = (
                select(job_item, edited.c.body.label("edited"), cause.c.cause.label("seen"))
                .outerjoin(edited, edited.c.letter_id == job_item.c.letter_id)
                .outerjoin(cause, cause.c.cause == job_item.c.cause)
                .where(job_item.c.job_id == job.job_id, job_item.c.number >= job.issued)
                .order_by(job_item.c.number)
                .limit(size)
            )
            return connection.execute(query).mappings().all()

    async def _messages(
        self, job: ReplayJob, items: Sequence[RowMapping]
    ) -> list[tuple[RowMapping, Issued | Impossible | None]]:
        """None: it was issued before."""
        places: dict[int, list[int]] = defaultdict(list)
        for item in items:
            places[item["topic_partition"]].append(item["topic_offset"])
        letters = {
            (partition, offset): letter
            for partition, offsets in places.items()
            for offset, letter in (await self._letters.read(partition, offsets)).items()
        }
        return [
            (item, await self._message(job, item, letters.get((item["topic_partition"], item["topic_offset"]))))
            for item in items
        ]

    async def _message(self, job: ReplayJob, item: RowMapping, letter: DeadLetter | None) -> Issued | Impossible | None:
        if item["seen"] is not None:
            return None
        if letter is None:
            return Impossible("the letter has left its topic")
        original = job.mapping == "original"
        if original and not letter.mapping_version:
            return Impossible("it was never mapped: there is no original version")
        return issue(
            letter,
            item["edited"] or await self._letters.body(letter),
            cause=item["cause"],
            revision=item["revision"],
            version=letter.mapping_version if original else None,
            traceparent=new_traceparent(),
        )

    async def _issue(self, messages: Sequence[Issued]) -> None:
        sending = [spans.sending(self._topic, links=[message.replays]) for message in messages]
        places = await asyncio.gather(
            *(
                self._producer.send_nowait(
                    self._topic,
                    key=message.company,
                    value=message.value,
                    headers={**message.headers, TRACEPARENT: span.traceparent.encode()},
                    partition=partition_for(message.company, self._partitions),
                )
                for message, span in zip(messages, sending, strict=True)
            )
        )
        for place, span in zip(places, sending, strict=True):
            spans.sent(span, place.partition, place.offset)
            span.end()

    def _note(
        self, job_id: str, issued: int, changed: Sequence[dict[str, Any]], skipped: Sequence[ReplayItems]
    ) -> None:
        """Whatever the job's state is by now: what was issued was issued."""

        def note(connection: Connection, job: ReplayJob) -> dict[str, object]:
            if changed:
                connection.execute(
                    _CHANGE, [{**row, "of_job": job_id, "at_ms": self._clock.now_ms()} for row in changed]
                )
            for items in skipped:
                tell(connection, keys.skipped_key(job_id, items.first), items.encode())
            return {"issued": issued, **_judge(connection, msgspec.structs.replace(job, issued=issued))}

        self._replays.progress(job_id, note)

    # -- dry runs ----------------------------------------------------------------------------------------------------

    async def _preview(self, ready: Sequence[tuple[RowMapping, Issued | Impossible | None]]) -> list[dict[str, Any]]:
        async def one(item: RowMapping, message: Issued | Impossible | None) -> dict[str, Any]:
            if not isinstance(message, Issued):
                return _issued(item, message)
            found = await self._previews.ask(message)
            state, why = await asyncio.to_thread(self._would, found)
            return {**_changed(item, state, why), "found": found.encode()}

        return await asyncio.gather(*(one(item, message) for item, message in ready))

    def _would(self, found: Preview) -> tuple[str, str]:
        """What would become of it, given what is settled by now."""
        match found.result:
            case "dead_lettered":
                return "would_fail", found.reason
            case "ignored":
                return "would_be_ignored", found.reason
            case "unresolved":
                return "unresolved", found.reason
        with self._database.read() as connection:
            row = connection.execute(select(newest).where(newest.c.record_key == found.record_key)).one_or_none()
        if row is not None and (found.generation or _NONE) < Generation(row.source_version, row.revision):
            return "would_be_superseded", f"a newer state was {row.outcome.replace('_', '-')} ({row.cause})"
        return "would_be_written", ""

    # -- following ---------------------------------------------------------------------------------------------------

    async def _follow(self, job: ReplayJob) -> float:
        """All is issued: wait for the outcomes."""
        await asyncio.to_thread(self._replays.progress, job.job_id, _judge)
        return LOOK_S


def _judge(connection: Connection, job: ReplayJob) -> dict[str, object]:
    """Whether it is done, or shall go no further."""
    if job.state != "running" or (job.stop_after is None and job.issued < job.total):
        return {}
    counts = counts_of(connection, job.job_id)
    failed = counts.get("dead_lettered", 0)
    if job.stop_after is not None and failed >= job.stop_after:  # started again, it may fail as often once more
        return {"state": "paused", "why": f"{failed} records failed again", "stop_after": failed + job.stop_after}
    if job.issued >= job.total and not counts.get(ISSUED) and not counts.get(WAITING):
        return {"state": "done"}
    return {}


def counts_of(connection: Connection, job_id: str) -> dict[str, int]:
    """How many items are in which state."""
    rows = connection.execute(
        select(job_item.c.state, func.count()).where(job_item.c.job_id == job_id).group_by(job_item.c.state)
    )
    return {row[0]: row[1] for row in rows}


def _issued(item: RowMapping, message: Issued | Impossible | None) -> dict[str, Any]:
    if isinstance(message, Impossible):
        return _changed(item, SKIPPED, message.why)
    return _changed(item, ISSUED, "")


def _skipped(item: RowMapping, why: str) -> ReplayItems:
    """A rebuilt database must not wait for it."""
    places = item["topic_partition"], item["topic_offset"]
    one = ReplayItem(item["letter_id"], item["record_key"], item["account"], *places, item["revision"], why)
    return ReplayItems(job_id=item["job_id"], first=item["number"], items=(one,))


def _changed(item: RowMapping, state: str, why: str) -> dict[str, Any]:
    return {"of_number": item["number"], "of_cause": item["cause"], "state": state, "why": why, "found": None}
