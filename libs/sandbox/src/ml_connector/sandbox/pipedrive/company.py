"""One Pipedrive company: its objects, definitions, pipelines, subscriptions, and what it has left of its limits."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from ml_connector.sandbox.clock import Clock
from ml_connector.sandbox.pipedrive.fields import CUSTOM, Definition, definitions
from ml_connector.sandbox.pipedrive.members import MEMBERS, Item

ENTITIES: Final = {"organizations": "organization", "persons": "person", "deals": "deal"}
KEPT: Final = {**ENTITIES, "stages": "stage", "pipelines": "pipeline"}
PIPELINES: Final = {
    "Sales": ("Lead In", "Qualified", "Proposal Made", "Negotiations"),
    "Renewals": ("Upcoming", "In Review", "Signed"),
}


class Terms(BaseModel):
    """A company's plan, and what no document settles about it (docs/unproven.md)."""

    model_config = ConfigDict(extra="forbid")

    plan: Annotated[
        Literal["unlimited", "lite", "growth", "premium", "ultimate"], Field(description="unlimited: no limits at all")
    ] = "unlimited"
    seats: Annotated[int, Field(ge=1, description="each adds to the daily token budget")] = 1
    refresh_token: Annotated[
        Literal["same", "rotated"], Field(description="what a refresh returns; official pages disagree")
    ] = "same"  # noqa: S105  a switch
    api_domain: Annotated[
        Literal["here", "company"], Field(description="what a grant names: this stand-in, or the company's own domain")
    ] = "here"
    retry_after: Annotated[bool, Field(description="a 429 carries Retry-After")] = False
    deleted_in_lists: Annotated[bool, Field(description="`updated_since` lists show deleted objects")] = False
    ban_s: Annotated[float, Field(ge=0, description="how long a webhook is banned after ten failed first attempts")] = (
        30 * 60.0
    )
    cursor_lives_s: Annotated[
        float | None, Field(ge=0, description="after which a cursor of objects is refused; null: never")
    ] = None
    organization_address: Annotated[
        Literal["null", "text", "object"], Field(description="in webhooks; every known example has null")
    ] = "null"
    event_id_per_subscription: Annotated[
        bool, Field(description="one edit has a meta.id of its own for each subscription")
    ] = False
    field_events: Annotated[
        Literal["none", "entityField", "entity_field"], Field(description="events of changed field definitions")
    ] = "none"


@dataclass(slots=True)
class Webhook:
    """One subscription; `action` and `object` are names or `*`. Times in seconds of the stand-in's clock."""

    id: int
    url: str
    action: str
    object: str
    name: str
    created_s: float
    user: str | None = None
    password: str | None = None
    signing_secret: bytes | None = None
    failed_first_attempts: int = 0
    banned_until_s: float = 0.0
    succeeded_s: float = 0.0
    last_delivery_s: float | None = None
    last_status: int | None = None
    removed_s: float | None = None
    lost: int = 0

    def wants(self, action: str, entity: str) -> bool:
        return self.removed_s is None and self.action in {"*", action} and self.object in {"*", entity}


@dataclass(slots=True)
class Usage:
    """What was asked of late: the rolling window of each token, the day's tokens, refusals in a row."""

    windows: dict[str, deque[float]] = field(default_factory=dict)
    day: str = ""
    tokens_today: int = 0
    tokens_spent: int = 0
    refusals: int = 0


@dataclass(slots=True)
class Company:
    """State in memory; items are kept in the REST v2 shape."""

    name: str
    company_id: int
    api_token: str
    clock: Clock
    host: str = ""
    terms: Terms = field(default_factory=Terms)
    items: dict[str, dict[int, Item]] = field(default_factory=lambda: {entity: {} for entity in KEPT.values()})
    definitions: dict[str, list[Definition]] = field(default_factory=dict)
    webhooks: dict[int, Webhook] = field(default_factory=dict)
    merges: dict[tuple[str, int], int] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    _last_ids: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.host = self.host or f"{self.name}.pipedrive.com"
        self.definitions = {entity: definitions(self.name, entity) for entity in CUSTOM}
        for number, (name, stages) in enumerate(PIPELINES.items(), start=1):
            pipeline = self.add("pipeline", {"name": name, "order_nr": number})
            for order, stage in enumerate(stages, start=1):
                self.add("stage", {"name": stage, "pipeline_id": pipeline["id"], "order_nr": order})

    def add(self, entity: str, values: Item) -> Item:
        """A new object. Each entity counts for itself: an organization and a person may both be 5."""
        now = now_text(self.clock)
        item: Item = {
            "id": self.new_id(entity), **copied(MEMBERS[entity]), "add_time": now, "update_time": now,
            "is_deleted": False,
        }  # fmt: skip
        if entity in self.definitions:
            item["custom_fields"] = dict.fromkeys(self.custom_codes(entity))
        item |= values
        self.items[entity][item["id"]] = item
        return item

    def new_id(self, entity: str) -> int:
        self._last_ids[entity] = self._last_ids.get(entity, 0) + 1
        return self._last_ids[entity]

    def living(self, entity: str) -> Iterable[Item]:
        return (item for item in self.items[entity].values() if not item["is_deleted"])

    def definition(self, entity: str, code: str) -> Definition | None:
        return next((found for found in self.definitions[entity] if found["field_code"] == code), None)

    def custom_codes(self, entity: str) -> list[str]:
        return [found["field_code"] for found in self.definitions[entity] if found["is_custom_field"]]


def now_text(clock: Clock) -> str:
    """Whole seconds, as `update_time` has them."""
    return moment(clock.now_s())


def moment(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def copied(item: Item) -> Item:
    """Items are one level of lists and objects deep, whose members are never changed in place."""
    return {name: dict(value) if isinstance(value, dict) else value for name, value in item.items()}


def facts(company: Company) -> dict[str, Any]:
    """What a test may want to know."""
    return {
        "company": company.name,
        "company_id": company.company_id,
        "terms": company.terms.model_dump(),
        "fields": company.definitions,
        "stages": list(company.living("stage")),
        "pipelines": list(company.living("pipeline")),
        "objects": {entity: sum(1 for _ in company.living(entity)) for entity in ENTITIES.values()},
        "tokens_spent": company.usage.tokens_spent,
        "lost": sum(webhook.lost for webhook in company.webhooks.values()),
    }
