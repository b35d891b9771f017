"""Decide whether a child may be written, from what is known of its parent (DESIGN section 4). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ml_connector.common.keys import RecordType
from ml_connector.common.wire import Observed, Parent

# The body field that names the customer. An opportunity cannot be without; a contact can.
PARENT_FIELD: dict[RecordType, str] = {"contact": "company", "opportunity": "entity"}
_NEEDS_PARENT: frozenset[RecordType] = frozenset({"opportunity"})


@dataclass(frozen=True, slots=True)
class Go:
    """Write it now, under this customer (None: without one)."""

    internal_id: str | None = None


@dataclass(frozen=True, slots=True)
class WaitForParent:
    """The parent is on its way, or is a dead letter that a person has to settle."""


@dataclass(frozen=True, slots=True)
class HydrateParent:
    """Nobody has seen the parent: ask Pipedrive for it, once."""


@dataclass(frozen=True, slots=True)
class HydrateChild:
    """The parent was merged into another: ask Pipedrive whose child this is now."""


@dataclass(frozen=True, slots=True)
class Orphan:
    """There will be no parent, and the flow names no default customer."""

    reason: str


Decision = Go | WaitForParent | HydrateParent | HydrateChild | Orphan


class Child(Protocol):
    """A desired state is one."""

    @property
    def record_type(self) -> RecordType: ...

    @property
    def parent(self) -> Parent | None: ...

    @property
    def default_parent(self) -> str | None: ...


def decide(child: Child, parent: Observed | None, *, parent_waits: bool) -> Decision:
    """`parent_waits`: a state of the parent waits or is being written."""
    if child.parent is None:
        return Go() if child.record_type not in _NEEDS_PARENT else _default(child, "it has no organization")
    if parent is None:
        return WaitForParent() if parent_waits else HydrateParent()
    if parent.merged_to is not None:
        return HydrateChild()
    if parent.internal_id is not None:
        return Go(parent.internal_id)
    if parent_waits or parent.outcome == "dead_lettered":
        return WaitForParent()
    return _default(child, f"its organization is {parent.action}")


def _default(child: Child, reason: str) -> Go | Orphan:
    if child.default_parent is not None:
        return Go(child.default_parent)
    if child.record_type not in _NEEDS_PARENT:
        return Go()
    return Orphan(f"{reason}, and the flow names no default customer (defaults.customer)")
