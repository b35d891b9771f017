"""Map one event to what its NetSuite record shall be: fields, references, parent, or an action. Pure.

In: a compiled flow, an event, what is known of its company. Out: `Mapped`, or `MappingFailed` that names the field,
the expression and the value's type. Never: a value in an error, I/O, the clock.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ml_connector.common.errors import MappingFailed
from ml_connector.common.expressions import Scope, Unfit, field_failed
from ml_connector.common.keys import external_id, is_source_id, record_key
from ml_connector.common.wire import Action, Parent, Reference
from ml_connector.resolver.body_fields import type_name
from ml_connector.resolver.decode import Event
from ml_connector.resolver.plan import PARENT, STAGE_STATUS, EntityPlan, FlowPlan
from ml_connector.resolver.resolve import Knowledge, Readable


class UnmappedStage(MappingFailed):
    """The flow gives the stage of a deal no NetSuite status."""


class Mapped(msgspec.Struct, frozen=True):
    """What a Desired says beyond whence it comes."""

    action: Action
    fields: dict[str, Any] = {}
    references: dict[str, Reference] = {}
    parent: Parent | None = None
    default_parent: str | None = None
    merged_to: str | None = None
    held_back: list[str] = []


def map_event(plan: FlowPlan, entity: EntityPlan, event: Event, known: Knowledge, found: Readable) -> Mapped:
    """Raises MappingFailed."""
    if event.action == "delete":
        return Mapped("inactivate" if entity.on_delete == "inactivate" else "ignore", merged_to=event.merged_to)
    scope = Scope(event.data, found.values, event.meta, _stage_status(plan, entity, event, known))
    absent = found.absent
    fields, references = _fields(entity, scope, absent)
    return Mapped(
        "upsert",
        fields=fields,
        references=references,
        parent=_parent(plan, entity, scope, absent),
        default_parent=plan.flow.defaults.customer if entity.parent is not None else None,
        held_back=found.held_back,
    )


def external_id_of(plan: FlowPlan, entity: EntityPlan, source_id: str) -> str:
    return external_id(plan.flow.external_ids, entity.entity, source_id)


def record_key_of(plan: FlowPlan, entity: EntityPlan, source_id: str) -> str:
    return record_key(plan.account, entity.record_type, external_id_of(plan, entity, source_id))


def _fields(entity: EntityPlan, scope: Scope, absent: frozenset[str]) -> tuple[dict[str, Any], dict[str, Reference]]:
    """What has no value is None, which clears it on a change; what is held back is left as it is."""
    fields: dict[str, Any] = {}
    references: dict[str, Reference] = {}
    data, custom = scope.data, scope.custom
    for plan in entity.fields:
        if absent and plan.custom & absent and not plan.required:
            continue
        try:
            if plan.data_member is not None:
                value = data.get(plan.data_member)
            elif plan.custom_member is not None:
                value = custom.get(plan.custom_member)
            else:
                value = plan.expression.evaluate(scope)
            if type(value) is str and value and plan.takes_texts:
                fields[plan.name] = value
                continue
            value = plan.convert(value)
        except Unfit as error:
            raise field_failed(plan.name, plan.expression, error) from error
        if value is None and plan.required:
            raise field_failed(plan.name, plan.expression, "required, but empty")
        if type(value) is Reference:
            references[plan.name] = value
        else:
            fields[plan.name] = value
    return fields, references


def _parent(plan: FlowPlan, entity: EntityPlan, scope: Scope, absent: frozenset[str]) -> Parent | None:
    """The customer of the organization that the object belongs to."""
    expression = entity.parent
    if expression is None:
        return None
    if absent and expression.members("custom") & absent:
        raise field_failed(PARENT, expression, "names a custom field that Pipedrive does not define")
    try:
        value = expression.evaluate(scope)
    except Unfit as error:
        raise field_failed(PARENT, expression, error) from error
    if value is None:
        return None
    source_id = str(value)
    if isinstance(value, bool) or not isinstance(value, int | str) or not is_source_id(source_id):
        raise field_failed(PARENT, expression, f"the id of an organization is needed, not a {type_name(value)}")
    key = record_key(plan.account, "customer", external_id(plan.flow.external_ids, "organization", source_id))
    return Parent(key, "organization", source_id)


def _stage_status(plan: FlowPlan, entity: EntityPlan, event: Event, known: Knowledge) -> str | None:
    """The NetSuite status of a deal: by won or lost first, then by its stage."""
    if not entity.stage_status:
        return None
    status, stage_id = event.data.get("status"), event.data.get("stage_id")
    by_status: dict[Any, str] = dict(plan.flow.statuses)
    if isinstance(status, str) and status in by_status:
        return by_status[status]
    if stage_id is None:
        return None
    name = known.stages.name(str(stage_id)) if known.stages is not None else None
    found = plan.flow.stages.get(str(stage_id)) or plan.flow.stages.get(name or "")
    if found is None:
        raise UnmappedStage(field=STAGE_STATUS, expression="stages", problem=_unmapped_stage(stage_id, name))
    return found


def _unmapped_stage(stage_id: Any, name: str | None) -> str:
    """Stages are the company's own settings, not customer data: they may be named."""
    called = f" ({name!r})" if name is not None else ""
    return f"stage {str(stage_id)[:20]}{called} has no NetSuite status in the flow's stages"
