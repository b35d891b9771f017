"""One Pipedrive company: its objects, definitions, pipelines and subscriptions."""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from ml_connector.sandbox.pipedrive.fields import CUSTOM, Definition, definitions

ENTITIES: Final = {"organizations": "organization", "persons": "person", "deals": "deal"}
PIPELINES: Final = {
    "Sales": ("Lead In", "Qualified", "Proposal Made", "Negotiations"),
    "Renewals": ("Upcoming", "In Review", "Signed"),
}
OWNER_ID: Final = 12415231

Item = dict[str, Any]


@dataclass(slots=True)
class Webhook:
    """One subscription; `event` as `<action>.<object>`, each of them a name or `*`."""

    id: int
    url: str
    event: str
    user: str | None
    password: str | None
    signing_secret: bytes | None = None
    failed_first_attempts: int = 0
    banned_until_s: float = 0.0
    lost: int = 0

    def wants(self, action: str, entity: str) -> bool:
        wanted_action, _, wanted_entity = self.event.partition(".")
        return wanted_action in {"*", action} and wanted_entity in {"*", entity}


@dataclass(slots=True)
class Company:
    """State in memory; items are kept in the REST v2 shape."""

    name: str
    company_id: int
    api_token: str
    host: str = ""
    items: dict[str, dict[int, Item]] = field(default_factory=lambda: {entity: {} for entity in CUSTOM})
    definitions: dict[str, list[Definition]] = field(default_factory=dict)
    pipelines: list[Item] = field(default_factory=list)
    stages: list[Item] = field(default_factory=list)
    webhooks: dict[int, Webhook] = field(default_factory=dict)
    requests: deque[float] = field(default_factory=deque)
    tokens_spent: int = 0
    _last_ids: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.host = self.host or f"{self.name}.pipedrive.com"
        self.definitions = {entity: definitions(self.name, entity) for entity in CUSTOM}
        stage_ids = itertools.count(1)
        for pipeline_id, (name, stages) in enumerate(PIPELINES.items(), start=1):
            self.pipelines.append({"id": pipeline_id, "name": name, "order_nr": pipeline_id, "is_deleted": False})
            for order, stage in enumerate(stages, start=1):
                stage_id = next(stage_ids)
                self.stages.append(
                    {"id": stage_id, "name": stage, "pipeline_id": pipeline_id, "order_nr": order, "is_deleted": False}
                )

    def new_id(self, entity: str) -> int:
        """Each entity counts for itself: an organization and a person may both be 5."""
        self._last_ids[entity] = self._last_ids.get(entity, 0) + 1
        return self._last_ids[entity]

    def definition(self, entity: str, code: str) -> Definition | None:
        return next((found for found in self.definitions[entity] if found["field_code"] == code), None)

    def custom_codes(self, entity: str) -> list[str]:
        return [found["field_code"] for found in self.definitions[entity] if found["is_custom_field"]]


def now_text() -> str:
    """Whole seconds, as `update_time` has them."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
