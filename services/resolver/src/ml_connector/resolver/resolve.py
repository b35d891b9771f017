"""What is known of each company, and what an event needs to know before it can be mapped. Pure.

A custom field is held back only under definitions that were read after the event arrived; older ones are read again
first (DESIGN section 4). Never: I/O, the clock; `refresh.py` reads what is lacking.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from ml_connector.common.errors import ConnectorError
from ml_connector.common.wire import StoredBudget, StoredDefinitions, StoredStages
from ml_connector.resolver.decode import MAPPED, Event
from ml_connector.resolver.definitions import Definitions, Stages, UnknownOption
from ml_connector.resolver.pipedrive.budget import Budget
from ml_connector.resolver.plan import EntityPlan

STAGES: Final = "stages"
BUDGET: Final = "budget"

# A name that Pipedrive does not have is a mistake in the flow; asking again costs 10 tokens of 30,000 a day.
ABSENT_NAME_REREAD_MS: Final = 15 * 60 * 1000
# What is held back is told to people: that many names, each that long.
MAX_NAMED: Final = 100
MAX_NAME_CHARS: Final = 100
NONE: Final[frozenset[str]] = frozenset()


@dataclass(slots=True)
class Knowledge:
    """The definitions and stages of one company, as last read."""

    definitions: dict[str, Definitions] = field(default_factory=dict)
    stages: Stages | None = None


class Book:
    """What this process knows of the companies it owns, restored from `pipedrive.state` when first asked for."""

    def __init__(self, stored: Callable[[str], bytes | None]) -> None:
        """`stored`: the newest value of a key of `pipedrive.state`."""
        self._stored = stored
        self._companies: dict[str, Knowledge] = {}

    def of(self, company: str) -> Knowledge:
        known = self._companies.get(company)
        if known is None:
            known = self._companies[company] = self._restore(company)
        return known

    def budget(self, company: str) -> Budget:
        """What was spent of the company's API tokens, as far as it was kept."""
        found = _read(StoredBudget, self._stored(state_key(company, BUDGET)))
        return Budget(None if found is None else found.spent)

    def put(self, read: StoredDefinitions | StoredStages) -> None:
        """Take over what was just read."""
        known = self.of(read.company)
        if isinstance(read, StoredStages):
            known.stages = Stages(read)
        else:
            known.definitions[read.entity] = Definitions(read)

    def drop(self, company: str, what: str) -> None:
        """It has changed in Pipedrive."""
        known = self.of(company)
        if what == STAGES:
            known.stages = None
        else:
            known.definitions.pop(what, None)

    def forget(self, owned: Callable[[str], bool]) -> None:
        """Another process may know better by now: keep only the companies that are `owned`."""
        self._companies = {company: known for company, known in self._companies.items() if owned(company)}

    def _restore(self, company: str) -> Knowledge:
        known = Knowledge()
        for entity in MAPPED:
            found = _read(StoredDefinitions, self._stored(state_key(company, entity)))
            if found is not None:
                known.definitions[entity] = Definitions(found)
        stages = _read(StoredStages, self._stored(state_key(company, STAGES)))
        known.stages = None if stages is None else Stages(stages)
        return known


def state_key(company: str, what: str) -> str:
    """In `pipedrive.state`; `what` is an entity, `stages` or `budget`."""
    return f"{company}/{what}" if what in {STAGES, BUDGET} else f"{company}/definitions/{what}"


class Readable(msgspec.Struct, frozen=True):
    """The custom fields that the mapping names, and what nobody can name yet."""

    values: dict[str, Any]
    undefined: list[str] = []  # names of the mapping that no definition has
    unreadable: list[str] = []  # names of the mapping whose option no definition has
    unknown: list[str] = []  # codes of the object that no definition has

    @property
    def absent(self) -> frozenset[str]:
        """Names of the mapping without a value that could be read."""
        return frozenset((*self.undefined, *self.unreadable)) if self.undefined or self.unreadable else NONE

    @property
    def held_back(self) -> list[str]:
        """For people: what could not be written, or may have been wanted."""
        if not (self.undefined or self.unreadable or self.unknown):
            return []
        names = sorted({*self.undefined, *self.unreadable, *self.unknown})
        return [name[:MAX_NAME_CHARS] for name in names[:MAX_NAMED]]


def readable(plan: EntityPlan, event: Event, known: Knowledge) -> Readable:
    """Custom values by the names that the mapping uses."""
    definitions = known.definitions.get(event.entity)
    if not plan.custom or definitions is None:
        return Readable({}, undefined=sorted(plan.custom))
    custom = event.custom
    values: dict[str, Any] = {}
    unreadable = []
    bound = definitions.bound(plan.custom)
    for name, code, read, options in bound.fields:
        raw = custom.get(code)
        try:
            values[name] = None if raw is None else read(raw, options)
        except UnknownOption:
            unreadable.append(name)
    return Readable(values, bound.undefined, unreadable, definitions.unknown(custom))


def lacking(
    plan: EntityPlan, event: Event, known: Knowledge, found: Readable, *, arrived_at_ms: int, now_ms: int
) -> tuple[str, ...]:
    """What must be read from Pipedrive before this event can be mapped: entities, or `stages`."""
    if event.action == "delete":
        return ()
    needed = []
    if plan.custom:
        definitions = known.definitions.get(event.entity)
        if definitions is None or _definitions_lack(
            definitions,
            found,
            arrived_at_ms=arrived_at_ms,
            now_ms=now_ms,
            replayed=event.generation.revision > 0,
        ):
            needed.append(event.entity)
    if plan.stage_names and _stages_lack(event, known.stages, arrived_at_ms):
        needed.append(STAGES)
    return tuple(needed)


def _definitions_lack(
    definitions: Definitions, found: Readable, *, arrived_at_ms: int, now_ms: int, replayed: bool
) -> bool:
    """Whoever replays may just have given a field the name that the mapping expects: that is asked for at once."""
    if definitions.read_at_ms > arrived_at_ms:
        return False
    if found.unknown or found.unreadable:
        return True
    return bool(found.undefined) and (replayed or now_ms - definitions.read_at_ms > ABSENT_NAME_REREAD_MS)


def _stages_lack(event: Event, stages: Stages | None, arrived_at_ms: int) -> bool:
    stage_id = event.data.get("stage_id")
    if event.entity != "deal" or stage_id is None:
        return False
    if stages is None:
        return True
    return stages.read_at_ms <= arrived_at_ms and stages.name(str(stage_id)) is None


def _read(kind: type[Any], value: bytes | None) -> Any:
    """None for what another release wrote: it is only a cache."""
    if value is None:
        return None
    try:
        return kind.decode(value)
    except ConnectorError:
        return None
