"""What the resolver takes in and gives out, whatever the shell around it reads and writes with. Pure.

In: a `Message` (bytes, headers, where it stood). Out: `Output`s, or `Defer`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgspec

from ml_connector.common import headers as h
from ml_connector.common.headers import Headers
from ml_connector.common.syncing import is_sync, is_urgent
from ml_connector.common.topics import Topic
from ml_connector.common.wire import Lane

# On a message that was put aside: where it stood first, as <topic>/<partition>/<offset>.
ORIGIN: Final = "origin"
_LANES: Final[dict[bytes, Lane]] = {b"live": "live", b"replay": "replay", b"backfill": "backfill"}


class Message(NamedTuple):
    """One message as it was read; `topic` is the full name."""

    topic: str
    partition: int
    offset: int
    key: bytes
    value: bytes
    headers: Headers

    @property
    def received_at_ms(self) -> int:
        """When ingest took the event; 0 when it does not say."""
        return h.number(self.headers, h.RECEIVED_AT_MS, 0)

    @property
    def lane(self) -> Lane:
        return _LANES.get(self.headers.get(h.LANE, b""), "live")

    @property
    def queue(self) -> bytes:
        """What waits for each other: a company's messages; the pages of its syncs have a queue of their own, and those
        that are urgent another."""
        if not is_sync(self.headers):
            return self.key
        return self.key + (b"/urgent" if is_urgent(self.headers) else b"/sync")

    def as_first_read(self) -> Message:
        """With the place that the message had before it was put aside."""
        if ORIGIN not in self.headers:
            return self
        topic, slash, place = h.text(self.headers, ORIGIN).partition("/")
        partition, _, offset = place.partition("/")
        if not slash or not partition.isdigit() or not offset.isdigit():
            return self
        return self._replace(topic=topic, partition=int(partition), offset=int(offset))


class Output(msgspec.Struct, frozen=True):
    """One message to be written; `partition_key` decides its partition."""

    topic: Topic
    partition_key: bytes
    key: bytes
    value: bytes | None
    headers: Headers


@dataclass(frozen=True, slots=True)
class Read:
    """One object as Pipedrive gave it, None when there is none. `date_ms`: the answer's Date; `took_ms`: it took."""

    data: dict[str, Any] | None
    date_ms: int
    took_ms: int


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list: its objects as they came. `cursor`: of the next one, empty at the end. Times as of Read."""

    rows: list[msgspec.Raw]
    cursor: str
    date_ms: int
    took_ms: int


@dataclass(frozen=True, slots=True)
class Defer:
    """Nothing is wrong with the message, but it cannot be resolved now."""

    reason: str
    after_s: float | None = None  # None: the usual delay
    lacking: tuple[str, ...] = ()  # definitions or stages that must be read from Pipedrive first
