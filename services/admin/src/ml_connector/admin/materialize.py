"""Fold the topics into the tables, and follow them.

Positions are kept in the same database and moved in the transaction that folds the messages before them: what was
folded is never folded twice, and nothing is left out, whatever dies. Of several replicas the one with the lease folds;
should two think they have it, only one can move a position. A database made from other topics is emptied and made anew.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, delete, select, update
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError, StatementError

from ml_connector.admin.broker_topics import CLUSTER, BrokerTopics, Place
from ml_connector.admin.database import Database, lock_folding, upsert
from ml_connector.admin.feed import Batch, Feed
from ml_connector.admin.fold import READ, fold, prune
from ml_connector.admin.lease import Lease
from ml_connector.admin.tables import connecting, lease, metadata, origin, outbox, position
from ml_connector.common.clock import Clock, Deadline
from ml_connector.common.errors import ConnectorError, TryLater
from ml_connector.common.kafka.record import Record
from ml_connector.common.logs import get_logger
from ml_connector.common.settings import Settings
from ml_connector.common.topics import Topic

log = get_logger()

LOOK_S: Final = 1.0
AGAIN_S: Final = 1.0
LONGEST_AGAIN_S: Final = 15.0
PRUNE_S: Final = 3600.0
LEVEL_LOOK_S: Final = 0.05
TRUNCATED_LOOKS: Final = 3  # a new leader may not know for a moment how far its partition goes

# PostgreSQL's classes of what is wrong with the values themselves: data, constraints, limits of the program.
_OF_THE_VALUES: Final = ("22", "23", "54")
_OURS: Final = (connecting, lease, outbox)


@dataclass(frozen=True, slots=True)
class Behind:
    """How far the tables are behind the topics. Everything older than `age_s` is in them; None: not level yet."""

    messages: int
    partitions_unread: int
    age_s: float | None


@dataclass(frozen=True, slots=True)
class _Look:
    """Where the topics ended at some moment."""

    at_ms: int
    ends: Mapping[Place, int]


class _FromTheStart(ConnectorError):
    """What is known of positions and topics does not hold any more: open everything anew."""


class Materializer:
    """`start`, then `run` until cancelled, then `close`. The rest may be asked at any time, on any replica."""

    def __init__(self, settings: Settings, database: Database, clock: Clock, *, lease_ms: int = 15_000) -> None:
        """`lease_ms`: how long nobody folds after a kill."""
        self._settings = settings
        self._database = database
        self._clock = clock
        self._topics = BrokerTopics(settings)
        self._lease = Lease(database, "materialize", uuid.uuid4().hex, clock, lease_ms)
        self._lease_s = lease_ms / 1000
        self._one = asyncio.Lock()  # a fold reads what others have written: one at a time
        self._next: dict[Place, int] = {}
        self._look = _Look(0, {})
        self._awaited: _Look | None = None
        self._level_at_ms: int | None = None
        self._identity: Mapping[str, str] = {}
        self._truncated = 0
        self.leads = False  # this replica folds

    async def start(self) -> None:
        """Raises DeliveryFailed when the broker does not answer."""
        await self._see()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch())
            group.create_task(self._lead())

    async def close(self) -> None:
        """So that another replica goes on at once."""
        try:
            await asyncio.to_thread(self._lease.release)
        except SQLAlchemyError as error:
            log.warning("lease_kept", error=type(error).__name__)

    @property
    def ready(self) -> bool:
        """The tables have been level with the topics once."""
        return self._level_at_ms is not None

    @property
    def ends(self) -> Mapping[Place, int]:
        """Where the topics ended at the last look, a second ago."""
        return self._look.ends

    def behind(self) -> Behind:
        """As of the last look, a second ago."""
        lags = [max(0, end - self._next.get(place, 0)) for place, end in self._look.ends.items()]
        age_s = None if self._level_at_ms is None else (self._clock.now_ms() - self._level_at_ms) / 1000
        return Behind(sum(lags), sum(lag > 0 for lag in lags), age_s)

    async def until_level(self, deadline: Deadline, *, of: Topic | None = None) -> None:
        """Until everything is folded that the topics (or the one) hold now. Raises TryLater."""
        ends = await asyncio.to_thread(self._topics.ends)
        if of is not None:
            ends = {place: end for place, end in ends.items() if place[0] == of.name}
        while not self._reached(ends):
            if deadline.expired:
                raise TryLater("the topics are not read to their ends", after_s=5.0)
            await self._clock.sleep(LEVEL_LOOK_S)

    # -- looking -----------------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        while True:
            await self._clock.sleep(LOOK_S)
            try:
                await self._see()
            except (ConnectorError, SQLAlchemyError) as error:
                log.warning("topics_unseen", problem=_problem_of(error))

    async def _see(self) -> None:
        at_ms = self._clock.now_ms()
        self._look = look = _Look(at_ms, await asyncio.to_thread(self._topics.ends))
        if not self.leads:
            positions = await asyncio.to_thread(self._positions)
            if not self.leads:
                self._next = positions
        for seen in (self._awaited, look):
            if seen is not None and self._reached(seen.ends):
                self._level_at_ms = seen.at_ms
        if self._awaited is None or self._reached(self._awaited.ends):
            self._awaited = look

    def _reached(self, ends: Mapping[Place, int]) -> bool:
        return all(self._next.get(place, 0) >= end for place, end in ends.items())

    def _positions(self) -> dict[Place, int]:
        with self._database.read() as connection:
            return _positions_in(connection)

    # -- folding -----------------------------------------------------------------------------------------------------

    async def _lead(self) -> None:
        """Whatever happens: the topics have everything, and reading goes on behind what is committed."""
        again_s = AGAIN_S
        while True:
            began_s = self._clock.monotonic_s()
            try:
                if await asyncio.to_thread(self._lease.take):
                    await self._fold_all()
                again_s = AGAIN_S
            except Exception as error:  # noqa: BLE001  the top of the loop
                log.warning("materializing_again", problem=_problem_of(error))
                await self._mend()
            if self._clock.monotonic_s() - began_s > LONGEST_AGAIN_S:
                again_s = AGAIN_S
            await self._clock.sleep(again_s)
            again_s = min(LONGEST_AGAIN_S, again_s * 2)

    async def _mend(self) -> None:
        """A database that somebody deleted is made again, empty; whatever else is wrong with it is still wrong then."""
        try:
            await asyncio.to_thread(self._database.migrate)
        except Exception as error:  # noqa: BLE001  alembic raises what it likes
            log.warning("database_unreachable", problem=_problem_of(error))

    async def _fold_all(self) -> None:
        """Until the lease is lost, or something does not hold. Always raises."""
        starts = await _undisturbed(self._open)
        self._next, self.leads = dict(starts), True
        feeds = [Feed(self._settings.kafka(), topic, self._topics.full_name(topic)) for topic in READ]
        works = [*(self._follow(feed, starts) for feed in feeds), self._keep_lease(), self._prune()]
        tasks = [asyncio.create_task(work) for work in works]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self.leads = False
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.gather(*(feed.close() for feed in feeds))

    async def _keep_lease(self) -> None:
        """And see whether the topics still are the same."""
        while True:
            await self._clock.sleep(self._lease_s / 3)
            try:
                if not await asyncio.to_thread(self._lease.take):
                    raise _FromTheStart("another replica has the lease")
                if await asyncio.to_thread(self._topics.identity) != self._identity:
                    raise _FromTheStart("topics were made anew")
            except (TryLater, SQLAlchemyError) as error:  # positions guard what is written meanwhile
                log.warning("lease_not_renewed", error=type(error).__name__)

    async def _prune(self) -> None:
        while True:
            firsts = await asyncio.to_thread(self._topics.firsts)
            async with self._one:
                await _undisturbed(self._forget, firsts)
            await self._clock.sleep(PRUNE_S)

    def _forget(self, firsts: Mapping[Place, int]) -> None:
        with self._database.write() as connection:
            lock_folding(connection)
            prune(connection, firsts)

    async def _follow(self, feed: Feed, starts: Mapping[Place, int]) -> None:
        await feed.start({partition: offset for (name, partition), offset in starts.items() if name == feed.topic.name})
        while True:
            await self._fold(feed.topic, await feed.take())

    async def _fold(self, topic: Topic, batch: Batch) -> None:
        """Of messages of which one cannot be folded the others are, and it is skipped."""
        moves = self._moves(topic, batch)
        try:
            await self._commit(topic, batch.records, moves)
        except Exception as error:  # any fault of the one message must not stop all others; what is none goes on
            if not batch.records or not _is_of_a_message(error):
                raise
            if len(batch.records) > 1:
                for part in batch.halves():
                    await self._fold(topic, part)
                return
            _log_skipped(batch.records[0], error)
            await self._commit(topic, [], moves)

    async def _commit(self, topic: Topic, records: Sequence[Record], moves: Mapping[Place, tuple[int, int]]) -> None:
        if moves:
            async with self._one:
                await _undisturbed(self._write, topic, records, moves)
            self._next.update({place: new for place, (_, new) in moves.items()})

    def _moves(self, topic: Topic, batch: Batch) -> dict[Place, tuple[int, int]]:
        """From where to where each position goes."""
        found: dict[Place, tuple[int, int]] = {}
        for record in batch.records:
            place = (topic.name, record.partition)
            before, now = found.get(place, (self._next[place], self._next[place]))
            if record.offset < now:
                raise _FromTheStart("offsets have gone back: these are other messages")
            found[place] = (before, record.offset + 1)
        for partition, tail in batch.tails.items():
            place = (topic.name, partition)
            before, now = found.get(place, (self._next[place], self._next[place]))
            if tail > now:
                found[place] = (before, tail)
        return found

    def _write(self, topic: Topic, records: Sequence[Record], moves: Mapping[Place, tuple[int, int]]) -> None:
        with self._database.write() as connection:
            lock_folding(connection)
            fold(connection, topic, records)
            for (name, partition), (before, after) in moves.items():
                moved = connection.execute(
                    update(position)
                    .where(
                        position.c.topic == name,
                        position.c.topic_partition == partition,
                        position.c.next_offset == before,
                    )
                    .values(next_offset=after)
                )
                if moved.rowcount != 1:
                    raise _FromTheStart("another replica has moved a position")

    # -- where to begin ----------------------------------------------------------------------------------------------

    def _open(self) -> dict[Place, int]:
        """Where each partition goes on. Empties the tables when they were made from other messages."""
        identity = self._identity = self._topics.identity()
        with self._database.write() as connection:
            lock_folding(connection)
            firsts, ends = self._topics.firsts(), self._topics.ends()
            known = {row.name: row.value for row in connection.execute(select(origin))}
            foreign = sorted(name for name, value in identity.items() if known.get(name, value) != value)
            positions = _positions_in(connection)
            truncated = self._truncated_of(positions, ends)
            if foreign or truncated:
                log.error("database_of_other_topics", topic=", ".join(foreign or truncated), action="rebuild")
                _empty(connection, outbox_too=CLUSTER in foreign)
                positions = {}
            starts = {place: _start_of(place, positions.get(place), first) for place, first in firsts.items()}
            upsert(connection, origin, [{"name": name, "value": value} for name, value in identity.items()])
            rows = [{"topic": t, "topic_partition": p, "next_offset": offset} for (t, p), offset in starts.items()]
            upsert(connection, position, rows)
        return starts

    def _truncated_of(self, positions: Mapping[Place, int], ends: Mapping[Place, int]) -> list[str]:
        """Topics that end before what was folded: the broker has lost messages. Believed when it says so repeatedly."""
        found = sorted({topic for (topic, p), offset in positions.items() if offset > ends.get((topic, p), offset)})
        self._truncated = self._truncated + 1 if found else 0
        if found and self._truncated < TRUNCATED_LOOKS:
            raise _FromTheStart("topics end before what was read of them")
        return found


def _start_of(place: Place, kept: int | None, first: int) -> int:
    if kept is not None and kept < first:
        log.warning("messages_missed", topic=place[0], partition=place[1], count=first - kept)
    return first if kept is None else max(kept, first)


def _positions_in(connection: Connection) -> dict[Place, int]:
    return {(row.topic, row.topic_partition): row.next_offset for row in connection.execute(select(position))}


def _empty(connection: Connection, *, outbox_too: bool) -> None:
    for table in metadata.sorted_tables:
        if table not in _OURS or (outbox_too and table is outbox):
            connection.execute(delete(table))


def _is_of_a_message(error: Exception) -> bool:
    """Whether a message is to blame, and neither the database nor another replica."""
    if isinstance(error, ConnectorError):
        return False
    if not isinstance(error, DBAPIError):
        return not isinstance(error, SQLAlchemyError) or isinstance(error, StatementError)
    state = getattr(error.orig, "sqlstate", None)
    return state.startswith(_OF_THE_VALUES) if state else isinstance(error, DataError | IntegrityError)


def _log_skipped(record: Record, error: Exception) -> None:
    log.error(
        "message_skipped",
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        problem=_problem_of(error),
    )


def _problem_of(error: Exception) -> str:
    """Ours in words; others by type, since they quote values."""
    if isinstance(error, ConnectorError):
        return str(error)
    return type(getattr(error, "orig", None) or error).__name__


async def _undisturbed(function: Callable[..., Any], *arguments: Any) -> Any:
    """In a thread; a cancellation waits for its end, since a thread cannot be cancelled."""
    task = asyncio.ensure_future(asyncio.to_thread(function, *arguments))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.gather(task, return_exceptions=True)
        raise
