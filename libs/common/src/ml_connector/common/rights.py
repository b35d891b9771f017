"""What each service may do at the broker: the least, from the topics' table. `mlc topics render` makes manifests of it.

A right to read or write implies the one to describe (Kafka, "Authorization and ACLs"). Pure.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, get_args

from ml_connector.common.topics import ALL, Service

SERVICES: Final[tuple[Service, ...]] = get_args(Service)

Operation = Literal["Read", "Write", "Describe", "DescribeConfigs"]


class Right(NamedTuple):
    """`name`: with the environment's prefix; `prefix`: of all whose names begin so."""

    kind: Literal["topic", "group", "transactionalId", "cluster"]
    name: str
    operations: tuple[Operation, ...]
    prefix: bool = False


# Groups that a service is in or commits to, and those whose commits it only looks up.
GROUPS: Final[dict[Service, tuple[str, ...]]] = {
    "ingest": (),
    "resolver": ("resolver", "resolver-companions"),
    "netsuite-writer": (
        "netsuite-writer",
        "netsuite-writer-comparisons",
        "netsuite-writer-pushes",
        "netsuite-writer-urgent",
    ),
    "admin": (),
}
LOOKED_AT: Final[dict[Service, tuple[str, ...]]] = {"admin": ("resolver", "resolver-companions", "netsuite-writer")}
# Readers that are in no group name one all the same; nothing is ever committed to it.
NO_GROUP: Final = "assigned"
# Transactional ids, by how they begin: the writer has one for each partition.
TRANSACTIONAL: Final[dict[Service, tuple[str, ...]]] = {"netsuite-writer": ("netsuite-writer-",)}


def of(service: Service, prefix: str = "") -> list[Right]:
    """All rights of a service."""
    found = []
    for topic in ALL:
        reads: tuple[Operation, ...] = ("Read",) if service in topic.read_by else ()
        writes: tuple[Operation, ...] = ("Write",) if service in topic.written_by else ()
        if reads or writes:
            found.append(Right("topic", topic.full_name(prefix), reads + writes))
    found += [Right("group", f"{prefix}{name}", ("Read",)) for name in GROUPS[service]]
    found += [Right("group", f"{prefix}{name}", ("Describe",)) for name in (NO_GROUP, *LOOKED_AT.get(service, ()))]
    found += [Right("transactionalId", f"{prefix}{name}", ("Write",), True) for name in TRANSACTIONAL.get(service, ())]
    return found
