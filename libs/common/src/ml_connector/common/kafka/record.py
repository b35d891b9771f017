"""One message as it was read."""

from __future__ import annotations

from typing import Any, NamedTuple

from confluent_kafka import Message

from ml_connector.common.headers import Headers


class Record(NamedTuple):
    """`headers`: of several with one name the last counts; `value` None is a tombstone."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp_ms: int


def of_message(message: Message) -> Record:
    headers: Any = message.headers()
    return Record(
        *place_of(message),
        _bytes(message.key()),
        _bytes(message.value()),
        {name: value for name, value in headers if value is not None} if headers else {},
        message.timestamp()[1],
    )


def place_of(message: Message) -> tuple[str, int, int]:
    """Topic, partition and offset of a message that was read or delivered."""
    return _given(message.topic()), _given(message.partition()), _given(message.offset())


def _given(value: Any) -> Any:
    """The client's stubs allow None for what every consumed message has."""
    return value


def _bytes(value: Any) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
