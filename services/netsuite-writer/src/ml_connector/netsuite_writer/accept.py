"""Decide what a desired record means, given what is settled and what waits. Pure.

In: a desired state, the observed state of its record. Out: Apply, Superseded or Duplicate.
Writing an older state would undo a newer one; repeating a settled cause would give it a second outcome.
"""

from __future__ import annotations

from dataclasses import dataclass

from ml_connector.common.generation import Generation
from ml_connector.common.wire import Observed, Settled, Superseded

SETTLED_MEMORY_MS = 15 * 60 * 1000  # Pipedrive repeats a delivery for 183 s at most (facts/pipedrive.md section 5)
SETTLED_MEMORY_COUNT = 64  # a record edited more often than this in a quarter of an hour forgets the oldest


@dataclass(frozen=True, slots=True)
class Apply:
    """It is news. `contested`: another cause has the same generation; only a fresh read tells which is newer."""

    contested: bool = False


@dataclass(frozen=True, slots=True)
class Duplicate:
    """This cause has its outcome already."""


Acceptance = Apply | Superseded | Duplicate


def judge(generation: Generation, cause: str, observed: Observed | None) -> Acceptance:
    """What a desired state means for a record, given its newest settled one."""
    if observed is None:
        return Apply()
    if cause == observed.cause or any(settled.cause == cause for settled in observed.settled):
        return Duplicate()
    if generation < observed.generation:
        return Superseded(observed.generation, observed.cause)
    return Apply(contested=generation == observed.generation)


def remember(observed: Observed | None, cause: str, *, now_ms: int) -> tuple[Settled, ...]:
    """The settled causes of a record after one more."""
    known = observed.settled if observed is not None else ()
    recent = [settled for settled in known if settled.at_ms > now_ms - SETTLED_MEMORY_MS and settled.cause != cause]
    return (*recent[-(SETTLED_MEMORY_COUNT - 1) :], Settled(cause, now_ms))
