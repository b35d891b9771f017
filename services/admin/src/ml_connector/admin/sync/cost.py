"""What a sync will cost before it starts, and how long it will take. Pure.

In: what is walked, the flow, what is known of each entity's records. Out: a `Plan` that says what each number rests on.
Pipedrive tells nobody how many objects there are: without ids the numbers are for the records that are known here, and
get better only while the walk goes on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from ml_connector.admin.sync.ask import Scope
from ml_connector.common.comparing import MOST_RECORDS
from ml_connector.common.errors import BadInput
from ml_connector.common.flows import Flow
from ml_connector.common.keys import Entity
from ml_connector.common.syncing import LIST_TOKENS, OBJECT_TOKENS, PAGE_IDS, PAGE_OBJECTS, Purpose

DAY_S: Final = 86_400
PAGE_S: Final = 1.0  # assumed: a page is read, mapped and acknowledged before the next one
BURST_S: Final = 2.0  # the window of a flow's `burst`
TURNAROUND_S: Final = 1.0  # assumed where nothing was written yet; Oracle publishes no figure
QUERY_S: Final = 1.0  # assumed: one query of a comparison, of which one runs at a time
CENSUS_ROWS: Final = 1000  # of a query for whatever NetSuite holds
ASSUMED_SLOTS: Final = 5  # of `concurrency: auto`, as the writer assumes until NetSuite has said it

Bound = Literal["at_least", "at_most"]


@dataclass(frozen=True, slots=True)
class Known:
    """Of one entity: records of the scope that NetSuite is known to hold; how many of them were written, and fit.

    `seen`: objects that the flow's last full sync read. `took_ms`: how long a write of such a record takes, measured
    over `samples`; None: never seen.
    """

    records: int = 0
    written: int = 0
    seen: int = 0
    took_ms: float | None = None
    samples: int = 0


@dataclass(frozen=True, slots=True)
class EntityCost:
    """`bound`: what the numbers of objects, calls and tokens are. NetSuite's are of these objects."""

    entity: Entity
    objects: int
    bound: Bound
    calls: int
    tokens: int
    netsuite_requests: int  # at most: all have changed
    unchanged: int  # of them, how many NetSuite held when they were last written: no request while that is so
    netsuite_s: float
    netsuite_s_at_most: float


@dataclass(frozen=True, slots=True)
class Plan:
    """`seconds`: reading and writing go on at once, the slower one counts."""

    entities: tuple[EntityCost, ...]
    tokens_a_day: int  # that syncs may spend, together with all else that was spent
    seconds: float
    seconds_at_most: float
    rests_on: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    @property
    def tokens(self) -> int:
        return sum(one.tokens for one in self.entities)


@dataclass(frozen=True, slots=True)
class Terms:
    """How it shall go, and what stands in its way now (`stops`: in words)."""

    token_share: float = 0.5
    purpose: Purpose = "sync"
    force: bool = False
    paused: bool = False
    stops: Sequence[str] = field(default_factory=tuple)


def plan_of(scope: Scope, flow: Flow, known: Mapping[Entity, Known], terms: Terms) -> Plan:
    """Raises BadInput when the budget does not even pay for a page."""
    a_day = int(flow.pipedrive.limits.daily_spendable * terms.token_share)
    _refuse_poverty(scope, a_day)
    costs = tuple(_cost(entity, scope, flow, known.get(entity, Known()), terms) for entity in scope.entities)
    tokens = sum(one.tokens for one in costs)
    reading_s = _reading_s(sum(one.calls for one in costs), flow, tokens, a_day)
    return Plan(
        entities=costs,
        tokens_a_day=a_day,
        seconds=max(reading_s, sum(one.netsuite_s for one in costs)),
        seconds_at_most=max(reading_s, sum(one.netsuite_s_at_most for one in costs)),
        rests_on=_rests_on(scope, flow, known, terms),
        warnings=_warnings(flow, terms, tokens, a_day),
    )


def slots_of(flow: Flow) -> int:
    side = flow.netsuite
    granted = ASSUMED_SLOTS if side.concurrency == "auto" else side.concurrency
    return max(1, granted - side.reserve)


def _refuse_poverty(scope: Scope, a_day: int) -> None:
    page = LIST_TOKENS["archived" if "deal" in scope.entities and scope.mode != "ids" else "current"]
    if a_day < page:
        raise BadInput(
            f"token_share: syncs could spend {a_day} tokens a day, and a page costs {page}: give a larger share, "
            "or the flow more of pipedrive.limits.daily_tokens"
        )


def _cost(entity: Entity, scope: Scope, flow: Flow, known: Known, terms: Terms) -> EntityCost:
    objects, calls, tokens = _reads(entity, scope, known)
    unchanged = 0 if terms.force else min(known.written, objects)
    mapping = flow.mapping_of(entity)
    looked_up = mapping is not None and (bool(mapping.match) or _looks_up(entity, flow))
    requests = objects + (max(0, objects - known.records) if looked_up else 0)
    each_s = (TURNAROUND_S if known.took_ms is None else known.took_ms / 1000) / slots_of(flow)
    if terms.purpose == "compare":
        census = 0 if scope.mode == "ids" else math.ceil(objects / CENSUS_ROWS)
        requests, unchanged, each_s = math.ceil(objects / MOST_RECORDS) + census, 0, QUERY_S
    return EntityCost(
        entity=entity,
        objects=objects,
        bound="at_most" if scope.mode == "ids" else "at_least",
        calls=calls,
        tokens=tokens,
        netsuite_requests=requests,
        unchanged=unchanged,
        netsuite_s=(requests - unchanged) * each_s,
        netsuite_s_at_most=requests * each_s,
    )


def _looks_up(entity: Entity, flow: Flow) -> bool:
    return entity == "deal" and flow.netsuite.opportunities == "look-up"


def _reads(entity: Entity, scope: Scope, known: Known) -> tuple[int, int, int]:
    """Objects, calls, tokens."""
    if scope.mode == "ids":
        count, pages = len(scope.ids_of(entity)), math.ceil(len(scope.ids_of(entity)) / PAGE_IDS)
        return count, pages + count, pages * LIST_TOKENS["current"] + count * OBJECT_TOKENS
    objects = max(known.records, known.seen if scope.mode == "full" else 0)
    pages = max(1, math.ceil(objects / PAGE_OBJECTS))
    archived = 1 if entity == "deal" else 0  # archived deals have a list of their own
    return objects, pages + archived, pages * LIST_TOKENS["current"] + archived * LIST_TOKENS["archived"]


def _reading_s(calls: int, flow: Flow, tokens: int, a_day: int) -> float:
    waits = max(0, math.ceil(tokens / a_day) - 1)
    return calls * max(PAGE_S, BURST_S / flow.pipedrive.limits.burst) + waits * DAY_S


def _rests_on(scope: Scope, flow: Flow, known: Mapping[Entity, Known], terms: Terms) -> tuple[str, ...]:
    objects = {
        "ids": "each id is asked for once more by itself if the list leaves it out: that is counted in",
        "full": "what the last full sync read, or the records that NetSuite holds; all that there are show while read",
        "since": "the records that are known to have changed since then; what was missed comes on top",
    }
    reading = f"a page of Pipedrive takes {PAGE_S:.0f} s (assumed); what else spends tokens makes it longer"
    if terms.purpose == "compare":
        queries = (
            f"NetSuite: {QUERY_S:.0f} s a query of {MOST_RECORDS} records (assumed), when nothing else wants a slot"
        )
        return objects[scope.mode], reading, f"{queries}; and up to 20 requests more where records differ"
    seen = {entity: one for entity, one in known.items() if one.took_ms is not None}
    took = [f"{one.took_ms:.0f} ms a {entity} (median of {one.samples} writes)" for entity, one in seen.items()]
    if len(seen) < len(scope.entities):
        took.append(f"{TURNAROUND_S:.0f} s a record where none was written yet (assumed)")
    slots = slots_of(flow)
    return (
        objects[scope.mode],
        reading,
        f"NetSuite: {', '.join(took)}, {slots} at a time, nothing else to write",
    )


def _warnings(flow: Flow, terms: Terms, tokens: int, a_day: int) -> tuple[str, ...]:
    found = []
    if terms.paused and terms.purpose == "sync":
        found.append(f"the flow is paused: what is read waits and is not written before `mlc flows resume {flow.flow}`")
    found += [f"{stop}: it waits until that is mended" for stop in terms.stops]
    if tokens > a_day:
        days = math.ceil(tokens / a_day)
        found.append(
            f"it needs {tokens} tokens and may spend {a_day} a day: it ends on day {days}; a larger share helps"
        )
    return tuple(found)
