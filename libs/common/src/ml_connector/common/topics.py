"""Every topic, declared once (DESIGN section 2). `mlc topics apply` makes them from here; nothing is auto-created."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

DAY_MS: Final = 24 * 3600 * 1000
YEARS_7_MS: Final = 7 * 365 * DAY_MS

PartitionedBy = Literal["company", "account", "one"]

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


def _kept(retention_ms: int) -> dict[str, str]:
    return {"cleanup.policy": "delete", "retention.ms": str(retention_ms), **_LARGE}


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic: what it is called (without the environment's prefix) and how it is kept."""

    name: str
    partitioned_by: PartitionedBy
    config: dict[str, str] = field(hash=False)
    purpose: str = ""

    def full_name(self, prefix: str) -> str:
        return f"{prefix}{self.name}"

    def partitions(self, count: int) -> int:
        return 1 if self.partitioned_by == "one" else count


EVENTS: Final = Topic("pipedrive.events", "company", _kept(30 * DAY_MS), "verified webhooks, untouched")
DEFERRED: Final = Topic(
    "pipedrive.deferred", "company", _kept(30 * DAY_MS), "events and requests put aside, with a due time"
)
PIPEDRIVE_REQUESTS: Final = Topic(
    "pipedrive.requests", "company", _kept(7 * DAY_MS), "what the company's owner is asked to read"
)
STATE: Final = Topic("pipedrive.state", "company", _COMPACT, "definitions, stages, walks, why a company is stopped")
DESIRED: Final = Topic("netsuite.desired", "account", _COMPACT, "exactly the unsettled work")
OBSERVED: Final = Topic("netsuite.observed", "account", _COMPACT, "what NetSuite is known to hold, and open attempts")
NETSUITE_REQUESTS: Final = Topic(
    "netsuite.requests", "account", _kept(7 * DAY_MS), "what the account's owner is asked to check or compare"
)
DEAD_LETTERS: Final = Topic(
    "dead-letters", "account", _kept(90 * DAY_MS), "what a person has to look at, original bytes"
)
AUDIT: Final = Topic(
    "audit",
    "account",
    {**_COMPACT, "cleanup.policy": "compact,delete", "retention.ms": str(YEARS_7_MS)},
    "everything that happened, one entry per step",
)
FLOWS: Final = Topic("connector.flows", "one", _COMPACT, "versions of the flows and which is active")
SECRETS: Final = Topic("connector.secrets", "one", _COMPACT, "encrypted credentials")
JOBS: Final = Topic("connector.jobs", "one", _COMPACT, "replays and syncs under way")
REPLIES: Final = Topic(
    "connector.replies", "one", _kept(DAY_MS), "answers to requests, and what ingest tells of itself"
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


def with_prefix(prefix: str, partitions: int) -> Iterator[tuple[str, int, dict[str, str]]]:
    """(full name, partitions, configuration) of every topic."""
    for topic in ALL:
        yield topic.full_name(prefix), topic.partitions(partitions), topic.config
