"""`connector.replies`: what the mapping would make of an event."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from ml_connector.common.codec import Wire
from ml_connector.common.generation import Generation
from ml_connector.common.wire.desired import Parent, Reference
from ml_connector.common.wire.words import Action, Stage


class Step(msgspec.Struct, frozen=True, omit_defaults=True):
    """What stands behind a name in an expression. `id` and `name` are Pipedrive's; empty: it has none of that.

    A custom field (`id`: its code), an option that it holds, the stage of a deal, or `won` and `lost` before it.
    """

    kind: Literal["field", "option", "stage", "status"]
    id: str = ""
    name: str = ""
    type: str = ""


class Source(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a value is made from. An option follows the field that holds it."""

    expression: str  # or the value itself, as JSON, where the flow gives one
    steps: tuple[Step, ...] = ()


class Preview(Wire, frozen=True):
    """What the mapping would make of an event now. In `connector.replies`, key: the id of the request.

    The request is the event itself in `pipedrive.requests`, with `headers.KIND` and `headers.REQUEST_ID`.
    """

    request_id: str
    result: Literal["desired", "ignored", "dead_lettered", "unresolved"]
    record_key: str = ""
    generation: Generation | None = None
    action: Action | None = None
    mapping_version: int = 0
    fields: dict[str, Any] = {}
    references: dict[str, Reference] = {}
    parent: Parent | None = None
    sources: dict[str, Source] = {}  # of fields and references
    held_back: list[str] = []
    stage: Stage | None = None  # of a dead letter
    code: str = ""  # of a dead letter
    reason: str = ""
