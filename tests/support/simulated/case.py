"""What happens in one simulated case, as hypothesis draws it: an account, and a script of events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from hypothesis import strategies as st

from ml_connector.common.keys import Entity
from support.simulated.faults import PLACES
from support.simulated.pipedrive import What

IDS = ("1", "2", "3", "4", "5")
PARENTS: dict[str, str | None] = {"1": "1", "2": "1", "3": "2", "4": "3", "5": None}  # of persons and deals
DEALS_PARENTS = {**PARENTS, "5": "3"}  # a deal without an organization is an orphan from the beginning

# Which requests a fault meets: method and path.
WHERE: dict[str, dict[str, Any]] = {
    "anything": {},
    "single": {"path": r"/record/v1/[a-z]+/"},
    "submit": {"method": "PUT", "path": r"/record/v1/[a-z]+$"},
    "poll": {"path": r"/job/\d+$"},
    "results": {"path": r"/task"},
    "query": {"path": "suiteql"},
    "token": {"path": "/token$"},
    "task": {"in_job": True},
}
FAULTS = (
    "error_before_commit", "error_after_commit", "status_429", "status_400_concurrency", "masked_login",
    "token_revoked", "locked_record", "optimistic_lock", "maintenance", "reset", "timeout_after_commit", "lost_answer",
    "late_commit", "slow_body", "truncated_body", "wrong_content_type",
)  # fmt: skip

UNANSWERED = ("error_after_commit", "timeout_after_commit", "lost_answer", "late_commit", "late_commit")


@dataclass(frozen=True, slots=True)
class Change:
    """Objects change in Pipedrive; `arrives`: when the resolver has sent on what it makes of the events."""

    entity: Entity
    ids: tuple[str, ...]
    what: What
    arrives: Literal["now", "later", "twice"]


@dataclass(frozen=True, slots=True)
class Again:
    """The newest event is replayed, or a walk reads the object."""

    entity: Entity
    source_id: str
    how: Literal["replay", "sync"]


@dataclass(frozen=True, slots=True)
class Arrive:
    """What was held back comes now, the newest first."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """So many requests meet a fault, or each for a while."""

    kind: str
    where: str
    count: int
    for_s: float  # 0: until `count` were met
    delay_s: float


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Other integrations take slots of the account."""

    slots: int
    for_s: float


@dataclass(frozen=True, slots=True)
class Slow:
    """Every request takes this long; after 10 s its client hangs up."""

    latency_s: float
    for_s: float


@dataclass(frozen=True, slots=True)
class Away:
    """Nobody answers there."""

    who: Literal["netsuite", "broker"]
    for_s: float


@dataclass(frozen=True, slots=True)
class Restart:
    """Another process takes over; `cut off`: the former one lives on, but does not reach the broker."""

    after_s: float
    how: Literal["killed", "closed", "cut off"]
    compacted: bool


@dataclass(frozen=True, slots=True)
class Pause:
    """The flow is paused."""

    for_s: float


@dataclass(frozen=True, slots=True)
class Wait:
    """Time passes."""

    seconds: float


@dataclass(frozen=True, slots=True)
class OurFault:
    """The next calls of a part of ours raise an exception (`faults.PLACES`)."""

    place: str
    count: int


Event = Change | Again | Arrive | Trouble | Neighbours | Slow | Away | Restart | Pause | Wait | OurFault


@dataclass(frozen=True, slots=True)
class Case:
    """`settings`: of the writer. `switches`: of NetSuite's account."""

    seed: int
    slots: int
    latency_s: float
    matching: bool
    looks_up: bool
    settings: dict[str, Any]
    switches: dict[str, Any]
    events: list[Event]


LENGTHS = (1, 2, 3, 4, 6, 9, 13, 18, 18, 24, 24, 32)
_ENTITIES: st.SearchStrategy[Entity] = st.sampled_from(("organization", "person", "deal"))
_WHILES = st.sampled_from((0.5, 5.0, 30.0, 90.0))
_CHANGES = st.builds(
    Change,
    _ENTITIES,
    st.sampled_from((("1",), ("2",), ("1", "2"), IDS, IDS, IDS)),
    st.sampled_from(("edit", "edit", "edit", "edit", "touch", "delete", "merge", "bad")),
    st.sampled_from(("now", "now", "now", "later", "twice")),
)
_WAITS = st.builds(Wait, st.sampled_from((0.01, 0.1, 0.5, 2.0, 7.0, 20.0, 80.0)))
_TROUBLES = st.builds(
    Trouble,
    st.sampled_from((*FAULTS, *UNANSWERED, *UNANSWERED)),
    st.sampled_from((*WHERE, "single", "single", "submit")),
    st.integers(1, 3),
    st.sampled_from((0.0, 0.0, 5.0, 30.0)),
    st.sampled_from((1.0, 15.0, 40.0)),
)
_HOW = st.sampled_from(("killed", "killed", "closed", "cut off"))
_KINDS: dict[str, tuple[int, st.SearchStrategy[Event]]] = {  # how often
    "change": (9, _CHANGES),
    "wait": (6, _WAITS),
    "trouble": (5, _TROUBLES),
    "restart": (2, st.builds(Restart, st.sampled_from((0.0, 0.02, 0.3, 1.5)), _HOW, st.booleans())),
    "arrive": (1, st.just(Arrive())),
    "again": (1, st.builds(Again, _ENTITIES, st.sampled_from(IDS), st.sampled_from(("replay", "sync")))),
    "neighbours": (1, st.builds(Neighbours, st.integers(1, 4), _WHILES)),
    "slow": (1, st.builds(Slow, st.sampled_from((0.5, 3.0, 12.0)), _WHILES)),
    "away": (1, st.builds(Away, st.sampled_from(("netsuite", "broker")), _WHILES)),
    "pause": (1, st.builds(Pause, _WHILES)),
    "our fault": (3, st.builds(OurFault, st.sampled_from(tuple(PLACES)), st.integers(1, 3))),
}
_EVENTS = st.sampled_from([kind for kind, (weight, _) in _KINDS.items() for _ in range(weight)]).flatmap(
    lambda kind: _KINDS[kind][1]
)
_SETTINGS = st.fixed_dictionaries({
    "jobs_at_once": st.sampled_from((0, 1, 2, 2)),
    "batch_from": st.sampled_from((2, 3)),
    "batch_size": st.sampled_from((2, 4)),
    "batch_parallel": st.booleans(),
    "batch_doubtful": st.sampled_from(("results", "calls")),
    "flood_run": st.sampled_from((2, 25)),
})  # fmt: skip
_SWITCHES = st.fixed_dictionaries({
    "overload_answer": st.sampled_from(("429", "400", "masked_login")),
    "batch_stops_at_failure": st.booleans(),
    "failed_result": st.sampled_from(("error_status", "ok_status")),
    "task_list": st.sampled_from(("item_per_task", "one_item")),
    "async_takes_slots": st.booleans(),
    "parallel_width": st.sampled_from((1, 5)),
})  # fmt: skip

CASES = st.builds(
    Case,
    seed=st.integers(0, 2**16),
    slots=st.integers(1, 4),
    latency_s=st.sampled_from((0.05, 0.0, 0.4, 1.5)),
    matching=st.sampled_from((False, False, True)),
    looks_up=st.booleans(),
    settings=_SETTINGS,
    switches=_SWITCHES,
    events=st.sampled_from(LENGTHS).flatmap(lambda count: st.lists(_EVENTS, min_size=count, max_size=count)),
)
