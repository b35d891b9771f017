"""`pipedrive.requests` and `pipedrive.state`: what a company's owner is asked, and what it knows of Pipedrive."""

from __future__ import annotations

from typing import Any

from ml_connector.common.codec import Wire
from ml_connector.common.keys import Entity
from ml_connector.common.wire.words import Lane


class Hydrate(Wire, frozen=True, tag_field="kind", tag="hydrate"):
    """Ask the company's owner to read one object and to emit its desired state. In `pipedrive.requests`."""

    request_id: str
    flow: str
    entity: Entity
    source_id: str
    lane: Lane
    reason: str
    at_ms: int
    force: bool = False  # as of a desired state


class StoredDefinitions(Wire, frozen=True):
    """Field definitions of one entity as last read from Pipedrive. In `pipedrive.state`."""

    company: str
    entity: str
    read_at_ms: int
    fields: list[dict[str, Any]]


class StoredStages(Wire, frozen=True):
    """Pipelines and stages as last read from Pipedrive. In `pipedrive.state`."""

    company: str
    read_at_ms: int
    pipelines: list[dict[str, Any]]
    stages: list[dict[str, Any]]


class StoredBudget(Wire, frozen=True):
    """API tokens of Pipedrive spent, by hours since the epoch. In `pipedrive.state`."""

    company: str
    spent: dict[int, int]
