"""What somebody wants synced, checked against the flow. Pure.

In: what was asked for, the flow, the time. Out: a `Scope` that can be walked, or BadInput that says what to change.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from ml_connector.common.errors import BadInput
from ml_connector.common.flows import Flow
from ml_connector.common.keys import Entity, is_source_id
from ml_connector.common.sync_job import SyncMode
from ml_connector.common.syncing import MAX_IDS, Purpose

ORDER: Final[tuple[Entity, ...]] = ("organization", "person", "deal")  # parents first
_AGO: Final = re.compile(r"(\d{1,6})([smhdw])\Z")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@dataclass(frozen=True, slots=True)
class Asked:
    """As it came in. `entities` empty: all that the flow maps. `each`: instead of `ids`, by entity. `covers`,
    `mapping`: as of the job."""

    flow: str
    mode: SyncMode
    since: str = ""
    until: str = ""
    entities: tuple[Entity, ...] = ()
    ids: tuple[str, ...] = ()
    token_share: float = 0.5
    force: bool = False
    stop_after: int = 0
    covers: bool = False
    mapping: str = ""
    purpose: Purpose = "sync"
    of: str = ""  # the reconcile whose differences are mended
    each: Mapping[Entity, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Scope:
    """What is walked. Times are ms since the epoch, None: no limit."""

    mode: SyncMode
    entities: tuple[Entity, ...]
    since_ms: int | None = None
    until_ms: int | None = None
    ids: tuple[str, ...] = ()
    each: Mapping[Entity, tuple[str, ...]] = field(default_factory=dict)

    def ids_of(self, entity: Entity) -> tuple[str, ...]:
        return self.each.get(entity, self.ids)


def scope_of(asked: Asked, flow: Flow, now_ms: int) -> Scope:
    """Raises BadInput."""
    entities = _entities(asked.entities, flow)
    _refuse_strangers(asked)
    if asked.each:
        return Scope("ids", entities, each=asked.each)
    if asked.mode == "ids":
        return Scope("ids", entities, ids=_ids(asked.ids, entities))
    if asked.mode == "full":
        return Scope("full", entities)
    since_ms = _moment("since", asked.since, now_ms)
    until_ms = _moment("until", asked.until, now_ms) if asked.until else None
    if since_ms > now_ms:
        raise BadInput(f"since: {rfc3339(since_ms)} is in the future, nothing can have changed after it")
    if until_ms is not None and until_ms <= since_ms:
        raise BadInput(f"until: {rfc3339(until_ms)} is not after since ({rfc3339(since_ms)})")
    return Scope("since", entities, since_ms, until_ms)


def rfc3339(ms: int) -> str:
    """As Pipedrive takes it: whole seconds, rounded down."""
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _entities(wanted: Sequence[Entity], flow: Flow) -> tuple[Entity, ...]:
    mapped = [entity for entity in ORDER if flow.mapping_of(entity) is not None]
    unmapped = [entity for entity in ORDER if entity in wanted and entity not in mapped]
    if unmapped:
        raise BadInput(f"entities: flow {flow.flow} does not map {unmapped[0]}s, only {', '.join(mapped)}")
    return tuple(entity for entity in mapped if not wanted or entity in wanted)


def _refuse_strangers(asked: Asked) -> None:
    """What the mode does not know would be ignored in silence."""
    for name, given, mode in (
        ("since", asked.since, "since"),
        ("until", asked.until, "since"),
        ("ids", asked.ids, "ids"),
    ):
        if given and asked.mode != mode:
            raise BadInput(f"{name}: goes with mode {mode} only, and mode is {asked.mode}")


def _ids(ids: Sequence[str], entities: Sequence[Entity]) -> tuple[str, ...]:
    if len(entities) != 1:
        raise BadInput(f"entities: ids are of one entity; say which of {', '.join(entities)}")
    if not ids:
        raise BadInput("ids: say which")
    wrong = next((number for number, one in enumerate(ids) if not is_source_id(one)), None)
    if wrong is not None:
        raise BadInput(f"ids.{wrong}: not an id: Pipedrive's are positive numbers")
    found = tuple(dict.fromkeys(str(int(one)) for one in ids))
    if len(found) > MAX_IDS:
        raise BadInput(f"ids: {len(found)} are too many, at most {MAX_IDS}: use since or full")
    return found


def _moment(name: str, text: str, now_ms: int) -> int:
    if not text:
        raise BadInput(f"{name}: say from when: 2h, 7d, or 2026-07-28T03:00:00Z")
    ago = _AGO.match(text.strip())
    try:
        if ago:
            ms = now_ms - int(timedelta(**{_UNITS[ago[2]]: int(ago[1])}).total_seconds() * 1000)
        else:
            found = datetime.fromisoformat(text.strip())
            ms = int((found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError) as error:
        raise BadInput(f"{name}: no time: write 30m, 2h, 7d, or 2026-07-28T03:00:00Z") from error
    if ms < 0:
        raise BadInput(f"{name}: before 1970")
    return ms
