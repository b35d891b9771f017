"""Tell what each value of a record is made from: the expression, and what stands behind the names in it. Pure.

In: the compiled mapping, an event, what is known of its company. Out: one `Source` a field. For people only; the
mapping itself is `map.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ml_connector.common.codec import encode_json
from ml_connector.common.expressions import Expression
from ml_connector.common.wire import Source, Step
from ml_connector.resolver.decode import Event
from ml_connector.resolver.definitions import Definitions
from ml_connector.resolver.plan import STAGE_STATUS, SUBSIDIARY, EntityPlan, FlowPlan
from ml_connector.resolver.resolve import Knowledge


def sources_of(plan: FlowPlan, entity: EntityPlan, event: Event, known: Knowledge) -> dict[str, Source]:
    """By body field."""
    definitions = known.definitions.get(event.entity)
    found = {}
    for field in entity.fields:
        steps = list(_custom(field.expression, event, definitions))
        if STAGE_STATUS in field.expression.source:
            steps += _stage(plan, event, known)
        found[field.name] = Source(_told(plan, entity, field.name), tuple(steps))
    return found


def _told(plan: FlowPlan, entity: EntityPlan, name: str) -> str:
    """As the flow has it: a text is an expression, anything else the value itself."""
    mapped = plan.flow.entities[entity.entity].fields
    if name in mapped:
        return _as_text(mapped[name])
    return f"defaults.{SUBSIDIARY}: {_as_text(plan.flow.defaults.subsidiary)}"


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else encode_json(value).decode()


def _custom(expression: Expression, event: Event, definitions: Definitions | None) -> Iterator[Step]:
    """Each custom field that is named, and the options that it holds."""
    for name in sorted(expression.members("custom")):
        field = definitions.find(name) if definitions is not None else None
        if field is None:
            yield Step("field", name=name)
            continue
        yield Step("field", id=field.code, name=field.name, type=field.kind)
        for option, label in field.chosen(event.custom.get(field.code)):
            yield Step("option", id=option, name=label)


def _stage(plan: FlowPlan, event: Event, known: Knowledge) -> list[Step]:
    """As the NetSuite status is found: by won or lost first, then by the stage."""
    status, stage = event.data.get("status"), event.data.get("stage_id")
    if status in set(plan.flow.statuses):
        return [Step("status", id=status)]
    if stage is None:
        return []
    return [Step("stage", id=str(stage), name=(known.stages and known.stages.name(str(stage))) or "")]
