"""What the mapping makes of an event now, as the API tells it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from pydantic import BaseModel, Field

from ml_connector.common import wire


class Step(BaseModel):
    """What stands behind a name in an expression. `id` and `name` are Pipedrive's; empty: it has none of that."""

    kind: Annotated[
        Literal["field", "option", "stage", "status"],
        Field(description="a custom field (`id`: its code), an option it holds, a deal's stage, its won or lost"),
    ]
    id: str
    name: str
    type: Annotated[str, Field(description="of a custom field")]


class Source(BaseModel):
    """What a value is made from."""

    expression: Annotated[str, Field(description="or the value itself, as JSON, where the flow gives one")]
    steps: list[Step]


class Previewed(BaseModel):
    """What the mapping makes of an event now."""

    result: Literal["desired", "ignored", "dead_lettered", "unresolved"]
    record_key: str
    action: str | None
    mapping_version: int
    fields: dict[str, Any]
    references: dict[str, dict[str, str]]
    sources: Annotated[dict[str, Source], Field(description="of each field and reference")]
    parent: str | None
    held_back: list[str]
    reason: str


def previewed(found: wire.Preview) -> Previewed:
    return Previewed(
        result=found.result,
        record_key=found.record_key,
        action=found.action,
        mapping_version=found.mapping_version,
        fields=msgspec.to_builtins(found.fields),
        references={name: {"kind": one.kind, "value": one.value} for name, one in found.references.items()},
        sources={name: _source(one) for name, one in found.sources.items()},
        parent=found.parent.record_key if found.parent is not None else None,
        held_back=found.held_back,
        reason=found.reason,
    )


def _source(one: wire.Source) -> Source:
    steps = [Step(kind=step.kind, id=step.id, name=step.name, type=step.type) for step in one.steps]
    return Source(expression=one.expression, steps=steps)
