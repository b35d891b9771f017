"""Every topic, declared once (DESIGN section 2). `mlc topics apply` makes them from here; nothing is auto-created."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

DAY_MS: Final = 24 * 3600 * 1000
YEARS_7_MS: Final = 7 * 365 * DAY_MS

PartitionedBy = Literal["company", "account", "one"]
Service = Literal["ingest", "resolver", "netsuite-writer", "admin"]

# Compaction has to keep up with a topic that is nearly all tombstones; a tombstone must outlive the longest
# time that a writer's local store may be out of use (DESIGN section 4).
TOMBSTONE_RETENTION_MS: Final = 7 * DAY_MS
# The largest message of any topic, and so of every producer: the largest body that ingest may be told to take, once in
# the desired record, with room for its escapes, headers and envelope.
MAX_MESSAGE_BYTES: Final = 8 * 1024 * 1024
_LARGE: Final = {"max.message.bytes": str(MAX_MESSAGE_BYTES)}
_COMPACT: Final = {
    **_LARGE,
    "cleanup.policy": "compact",
    "delete.retention.ms": str(TOMBSTONE_RETENTION_MS),
    "min.cleanable.dirty.ratio": "0.3",
    "segment.ms": str(6 * 3600 * 1000),
}
# The producers compress by lz4. What is kept for long, and is not waited for, the broker compresses anew, to three
# quarters of that (docs/scaling.md); it costs the broker some 15 us a message and the services nothing. zstd is as
# small, but the broker had to load a library from /tmp for it, which containers often forbid.
_DENSE: Final = {"compression.type": "gzip"}


def _kept(retention_ms: int) -> dict[str, str]:
    return {"cleanup.policy": "delete", "retention.ms": str(retention_ms), **_LARGE}


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic: what it is called (without the environment's prefix), how it is kept, and who does what with it.

    The services' rights at the broker are made from the latter (rights.py).
    """

    name: str
    partitioned_by: PartitionedBy
    config: dict[str, str] = field(hash=False)
    purpose: str = ""
    written_by: frozenset[Service] = frozenset()
    read_by: frozenset[Service] = frozenset()

    def full_name(self, prefix: str) -> str:
        return f"{prefix}{self.name}"

    def partitions(self, count: int) -> int:
        return 1 if self.partitioned_by == "one" else count


EVENTS: Final = Topic(
    "pipedrive.events",
    "company",
    _kept(30 * DAY_MS),
    "verified webhooks, untouched",
    written_by=frozenset({"ingest", "admin"}),
    read_by=frozenset({"resolver", "admin"}),
)
DEFERRED: Final = Topic(
    "pipedrive.deferred",
    "company",
    _kept(30 * DAY_MS),
    "events and requests put aside, with a due time",
    written_by=frozenset({"resolver"}),
    read_by=frozenset({"resolver", "admin"}),
)
PIPEDRIVE_REQUESTS: Final = Topic(
    "pipedrive.requests",
    "company",
    _kept(7 * DAY_MS),
    "what the company's owner is asked to read",
    written_by=frozenset({"netsuite-writer", "admin", "resolver"}),
    read_by=frozenset({"resolver", "admin"}),
)
STATE: Final = Topic(
    "pipedrive.state",
    "company",
    _COMPACT,
    "definitions, stages, walks, why a company is stopped",
    written_by=frozenset({"resolver"}),
    read_by=frozenset({"resolver", "admin"}),
)
DESIRED: Final = Topic(
    "netsuite.desired",
    "account",
    _COMPACT,
    "exactly the unsettled work",
    written_by=frozenset({"resolver", "netsuite-writer"}),
    read_by=frozenset({"netsuite-writer", "admin"}),
)
OBSERVED: Final = Topic(
    "netsuite.observed",
    "account",
    _COMPACT,
    "what NetSuite is known to hold, and open attempts",
    written_by=frozenset({"netsuite-writer"}),
    read_by=frozenset({"netsuite-writer", "admin"}),
)
NETSUITE_REQUESTS: Final = Topic(
    "netsuite.requests",
    "account",
    _kept(7 * DAY_MS),
    "what the account's owner is asked to check or compare",
    written_by=frozenset({"ingest", "admin", "resolver"}),
    read_by=frozenset({"netsuite-writer"}),
)
DEAD_LETTERS: Final = Topic(
    "dead-letters",
    "account",
    {**_kept(90 * DAY_MS), **_DENSE},
    "what a person has to look at, original bytes",
    written_by=frozenset({"resolver", "netsuite-writer"}),
    read_by=frozenset({"admin"}),
)
AUDIT: Final = Topic(
    "audit",
    "account",
    {**_COMPACT, "cleanup.policy": "compact,delete", "retention.ms": str(YEARS_7_MS), **_DENSE},
    "everything that happened, one entry per step",
    written_by=frozenset({"resolver", "netsuite-writer", "admin"}),
    read_by=frozenset({"admin"}),
)
FLOWS: Final = Topic(
    "connector.flows",
    "one",
    _COMPACT,
    "versions of the flows and which is active",
    written_by=frozenset({"admin"}),
    read_by=frozenset({"ingest", "resolver", "netsuite-writer", "admin"}),
)
SECRETS: Final = Topic(
    "connector.secrets",
    "one",
    _COMPACT,
    "encrypted credentials",
    written_by=frozenset({"admin", "resolver"}),
    read_by=frozenset({"ingest", "resolver", "netsuite-writer", "admin"}),
)
JOBS: Final = Topic(
    "connector.jobs",
    "one",
    _COMPACT,
    "replays and syncs under way",
    written_by=frozenset({"admin"}),
    read_by=frozenset({"admin"}),
)
REPLIES: Final = Topic(
    "connector.replies",
    "one",
    _kept(DAY_MS),
    "answers to requests, and what ingest tells of itself",
    written_by=frozenset({"resolver", "netsuite-writer", "ingest"}),
    read_by=frozenset({"admin"}),
)

ALL: Final = (
    EVENTS,
    DEFERRED,
    PIPEDRIVE_REQUESTS,
    STATE,
    DESIRED,
    OBSERVED,
    NETSUITE_REQUESTS,
    DEAD_LETTERS,
    AUDIT,
    FLOWS,
    SECRETS,
    JOBS,
    REPLIES,
)


def by_name(name: str) -> Topic | None:
    return next((topic for topic in ALL if topic.name == name), None)


def used_by(service: Service) -> Iterator[Topic]:
    """What it writes or reads, and so may see."""
    return (topic for topic in ALL if service in topic.written_by | topic.read_by)


def with_prefix(prefix: str, partitions: int, of: Iterable[Topic] = ALL) -> Iterator[tuple[str, int, dict[str, str]]]:
    """(full name, partitions, configuration) of every topic."""
    for topic in of:
        yield topic.full_name(prefix), topic.partitions(partitions), topic.config
