"""Two ways to read a topic: as a member of a group, and by assignment (companion topics, tables).

Both commit by hand and read committed messages only. When too much waits to be taken, members of a group pause their
partitions and go on polling; the other does not poll.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from ml_connector.common.errors import DeliveryFailed, MustStop
from ml_connector.common.kafka.admin import watermarks
from ml_connector.common.kafka.owner import OwnerThread
from ml_connector.common.kafka.producer import client_config
from ml_connector.common.kafka.record import Record
from ml_connector.common.logs import get_logger
from ml_connector.common.rights import NO_GROUP

log = get_logger()

HIGH_WATER: Final = 5_000  # records handed over and not yet taken: pause
LOW_WATER: Final = 1_000  # resume
FETCHED_KBYTES: Final = 16 * 1024  # what the client may hold that nobody has polled
FETCH_WAIT_MS: Final = 100
PATIENT_BYTES: Final = 64 * 1024
END_TIMEOUT_S: Final = 5.0
ASKED_AGAIN_S: Final = 0.5
NEVER: Final = 2**63
REVOKE_DEADLINE_S: Final = 30.0  # must stay below max.poll.interval.ms (300 s): callbacks run inside a poll

# Errors that pass by themselves; librdkafka goes on trying.
_PASSING: Final = frozenset(
    {
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TRANSPORT,
        KafkaError._RESOLVE,
        KafkaError._TIMED_OUT,
        KafkaError._MAX_POLL_EXCEEDED,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,  # the client does not call these retriable
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
    }
)


class Assignment(Protocol):
    """What a group member does when partitions come and go. All run on the event loop; the poll waits for them."""

    async def assigned(self, partitions: frozenset[int]) -> Mapping[int, int]:
        """Where to start each partition; those not named start at their committed offset."""
        ...

    async def revoked(self, partitions: frozenset[int]) -> Mapping[int, int]:
        """Finish what is under way, within REVOKE_DEADLINE_S; the next offsets, to be committed."""
        ...

    async def lost(self, partitions: frozenset[int]) -> None:
        """Somebody else owns them already: drop everything, record nothing."""
        ...


class _Reader:
    """What both have in common: the queue between the owning thread and the event loop."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self._queue: asyncio.Queue[tuple[list[Record], list[int]]] = asyncio.Queue()
        self._held = 0
        self._paused = False
        self._owner: OwnerThread | None = None
        self._fatal: MustStop | None = None
        # The end of each partition as it was when it was assigned, until it is reached: under steady traffic the
        # client never finds an empty partition, and would never say that it is at the end.
        self._ends: dict[int, int] = {}
        self._epochs: dict[int, int] = {}  # of a member of a group

    @property
    def _thread(self) -> OwnerThread:
        if self._owner is None:
            raise RuntimeError("start() the consumer first")
        return self._owner

    async def next(self) -> tuple[list[Record], list[int]]:
        """The next records, in order, and the partitions whose end has been reached after them.

        Raises MustStop when the client has given up for good.
        """
        if self._fatal is not None:
            raise self._fatal
        records, ended = await self._queue.get()
        if self._fatal is not None:
            raise self._fatal
        self._held -= len(records)
        if self._paused and self._held < LOW_WATER:
            self._paused = False
            self._slow_down(False)
        return records, ended

    async def commit(self, offsets: Mapping[int, int]) -> None:
        """Commit the next offset of each partition; does not wait for the broker."""
        if offsets:
            await self._thread.call(lambda consumer: self._commit(consumer, offsets))

    async def close(self) -> None:
        if self._owner is not None:
            await self._owner.close()

    def _commit(self, consumer: Consumer, offsets: Mapping[int, int]) -> None:
        consumer.commit(offsets=[TopicPartition(self.topic, p, o) for p, o in offsets.items()], asynchronous=True)

    def _note_ends(self, consumer: Consumer, places: Iterable[TopicPartition]) -> None:
        """On the owning thread, right after the assignment; without an answer the client's own word must do."""
        for place in places:
            with contextlib.suppress(DeliveryFailed):
                self._ends[place.partition] = watermarks(consumer, self.topic, place.partition, END_TIMEOUT_S)[1]

    def _passed(self, records: list[Record]) -> list[int]:
        """Partitions whose noted end these records have reached."""
        passed = [
            record.partition for record in records if record.offset + 1 >= self._ends.get(record.partition, NEVER)
        ]
        for partition in passed:
            self._ends.pop(partition, None)
        return passed

    def _deliver(self, records: list[Record], ended: list[int]) -> None:
        if self._ends:
            ended = [*dict.fromkeys([*ended, *self._passed(records)])]
        self._held += len(records)
        self._queue.put_nowait((records, ended))
        if not self._paused and self._held > HIGH_WATER:
            self._paused = True
            self._slow_down(True)

    def _slow_down(self, paused: bool) -> None:
        """Members of a group must go on polling, though pausing drops what the client has fetched already."""
        self._thread.call(_pause_all if paused else _resume_all)

    def _drop_queued(self, partitions: frozenset[int]) -> None:
        """What the thread has read of them stands in the queue before it hears that they are gone."""
        for _ in range(self._queue.qsize()):
            records, ended = self._queue.get_nowait()
            kept = [record for record in records if record.partition not in partitions]
            self._held -= len(records) - len(kept)
            self._queue.put_nowait((kept, [partition for partition in ended if partition not in partitions]))
        for partition in partitions:
            self._ends.pop(partition, None)

    def epoch(self, partition: int) -> int | None:
        """Differs for each time that the partition was assigned; None while it is not ours."""
        return self._epochs.get(partition)

    def _own(self, config: dict[str, Any]) -> OwnerThread:
        return OwnerThread(
            config,
            name=f"kafka-{self.topic}",
            deliver=self._deliver,
            failed=self._failed,
            crashed=lambda error: self._give_up(f"{type(error).__name__} in a callback: {error}"),
            epoch=self.epoch,
        )

    def _failed(self, error: KafkaError) -> None:
        if _passes(error):
            log.warning("kafka_trouble", topic=self.topic, code=error.name())
            return
        self._give_up(error.name())

    def _give_up(self, problem: str) -> None:
        self._fatal = MustStop(f"reading {self.topic}: {problem}")
        self._queue.put_nowait(([], []))


class GroupConsumer(_Reader):
    """A member of a consumer group, cooperative-sticky, on one topic."""

    def __init__(
        self, kafka: Mapping[str, str], *, topic: str, group: str, session_timeout_s: float, assignment: Assignment
    ) -> None:
        """After a kill, others take over `session_timeout_s` later."""
        super().__init__(topic)
        self._config = {
            **_base_config(kafka, group),
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": int(session_timeout_s * 1000),
            "heartbeat.interval.ms": int(session_timeout_s * 300),
            "enable.partition.eof": True,
        }
        self._assignment = assignment
        self._epoch = 0

    def start(self) -> None:
        """Join the group."""
        self._owner = self._own(self._config)
        self._owner.start()
        self._owner.call(
            lambda consumer: consumer.subscribe(
                [self.topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
            )
        )

    @property
    def owned(self) -> frozenset[int]:
        return frozenset(self._epochs)

    async def pause(self, partitions: Iterable[int]) -> None:
        places = self._places(partitions)
        await self._thread.call(lambda consumer: consumer.pause(places))

    async def resume(self, partitions: Iterable[int]) -> None:
        places = self._places(partitions)
        await self._thread.call(lambda consumer: consumer.resume(places))

    def _places(self, partitions: Iterable[int]) -> list[TopicPartition]:
        return [TopicPartition(self.topic, partition) for partition in partitions]

    def _on_assign(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        partitions = frozenset(place.partition for place in places)
        starts = self._thread.wait_for(self._assigned(partitions), REVOKE_DEADLINE_S)
        for place in places:
            if place.partition in starts:
                place.offset = starts[place.partition]
        consumer.incremental_assign(places)
        self._note_ends(consumer, places)
        if self._paused:
            consumer.pause(places)

    async def _assigned(self, partitions: frozenset[int]) -> Mapping[int, int]:
        self._epoch += 1
        starts = await self._assignment.assigned(partitions)
        self._epochs.update(dict.fromkeys(partitions, self._epoch))
        return starts

    def _on_revoke(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        partitions = frozenset(place.partition for place in places)
        offsets = self._thread.wait_for(self._revoked(partitions), REVOKE_DEADLINE_S)
        if offsets:
            try:
                consumer.commit(
                    offsets=[TopicPartition(self.topic, p, o) for p, o in offsets.items()], asynchronous=False
                )
            except KafkaException as error:
                log.warning("commit_on_revoke_failed", topic=self.topic, code=error.args[0].name())
        consumer.incremental_unassign(places)

    async def _revoked(self, partitions: frozenset[int]) -> Mapping[int, int]:
        offsets = await self._assignment.revoked(partitions)
        self._forget(partitions)
        return offsets

    def _on_lost(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        self._thread.wait_for(self._lost(frozenset(place.partition for place in places)), REVOKE_DEADLINE_S)
        consumer.incremental_unassign(places)

    async def _lost(self, partitions: frozenset[int]) -> None:
        self._forget(partitions)
        await self._assignment.lost(partitions)

    def _forget(self, partitions: frozenset[int]) -> None:
        for partition in partitions:
            self._epochs.pop(partition, None)
        self._drop_queued(partitions)


class AssignedConsumer(_Reader):
    """Reads the partitions it is told to, from where it is told to; `next` reports each end it reaches.

    `group` is only needed to commit and to ask for committed offsets; no group membership is involved. `patient`: what
    comes singly may come FETCH_WAIT_MS later, many together; a fetch for each message would be most of what they cost.
    """

    def __init__(self, kafka: Mapping[str, str], *, topic: str, group: str = NO_GROUP, patient: bool = False) -> None:
        super().__init__(topic)
        self._config = {
            **_base_config(kafka, group),
            "enable.partition.eof": True,
            "queued.max.messages.kbytes": FETCHED_KBYTES,
            "fetch.min.bytes": PATIENT_BYTES if patient else 1,
        }

    def start(self) -> None:
        self._owner = self._own(self._config)
        self._owner.start()

    def _slow_down(self, paused: bool) -> None:
        self._thread.hold(paused)

    async def assign(self, starts: Mapping[int, int]) -> None:
        """Add partitions, each from the given offset (OFFSET_BEGINNING: from the oldest message)."""
        places = [TopicPartition(self.topic, partition, offset) for partition, offset in starts.items()]

        def assign(consumer: Consumer) -> None:
            consumer.incremental_assign(places)
            self._note_ends(consumer, places)

        await self._thread.call(assign)

    async def unassign(self, partitions: Iterable[int]) -> None:
        """Remove partitions; no record of them comes any more."""
        gone = frozenset(partitions)
        places = [TopicPartition(self.topic, partition) for partition in gone]
        await self._thread.call(lambda consumer: consumer.incremental_unassign(places))
        self._drop_queued(gone)

    async def committed(self, partitions: Iterable[int], *, timeout_s: float = 10.0) -> dict[int, int]:
        """The committed next offsets of the group; OFFSET_BEGINNING where there is none.

        Asks until it is answered, each time for so long: a broker that restarts is no reason to give up.
        """
        places = [TopicPartition(self.topic, partition) for partition in partitions]
        while True:
            try:
                found = await self._thread.call(lambda consumer: consumer.committed(places, timeout_s))
            except KafkaException as error:
                if not _passes(error.args[0]):
                    raise
                log.warning("committed_offsets_asked_again", topic=self.topic, code=error.args[0].name())
                await asyncio.sleep(ASKED_AGAIN_S)
            else:
                return {place.partition: place.offset if place.offset >= 0 else OFFSET_BEGINNING for place in found}


def _passes(error: KafkaError) -> bool:
    """By itself, or once the broker is back."""
    return error.code() in _PASSING or (error.retriable() and not error.fatal())


def _base_config(kafka: Mapping[str, str], group: str) -> dict[str, Any]:
    return {
        **client_config(kafka),
        "group.id": group,
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "isolation.level": "read_committed",
        "allow.auto.create.topics": False,
        "fetch.wait.max.ms": FETCH_WAIT_MS,
        "fetch.error.backoff.ms": 100,
    }


def _pause_all(consumer: Consumer) -> None:
    consumer.pause(consumer.assignment())


def _resume_all(consumer: Consumer) -> None:
    consumer.resume(consumer.assignment())
