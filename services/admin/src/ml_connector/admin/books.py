"""The sum of DESIGN rule 2: accepted = written + superseded + ignored + dead-lettered + waiting, per account.

Accepted is counted from the topics that events come in by, outcomes from the audit, and waiting independently of both:
from lag, from what was put aside, and from the live keys of `netsuite.desired`. A cause on its way between two topics
may look lost: only what still looks so after everything was read once more is a difference.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Final, Protocol

from sqlalchemy import ColumnElement, Connection, and_, exists, func, or_, select

from ml_connector.admin.database import Database
from ml_connector.admin.tables import accepted, cause, outcome, parked, waiting
from ml_connector.common import measuring, metrics, topics
from ml_connector.common.clock import Clock, Deadline
from ml_connector.common.errors import ConnectorError
from ml_connector.common.kafka.admin import committed_offsets
from ml_connector.common.logs import get_logger
from ml_connector.common.settings import Settings
from ml_connector.common.topics import DAY_MS, Topic

log = get_logger()

LEVEL_S: Final = 30.0
LISTED: Final = 20  # causes of one kind that are named; the rest is counted
_COMMITTED_BY: Final[dict[Topic, str]] = {
    topics.EVENTS: "resolver",
    topics.PIPEDRIVE_REQUESTS: "resolver-companions",
    topics.DEFERRED: "resolver-companions",
}

# An outcome is of what was accepted for the same account. Not by the index of accounts: SQLite would take that one, and
# read all outcomes of an account for each of its causes.
_SAME: Final = and_(outcome.c.cause == accepted.c.cause, outcome.c.account.concat("") == accepted.c.account)

Place = tuple[str, int]  # a topic without its prefix, a partition


@dataclass(slots=True)
class Sum:
    """Of one account. The lists name causes that break it."""

    accepted: int = 0
    written: int = 0
    superseded: int = 0
    ignored: int = 0
    dead_lettered: int = 0
    waiting: int = 0
    duplicates: int = 0  # deliveries beyond the first, counted apart
    lost: list[str] = field(default_factory=list)  # accepted, without outcome, not waiting
    unexplained: list[str] = field(default_factory=list)  # an outcome that nobody accepted
    contradicting: list[str] = field(default_factory=list)  # several outcomes of one cause

    @property
    def differences(self) -> int:
        return len(self.lost) + len(self.unexplained) + len(self.contradicting)


@dataclass(frozen=True, slots=True)
class Closing:
    """The sums as they were at `at_ms`."""

    at_ms: int
    accounts: dict[str, Sum]


class Level(Protocol):
    """What the topics held when it was asked has been read."""

    async def until_level(self, deadline: Deadline) -> None: ...


class Books:
    """`check` on demand, `run` on a timer. The last closing is what the metric tells."""

    def __init__(self, settings: Settings, database: Database, level: Level, clock: Clock) -> None:
        self._settings = settings
        self._database = database
        self._level = level
        self._clock = clock
        self._one = asyncio.Lock()
        self.last: Closing | None = None
        measuring.read(metrics.DIFFERENCE, self._readings)

    async def run(self, every_s: float) -> None:
        """Until cancelled."""
        while True:
            await self._clock.sleep(every_s)
            try:
                await self.check()
            except ConnectorError as error:
                log.warning("accounting_waits", exc_info=error)

    async def check(self) -> Closing:
        """Raises TryLater when the topics cannot be read to their ends in time."""
        async with self._one:
            found = await self._close()
            suspects = _suspects(found)
            if suspects:
                found = await self._close()
            for name, one in found.accounts.items():
                for kind in ("lost", "unexplained", "contradicting"):
                    setattr(one, kind, [c for c in getattr(one, kind) if (name, kind, c) in suspects])
                if one.differences:
                    causes = ", ".join([*one.lost, *one.unexplained, *one.contradicting][:LISTED])
                    log.error("accounting_differs", account=name, count=one.differences, problem=causes)
            self.last = found
            return found

    async def _close(self) -> Closing:
        """What was committed before the topics' ends were looked up is a sure sign of what is in the topics."""
        done = await asyncio.to_thread(self._committed)
        await self._level.until_level(Deadline.after(self._clock, LEVEL_S))
        now_ms = self._clock.now_ms()
        return Closing(now_ms, await asyncio.to_thread(self._sums, done, now_ms))

    def _committed(self) -> dict[Place, int]:
        found: dict[Place, int] = {}
        for topic, group in _COMMITTED_BY.items():
            name = topic.full_name(self._settings.topic_prefix)
            offsets = committed_offsets(
                self._settings.kafka(), self._settings.group(group), name, range(self._settings.partitions)
            )
            found |= {(topic.name, partition): offset for partition, offset in offsets.items()}
        return found

    def _sums(self, done: dict[Place, int], now_ms: int) -> dict[str, Sum]:
        with self._database.read() as connection:
            return sums(connection, done, now_ms=now_ms)

    def _readings(self) -> list[measuring.Reading]:
        if self.last is None:
            return []
        return [(one.differences, {"account": name}) for name, one in self.last.accounts.items()]


def sums(connection: Connection, done: dict[Place, int], *, now_ms: int) -> dict[str, Sum]:
    """`done`: the next offset of each partition that the resolver has committed."""
    found: dict[str, Sum] = defaultdict(Sum)
    _count_accepted(connection, found)
    for account, kind, count in connection.execute(
        select(accepted.c.account, outcome.c.outcome, func.count())
        .join_from(accepted, outcome, _SAME)
        .group_by(accepted.c.account, outcome.c.outcome)
    ):
        setattr(found[account], kind, count)
    _judge_open(connection, found, done)
    _add_unexplained(connection, found, now_ms)
    _add_contradicting(connection, found)
    return dict(found)


def _count_accepted(connection: Connection, found: dict[str, Sum]) -> None:
    rows = connection.execute(
        select(accepted.c.account, func.count(), func.sum(accepted.c.deliveries)).group_by(accepted.c.account)
    )
    for account, count, deliveries in rows:
        found[account].accepted = count
        found[account].duplicates = int(deliveries) - count


def _judge_open(connection: Connection, found: dict[str, Sum], done: dict[Place, int]) -> None:
    """Of what has no outcome: what waits, and what is nowhere."""
    lag = or_(*(beyond(topic, partition, offset) for (topic, partition), offset in done.items()))
    aside = [
        and_(parked.c.topic_partition + 0 == partition, parked.c.topic_offset >= offset)  # it is looked up by its cause
        for (topic, partition), offset in done.items()
        if topic == topics.DEFERRED.name
    ]
    waits = or_(
        lag,
        exists().where(waiting.c.cause == accepted.c.cause),
        exists().where(parked.c.cause == accepted.c.cause, or_(*aside)),
    )
    rows = connection.execute(
        select(accepted.c.account, accepted.c.cause, waits.label("waits")).where(~exists().where(_SAME))
    )
    for account, name, is_waiting in rows:
        if is_waiting:
            found[account].waiting += 1
        else:
            found[account].lost.append(name)


def beyond(topic: str, partition: int, offset: int) -> ColumnElement[bool]:
    return and_(accepted.c.topic == topic, accepted.c.topic_partition == partition, accepted.c.topic_offset >= offset)


def _add_unexplained(connection: Connection, found: dict[str, Sum], now_ms: int) -> None:
    """The audit is kept longer than what it tells of: older causes cannot be checked any more."""
    asked_for = or_(cause.c.cause.like("hyd:%"), cause.c.cause.like("syn:%"))
    rows = connection.execute(
        select(outcome.c.account, outcome.c.cause)
        .join_from(outcome, cause, cause.c.cause == outcome.c.cause)
        .where(
            ~exists().where(_SAME),
            or_(
                and_(asked_for, cause.c.received_at_ms > now_ms - _kept_ms(topics.PIPEDRIVE_REQUESTS)),
                and_(~asked_for, cause.c.received_at_ms > now_ms - _kept_ms(topics.EVENTS)),
            ),
        )
    )
    for account, name in rows:
        found[account].unexplained.append(name)


def _add_contradicting(connection: Connection, found: dict[str, Sum]) -> None:
    rows = connection.execute(
        select(outcome.c.account, outcome.c.cause).group_by(outcome.c.account, outcome.c.cause).having(func.count() > 1)
    )
    for account, name in rows:
        found[account].contradicting.append(name)


def _kept_ms(topic: Topic) -> int:
    return int(topic.config["retention.ms"]) - DAY_MS


def _suspects(closing: Closing) -> set[tuple[str, str, str]]:
    return {
        (name, kind, found)
        for name, one in closing.accounts.items()
        for kind in ("lost", "unexplained", "contradicting")
        for found in getattr(one, kind)
    }
