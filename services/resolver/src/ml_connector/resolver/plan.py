"""A flow's mapping, compiled once per version: which fields, from which expressions, with which custom fields. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from ml_connector.common.expressions import Expression, PlainPath, Scope, compile_expression
from ml_connector.common.flows import EntityMapping, Flow
from ml_connector.common.keys import Entity, RecordType
from ml_connector.resolver.body_fields import Convert, converter, takes_texts

UNAPPLIED: Final = 0  # the version of a document that somebody only asks about
STAGE_STATUS: Final = "stage_status"
PARENT: Final = "parent"
SUBSIDIARY: Final = "subsidiary"

_META: Final = re.compile(r"\bmeta\b")
_STAGE_ID: Final = re.compile(r"[0-9]+\Z")


@dataclass(frozen=True, slots=True)
class Constant:
    """A value that the flow gives as it is."""

    source: str
    value: Any

    def members(self, root: str) -> frozenset[str]:
        """It names none."""
        return frozenset()

    def evaluate(self, scope: Scope) -> Any:
        return self.value if scope else None


@dataclass(frozen=True, slots=True)
class FieldPlan:
    """One body field: where its value comes from and what it has to be."""

    name: str
    expression: Expression
    convert: Convert
    required: bool
    custom: frozenset[str]
    # What most fields are, so that the general way is not gone for them:
    data_member: str | None  # the expression is this member of `data`
    custom_member: str | None  # or of `custom`
    takes_texts: bool  # a text that is not empty stays as it is


@dataclass(frozen=True, slots=True)
class EntityPlan:
    """How objects of one entity become records."""

    entity: Entity
    record_type: RecordType
    fields: tuple[FieldPlan, ...]
    parent: Expression | None
    on_delete: str
    custom: frozenset[str]  # readable names (or codes) that any expression names
    names_meta: bool
    stage_status: bool  # some expression wants it
    stage_names: bool  # and the flow names stages by "<pipeline>/<stage>"


@dataclass(frozen=True, slots=True)
class FlowPlan:
    """A flow that is ready to map."""

    flow: Flow
    company: str
    account: str
    version: int
    entities: dict[str, EntityPlan]
    names_meta: bool  # some expression wants to know more of an event than its object

    @property
    def applied(self) -> bool:
        return self.version != UNAPPLIED


def compile_flow(flow: Flow, version: int) -> FlowPlan:
    """The flow was validated when it was applied: every expression compiles."""
    by_name = any(not _STAGE_ID.match(stage) for stage in flow.stages)
    entities = {str(entity): _entity(flow, entity, mapping, by_name) for entity, mapping in flow.entities.items()}
    names_meta = any(plan.names_meta for plan in entities.values())
    return FlowPlan(flow, flow.pipedrive.company, flow.netsuite.account, version, entities, names_meta)


def _entity(flow: Flow, entity: Entity, mapping: EntityMapping, stages_by_name: bool) -> EntityPlan:
    given = dict(mapping.fields)
    if mapping.record in {"customer", "contact"} and flow.defaults.subsidiary is not None:
        given.setdefault(SUBSIDIARY, flow.defaults.subsidiary)
    fields = tuple(_field(name, value, name in mapping.required) for name, value in given.items())
    expressions = [field.expression for field in fields]
    parent = None
    if mapping.record != "customer":
        parent = _expression("data.org_id" if mapping.parent is None else mapping.parent)
        expressions.append(parent)
    stage_status = any(STAGE_STATUS in expression.source for expression in expressions)
    return EntityPlan(
        entity=entity,
        record_type=mapping.record,
        fields=fields,
        parent=parent,
        on_delete=mapping.on_delete,
        custom=frozenset().union(*(expression.members("custom") for expression in expressions)),
        names_meta=any(_META.search(expression.source) for expression in expressions),
        stage_status=stage_status,
        stage_names=stage_status and stages_by_name,
    )


def _field(name: str, value: Any, required: bool) -> FieldPlan:
    expression = _expression(value)
    convert = converter(name)
    return FieldPlan(
        name,
        expression,
        convert,
        required,
        expression.members("custom"),
        data_member=_member(expression, "data"),
        custom_member=_member(expression, "custom"),
        takes_texts=takes_texts(convert),
    )


def _member(expression: Expression, root: str) -> str | None:
    if isinstance(expression, PlainPath) and expression.root == root and len(expression.steps) == 1:
        return expression.steps[0]
    return None


def _expression(value: Any) -> Expression:
    return compile_expression(value) if isinstance(value, str) else Constant(repr(value), value)
