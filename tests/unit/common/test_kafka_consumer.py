"""A member of a group hands over nothing of a partition that was taken away, even when it has come back since."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from confluent_kafka import KafkaError, TopicPartition

from ml_connector.common.kafka import owner
from ml_connector.common.kafka.consumer import GroupConsumer

TOPIC = "netsuite.desired"


class Said:
    """A message of partition 0, or the news that it has been read to its end."""

    def __init__(self, value: bytes | None) -> None:
        self._value = value

    def error(self) -> KafkaError | None:
        return None if self._value is not None else KafkaError(KafkaError._PARTITION_EOF)

    def topic(self) -> str:
        return TOPIC

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return 7

    def key(self) -> bytes:
        return b"key"

    def value(self) -> bytes | None:
        return self._value

    def headers(self) -> None:
        return None

    def timestamp(self) -> tuple[int, int]:
        return 1, 0


class Client:
    """Confluent's Consumer, as far as it is asked: each poll takes the next step, and may call back before."""

    def __init__(self, steps: list[str | bytes]) -> None:
        self._steps = deque(steps)
        self._on: dict[str, Callable[[Any, list[TopicPartition]], None]] = {}
        self.places = [TopicPartition(TOPIC, 0)]

    def __call__(self, config: Mapping[str, Any]) -> Client:
        return self

    def subscribe(self, topics: list[str], **on: Callable[[Any, list[TopicPartition]], None]) -> None:
        self._on = on

    def poll(self, _: float) -> Said | None:
        while self._on and self._steps:
            match self._steps.popleft():
                case "nothing":
                    return None
                case "end":
                    return Said(None)
                case bytes(value):
                    return Said(value)
                case callback:
                    self._on[str(callback)](self, self.places)
        return None

    def get_watermark_offsets(self, *_: Any) -> tuple[int, int]:
        return 0, 1_000

    def incremental_assign(self, _: Any) -> None: ...

    def incremental_unassign(self, _: Any) -> None: ...

    def close(self) -> None: ...


class Assignment:
    """`again`: has been assigned for the second time."""

    def __init__(self) -> None:
        self.times = 0

    async def assigned(self, partitions: frozenset[int]) -> Mapping[int, int]:
        self.times += 1
        return dict.fromkeys(partitions, 0)

    async def revoked(self, partitions: frozenset[int]) -> Mapping[int, int]:
        return {}

    async def lost(self, partitions: frozenset[int]) -> None: ...


@pytest.mark.parametrize("gone", ["on_lost", "on_revoke"])
@pytest.mark.parametrize("old", [["end"], [b"old"], [b"old", "end"], [b"old", "nothing", "end"]], ids=str)
async def test_what_was_read_before_a_partition_went_is_dropped(
    monkeypatch: pytest.MonkeyPatch, gone: str, old: list[str | bytes]
) -> None:
    """It came back with other knowledge: its end is not reached, though the one before had reached it."""
    client = Client(["on_assign", *old, gone, "on_assign", b"new", "end"])
    monkeypatch.setattr(owner, "Consumer", client)
    monkeypatch.setattr(owner, "connect", lambda _: None)
    assignment = Assignment()
    consumer = GroupConsumer({}, topic=TOPIC, group="g", session_timeout_s=10, assignment=assignment)
    consumer.start()

    async def read() -> list[Any]:
        found: list[Any] = []
        while 0 not in found:
            records, ended = await consumer.next()
            if assignment.times == 2:
                found += [*(record.value for record in records), *ended]
        return found

    assert await asyncio.wait_for(read(), 10) == [b"new", 0]
    await consumer.close()
