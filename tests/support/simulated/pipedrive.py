"""Pipedrive and the resolver, as far as the writer meets them: objects that change, events about them, re-reads.

Events may come late, twice and out of order; a re-read always has the newest state, under a generation that is a bit
too low (DESIGN section 3).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from ml_connector.common.cause import of_hydrate
from ml_connector.common.generation import Generation, of_replay, of_rest_read
from ml_connector.common.keys import Entity
from ml_connector.common.wire import Desired, Hydrate, Lane, Reference
from support.desired import child, desired

What = Literal["edit", "touch", "delete", "bad", "merge"]
NAMES: dict[Entity, str] = {"organization": "Organization", "person": "Person", "deal": "Deal"}
READ_TOOK_MS = 120
OPEN_STATUS, LOST_STATUS = "8", "14"
UNKNOWN_CURRENCY = "XXX"
_SUBSIDIARY = {"subsidiary": Reference("subsidiary", "2")}


@dataclass(slots=True)
class Object:
    """`label` changes with the content, and is shown in the name; `bad`: NetSuite will not take it."""

    entity: Entity
    source_id: str
    parent: str | None
    label: int = 0
    deleted: bool = False
    bad: bool = False
    merged_to: str | None = None
    last: Desired | None = None  # the newest event about it


@dataclass(slots=True)
class SimulatedPipedrive:
    """`emit`: takes what the resolver makes of it."""

    emit: Callable[[Desired], None]
    now_ms: Callable[[], int]
    objects: dict[tuple[Entity, str], Object] = field(default_factory=dict)
    states: list[Desired] = field(default_factory=list)  # all that were made, emitted or yet to be
    held_back: list[Desired] = field(default_factory=list)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def add(self, entity: Entity, source_id: str, parent: str | None = None) -> None:
        self.objects[entity, source_id] = Object(entity, source_id, parent)

    def change(self, entity: Entity, source_id: str, what: What) -> list[Desired]:
        """The events of one change."""
        it = self.objects[entity, source_id]
        if what == "merge" and (into := self._other_organization(it)) is not None:
            return self._merge(it, into)
        if what in {"merge", "delete"}:
            it.deleted = True
        elif what in {"edit", "bad"} or it.deleted:
            it.label += 1
            it.deleted, it.bad, it.merged_to = False, what == "bad", None
        return [self._event(it)]

    def replay(self, entity: Entity, source_id: str) -> Desired | None:
        """The newest event once more, as a new cause."""
        last = self.objects[entity, source_id].last
        if last is None:
            return None
        revised = of_replay(last.generation, now_ms=self.now_ms())
        made = msgspec.structs.replace(
            last, cause=f"rpl:1:{next(self._numbers)}", generation=revised, lane="replay", replay_of=last.cause
        )
        self.objects[entity, source_id].last = made
        return self._made(made)

    def sync(self, entity: Entity, source_id: str) -> Desired:
        """The object as a walk over all of them reads it."""
        it = self.objects[entity, source_id]
        return self._made(self._state(it, f"syn:1:{next(self._numbers)}", self._read_now(), "backfill", read=True))

    def answer(self, hydrate: Hydrate) -> Desired:
        it = self.objects[hydrate.entity, hydrate.source_id]
        cause = of_hydrate(hydrate.request_id)
        state = self._state(it, cause, self._read_now(), hydrate.lane, read=True)
        return self._made(msgspec.structs.replace(state, force=hydrate.force))

    def _merge(self, loser: Object, into: Object) -> list[Desired]:
        loser.deleted, loser.merged_to = True, into.source_id
        events = [self._event(loser)]
        for it in self.objects.values():
            if it.parent == loser.source_id and it is not loser:
                it.parent = into.source_id
                it.label += not it.deleted
                events.append(self._event(it))
        return events

    def _other_organization(self, it: Object) -> Object | None:
        if it.entity != "organization" or it.deleted:
            return None
        others = [other for other in self.objects.values() if other.entity == "organization" and other is not it]
        return next((other for other in others if not other.deleted), None)

    def _event(self, it: Object) -> Desired:
        cause = f"wh:{next(self._numbers)}"
        it.last = self._state(it, cause, Generation(self.now_ms()), "live", read=False)
        return self._made(it.last)

    def _made(self, state: Desired) -> Desired:
        self.states.append(state)
        return state

    def _read_now(self) -> Generation:
        return of_rest_read(date_ms=self.now_ms() // 1000 * 1000, took_ms=READ_TOOK_MS)

    def _state(self, it: Object, cause: str, generation: Generation, lane: Lane, *, read: bool) -> Desired:
        facts: dict[str, Any] = {"cause": cause, "generation": generation, "lane": lane}
        if it.deleted:
            gone = "merged" if it.merged_to is not None else "gone"
            facts |= {"action": gone if read else "inactivate", "merged_to": it.merged_to, "fields": {}}
        else:
            facts |= {"fields": _fields(it), "references": _references(it)}
        if it.parent is None or it.deleted:
            return desired(it.entity, it.source_id, **facts)
        return child(it.entity, it.source_id, of=it.parent, **facts)


def _fields(it: Object) -> dict[str, Any]:
    name = f"{NAMES[it.entity]} {it.source_id} v{it.label}"
    email = {"email": "nobody"} if it.bad else {}
    match it.entity:
        case "organization":
            return {"companyName": name, **email}
        case "person":
            return {"firstName": "A", "lastName": name, **email}
    return {"title": name}


def _references(it: Object) -> dict[str, Reference]:
    if it.entity == "deal":
        currency = Reference("currency", UNKNOWN_CURRENCY if it.bad else "EUR")
        return {"currency": currency, "entityStatus": Reference("status", OPEN_STATUS)}
    return dict(_SUBSIDIARY)
