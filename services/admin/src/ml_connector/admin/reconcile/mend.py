"""Which records of a report a sync can mend, and what has to be done about the others. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Literal

from ml_connector.admin.fold.compared import UNMAPPED
from ml_connector.admin.reconcile.report import Line
from ml_connector.common.errors import BadInput
from ml_connector.common.keys import Entity
from ml_connector.common.syncing import MAX_IDS

Not = Literal["extra", "dead_letter", "unmapped", "unknown", "waiting"]

# Why a sync would not help, and what does.
HELPS: Final[dict[Not, str]] = {
    "extra": "look at each in NetSuite; one whose object was deleted in Pipedrive is inactivated by a sync of its id",
    "dead_letter": "mend what is wrong, then replay: mlc dlq groups --flow FLOW",
    "unmapped": "correct the object in Pipedrive, or the flow's mapping",
    "unknown": "the reason stands beside each",
    "waiting": "nothing: it is on its way",
}
_MENDED: Final = frozenset({"missing", "different", "inactive", "active"})


@dataclass(frozen=True, slots=True)
class Mending:
    """`ids`: to be synced by force. `left`: why others are not, and how many."""

    ids: dict[Entity, tuple[str, ...]] = field(default_factory=dict)
    left: dict[Not, int] = field(default_factory=dict)


def mending_of(lines: Iterable[Line]) -> Mending:
    """Raises BadInput for more than one walk takes."""
    ids: dict[Entity, list[str]] = defaultdict(list)
    left: Counter[Not] = Counter()
    for line in lines:
        reason = _not(line)
        if reason is None:
            ids[line.entity].append(line.difference.source_id)
            if len(ids[line.entity]) > MAX_IDS:
                raise BadInput(
                    f"more than {MAX_IDS} {line.entity}s differ, and so many are mended by their ids: "
                    f"run a full sync with force instead (mlc sync FLOW --full --force --entity {line.entity})"
                )
        else:
            left[reason] += 1
    return Mending({entity: tuple(some) for entity, some in ids.items()}, dict(left))


def _not(line: Line) -> Not | None:
    kinds = {one.kind for one in line.whys}
    if line.found == UNMAPPED:
        return "unmapped"
    if line.found == "extra":
        return "extra"
    if "waiting" in kinds:
        return "waiting"
    if "dead_letter" in kinds:
        return "dead_letter"
    return None if line.found in _MENDED else "unknown"
