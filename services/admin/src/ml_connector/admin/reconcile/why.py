"""Say why a record is not as it should be: what the writer saw, with what is known here of its past. Pure.

In: what was found, the writer's causes, facts of the tables. Out: causes, the likeliest first, each certain or only
probable. Certain means: it follows from what NetSuite, Pipedrive and the audit say, whatever else may have happened.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from ml_connector.admin.fold.compared import UNMAPPED
from ml_connector.common.comparing import Cause, Difference

WhyKind = Literal[
    "waiting",
    "dead_letter",
    "missed_event",
    "edited_in_netsuite",
    "deleted_in_netsuite",
    "filled_by_netsuite",
    "mapping_changed",
    "reference_changed",
    "never_written",
    "not_ours",
    "unmapped",
]

TEXTS: Final[dict[WhyKind, str]] = {
    "waiting": "a change of it is still on its way",
    "dead_letter": "its newest state could not be written and is a dead letter",
    "missed_event": "Pipedrive has changed it, and no event of that change ever came",
    "edited_in_netsuite": "it was changed in NetSuite after it was last written",
    "deleted_in_netsuite": "it was written, and NetSuite does not hold it any more",
    "filled_by_netsuite": "empty in Pipedrive, so NetSuite or somebody there has filled it",
    "mapping_changed": "the flow's mapping has changed since it was last written",
    "reference_changed": "neither it nor the mapping has changed: a definition, a label, its customer or a look-up has",
    "never_written": "its events came, and none of them led to a record",
    "not_ours": "the connector never wrote it: somebody made it, with an external id as ours are",
    "unmapped": "it does not fit the flow's mapping",
}


class Why(NamedTuple):
    kind: WhyKind
    certain: bool


@dataclass(frozen=True, slots=True)
class Facts:
    """Of one record. `seen`: anything of its object ever came. `known_ms`: as of when its newest known state is
    (`source_version`), 0: none is. `remapped`: whether the mapping has changed since that; None: nobody knows."""

    waits: bool = False
    letter_id: str = ""  # of an open dead letter: its newest state
    seen: bool = False
    known_ms: int = 0
    remapped: bool | None = None


def why(found: str, difference: Difference, facts: Facts) -> tuple[Why, ...]:
    causes = difference.causes
    if found == "waiting" or (facts.waits and found not in {"extra", "unknown"}):
        return (Why("waiting", True),)
    if found == "extra":
        return _of_an_extra(causes)
    letter = (Why("dead_letter", True),) if facts.letter_id else ()
    if found == UNMAPPED:
        return (Why("unmapped", True), *letter)
    if found == "unknown":
        return letter
    if letter:
        return (*letter, *_in_netsuite(causes))
    if "never_written" in causes:
        return (Why("never_written", False),) if facts.seen else (Why("missed_event", True),)
    return (*_in_netsuite(causes), *(_not_sent(difference, facts) if "not_sent" in causes else ()))


def _of_an_extra(causes: Sequence[Cause]) -> tuple[Why, ...]:
    """That Pipedrive does not list an object means only probably that it was deleted."""
    return (Why("missed_event" if "not_deleted" in causes else "not_ours", False),)


def _in_netsuite(causes: Sequence[Cause]) -> tuple[Why, ...]:
    """An edit beside something that was not sent need not be what made the difference."""
    found = []
    if "deleted" in causes:
        found.append(Why("deleted_in_netsuite", True))
    if "edited" in causes:
        found.append(Why("edited_in_netsuite", "not_sent" not in causes))
    if "filled" in causes:
        found.append(Why("filled_by_netsuite", False))
    return tuple(found)


def _not_sent(difference: Difference, facts: Facts) -> tuple[Why, ...]:
    """What would be sent is other than what was last sent."""
    if difference.updated_ms > facts.known_ms > 0:
        return (Why("missed_event", True),)
    unchanged = difference.updated_ms > 0 and facts.known_ms > 0
    if facts.remapped:
        changed = Why("mapping_changed", unchanged)
        return (changed,) if unchanged else (changed, Why("missed_event", False))
    if unchanged:
        return (Why("reference_changed", facts.remapped is False),)
    return (Why("missed_event", False),)
