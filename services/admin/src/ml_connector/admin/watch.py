"""Look now and then at what only the whole of it shows: how old the oldest unsettled event is, and who makes progress.

In: the tables, and what the consumer groups have committed. Out: gauges. A group that is down is seen all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Final, Protocol

from confluent_kafka import Consumer, KafkaException, TopicPartition
from sqlalchemy import Connection, func, or_, select, union
from sqlalchemy.exc import SQLAlchemyError

from ml_connector.admin.books import beyond
from ml_connector.admin.broker_topics import Place
from ml_connector.admin.database import Database
from ml_connector.admin.tables import accepted, active_flow, dead_letter, parked, waiting
from ml_connector.common import measuring, metrics, topics
from ml_connector.common.clock import Clock
from ml_connector.common.kafka.producer import client_config
from ml_connector.common.logs import get_logger
from ml_connector.common.measuring import Reading
from ml_connector.common.settings import Settings

log = get_logger()

EVERY_S: Final = 15.0  # Prometheus asks every 15 to 60 s
ANSWERED_S: Final = 10.0
GROUPS: Final = {
    "resolver": (topics.EVENTS,),
    "resolver-companions": (topics.DEFERRED, topics.PIPEDRIVE_REQUESTS),
    "netsuite-writer": (topics.DESIRED,),
}

Committed = Mapping[tuple[str, Place], int]  # the next offset of a group, 0 where it has none


class Level(Protocol):
    @property
    def ends(self) -> Mapping[Place, int]: ...


class Watch:
    """`run` until cancelled."""

    def __init__(self, settings: Settings, database: Database, level: Level, clock: Clock) -> None:
        self._settings = settings
        self._database = database
        self._level = level
        self._clock = clock
        # None of them joins its group. AdminClient can ask, too, but librdkafka ends the process when a broker restarts
        # meanwhile (its issues 3663, 4605).
        self._groups = {
            group: Consumer(
                {**client_config(settings.kafka()), "group.id": settings.group(group), "enable.auto.commit": False}
            )
            for group in GROUPS
        }
        self._committed: Committed = {}
        self._oldest: list[tuple[int, dict[str, str]]] = []  # when it came
        self._paused: list[Reading] = []
        self._letters: list[Reading] = []
        measuring.read(metrics.OLDEST_UNSETTLED, self._ages)
        measuring.read(metrics.FLOW_PAUSED, lambda: self._paused)
        measuring.read(metrics.OPEN_LETTERS, lambda: self._letters)
        measuring.read(metrics.COMMITTED, self._offsets)
        measuring.read(metrics.LAG, self._lags)

    async def run(self) -> None:
        while True:
            try:
                self._committed = await asyncio.to_thread(self._ask)
                await asyncio.to_thread(self._look)
            except (KafkaException, SQLAlchemyError) as error:
                log.warning("watching_again", error=type(error).__name__)
            await self._clock.sleep(EVERY_S)

    def _ask(self) -> Committed:
        prefix, count = self._settings.topic_prefix, self._settings.partitions
        found: dict[tuple[str, Place], int] = {}
        for group, of in GROUPS.items():
            names = {topic.full_name(prefix): topic.name for topic in of}
            places = [TopicPartition(name, partition) for name in names for partition in range(count)]
            for place in self._groups[group].committed(places, timeout=ANSWERED_S):
                found[group, (names[place.topic], place.partition)] = max(0, place.offset)
        return found

    def _look(self) -> None:
        with self._database.read() as connection:
            oldest = oldest_unsettled(connection, {place: offset for (_, place), offset in self._committed.items()})
            paused = connection.execute(select(active_flow.c.flow).where(active_flow.c.paused)).scalars().all()
            letters = connection.execute(
                select(dead_letter.c.account, dead_letter.c.stage, func.count())
                .where(dead_letter.c.state == "open")
                .group_by(dead_letter.c.account, dead_letter.c.stage)
            ).all()
        self._oldest = [(at_ms, {"account": account, "flow": flow}) for (account, flow), at_ms in oldest.items()]
        self._paused = [(1, {"flow": flow}) for flow in paused]
        self._letters = [(count, {"account": account, "stage": stage}) for account, stage, count in letters]

    # -- what is told ------------------------------------------------------------------------------------------------

    def _ages(self) -> list[Reading]:
        now_ms = self._clock.now_ms()
        return [(max(0, now_ms - at_ms) / 1000, attributes) for at_ms, attributes in self._oldest]

    def _offsets(self) -> Iterator[Reading]:
        return ((offset, _attributes(group, place)) for (group, place), offset in self._committed.items())

    def _lags(self) -> Iterator[Reading]:
        ends = self._level.ends
        for (group, place), offset in self._committed.items():
            yield max(0, ends.get(place, 0) - offset), _attributes(group, place)


def _attributes(group: str, place: Place) -> dict[str, str]:
    return {"group": group, "topic": place[0], "partition": str(place[1])}


def oldest_unsettled(connection: Connection, committed: Mapping[Place, int]) -> dict[tuple[str, str], int]:
    """By account and flow: when the oldest event came that waits to be read, was put aside, or is not settled yet."""
    unread = [beyond(*place, offset) for place, offset in committed.items() if place[0] != topics.DEFERRED.name]
    aside = [
        (parked.c.topic_partition == place[1]) & (parked.c.topic_offset >= offset)
        for place, offset in committed.items()
        if place[0] == topics.DEFERRED.name
    ]
    of = (accepted.c.account, accepted.c.flow, accepted.c.at_ms)
    # Not joined: SQLite would read all that was ever accepted, and look for each what waits.
    everywhere = union(
        select(*of).where(accepted.c.cause.in_(select(waiting.c.cause))),
        select(*of).where(accepted.c.cause.in_(select(parked.c.cause).where(or_(False, *aside)))),
        select(*of).where(or_(False, *unread)),
    ).subquery()
    account, flow, at_ms = everywhere.c
    rows = connection.execute(select(account, flow, func.min(at_ms)).group_by(account, flow))
    return {(row[0], row[1]): int(row[2]) for row in rows}
