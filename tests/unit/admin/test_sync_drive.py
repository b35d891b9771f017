"""A sync as a state machine: whatever dies, comes twice or comes late, every entity is walked to its end, in order."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_connector.admin.sync.decide import Decision, current_of, decide, window_of
from ml_connector.admin.sync.progress import left_of, stretches_of
from ml_connector.common.keys import Entity
from ml_connector.common.sync_job import SyncJob, Walked
from ml_connector.common.syncing import Progress, SyncControl, SyncPage, SyncState
from ml_connector.resolver import walk as owner

NOW_MS = 1_785_207_600_000
ENTITIES: tuple[Entity, ...] = ("organization", "person", "deal")


def job(**more: object) -> SyncJob:
    made = SyncJob(
        job_id="41c7d09ab2f5",
        version=1,
        flow="acme-eu",
        company="acme",
        account="1234567_SB1",
        state="running",
        created_at_ms=NOW_MS,
        changed_at_ms=NOW_MS,
        actor="anna",
        reason="",
        mode="full",
        entities=ENTITIES,
        plan={"entities": [{"entity": one, "objects": 1_000, "tokens": 1} for one in ENTITIES]},
    )
    return msgspec.structs.replace(made, **more)


def walk(entity: Entity = "organization", state: str = "running", **more: object) -> SyncState:
    made = SyncState(
        job_id="41c7d09ab2f5",
        flow="acme-eu",
        entity=entity,
        state=state,  # type: ignore[arg-type]  # a test's own
        started_at_ms=NOW_MS,
        changed_at_ms=NOW_MS + 10_000,
    )
    return msgspec.structs.replace(made, **more)


def words(decision: Decision) -> list[tuple[str, str]]:
    return [(one.entity, "page" if isinstance(one, SyncPage) else one.to) for one in decision.says]


def after(one: SyncJob, *walks: SyncState) -> Decision:
    return decide(one, {walk.entity: walk for walk in walks}, NOW_MS)


def test_first_page_has_all_that_the_walk_needs() -> None:
    since, until = window_of(NOW_MS, NOW_MS + 1)
    one = job(mode="since", since=since, until=until, token_share=0.3, stop_after=5, force=True)

    (page,) = after(one).says

    assert isinstance(page, SyncPage) and page.page == 1
    assert (page.updated_since, page.updated_until) == ("2026-07-28T02:59:00Z", "2026-07-28T03:00:01Z")
    assert (page.token_share, page.stop_after, page.force) == (0.3, 5, True)


DONE = Walked("done", 1, 2)


@pytest.mark.parametrize(
    ("one", "walks", "says", "state"),
    [
        (job(), [walk()], [], None),
        (job(state="paused"), [walk()], [("organization", "paused")], None),
        (job(state="paused"), [walk(state="paused")], [], None),
        (job(), [walk(state="paused")], [("organization", "running")], None),
        (job(), [walk(state="paused", reason="5 were rejected")], [], "paused"),
        (job(), [walk(state="failed", reason="403")], [], "failed"),
        (job(answered_ms=NOW_MS + 10_000), [walk(state="failed", reason="403")], [("organization", "running")], None),
        (job(state="failed"), [walk(state="failed", reason="403")], [], None),
        (job(state="cancelled"), [walk()], [("organization", "cancelled")], None),
        (job(state="cancelled"), [], [], None),
        (job(), [walk(state="cancelled")], [("organization", "forgotten")], None),
        (job(walked={"organization": DONE}), [walk(state="done")], [("organization", "forgotten"), ("person", "page")], None),
        (job(walked={"organization": DONE}), [walk(), walk("person")], [("organization", "cancelled")], None),
        (job(walked=dict.fromkeys(ENTITIES, DONE)), [], [], "done"),
        (job(walked=dict.fromkeys(ENTITIES, DONE), state="done"), [], [], None),
    ],
)  # fmt: skip
def test_what_follows(one: SyncJob, walks: list[SyncState], says: list[tuple[str, str]], state: str | None) -> None:
    decision = after(one, *walks)

    assert words(decision) == says
    assert decision.change.get("state") == state


def test_end_of_a_walk_is_kept_before_its_state_is_forgotten() -> None:
    ended = walk(state="done", progress=Progress(pages=3, read=1_200, desired=1_200))

    first = after(job(), ended)

    assert words(first) == []
    assert first.change == {"walked": {"organization": Walked("done", NOW_MS, NOW_MS + 10_000, ended.progress)}}


class World:
    """The owner as the resolver decides, a queue between, and a driver that sees the state late."""

    def __init__(self, pages: int) -> None:
        self.job = job()
        self.pages = pages
        self.queue: list[SyncPage | SyncControl] = []
        self.states: dict[str, SyncState] = {}
        self.seen: dict[str, SyncState] = {}
        self.read: dict[str, set[int]] = {entity: set() for entity in ENTITIES}
        self.began: list[str] = []
        self.now_ms = NOW_MS

    def drive(self) -> None:
        """A look; what it says may be said again at the next one."""
        decision = decide(self.job, self.seen, self.now_ms)
        self.queue += decision.says
        self.change(dict(decision.change))

    def crash(self) -> None:
        """It has said it, and died before it could note anything."""
        self.queue += decide(self.job, self.seen, self.now_ms).says

    def change(self, change: dict[str, object]) -> None:
        if change:
            self.job = msgspec.structs.replace(self.job, version=self.job.version + 1, **change)

    def act(self, what: str) -> None:
        match what, self.job.state:
            case "pause", "running":
                self.change({"state": "paused"})
            case "resume", "paused" | "failed":
                now = self.seen.get(current_of(self.job) or "")
                self.change({"state": "running", "why": "", "answered_ms": now.changed_at_ms if now else 0})

    def own(self) -> None:
        """The owner takes the next request."""
        self.now_ms += 1
        if not self.queue:
            return
        request = self.queue.pop(0)
        state = self.states.get(request.entity)
        if isinstance(request, SyncControl):
            if state is None:
                return
            if request.to == "forgotten":
                del self.states[request.entity]
            else:
                self.go_on(owner.controlled(state, request, self.now_ms))
        elif owner.is_due(request, state):
            self.begin_or_read(request, state)

    def begin_or_read(self, page: SyncPage, state: SyncState | None) -> None:
        if state is None:
            self.began.append(page.entity)
            state = owner.begun(page, self.now_ms)
        self.read[page.entity].add(len(page.cursor))
        more = "c" * (len(page.cursor) + 1) if len(page.cursor) + 1 < self.pages else ""
        shelf_is_last = page.entity != "deal" or page.shelf == "archived"
        found = owner.Found(cursor=more if page.shelf == "current" else "", read=1, desired=1, tokens=10)
        advanced = owner.advanced(state, page, found, self.now_ms)
        assert shelf_is_last or advanced.next is not None
        self.go_on(advanced)

    def go_on(self, state: SyncState) -> None:
        if state.state == "running" and state.next is not None:
            self.queue.append(state.next)
        self.states[state.entity] = state

    def see(self) -> None:
        self.seen = dict(self.states)


STEPS = st.sampled_from(["drive", "crash", "own", "see", "pause", "resume"])


@settings(max_examples=300, deadline=None)
@given(st.lists(STEPS, max_size=80), st.integers(1, 4))
def test_every_page_of_every_entity_is_read_in_order_whatever_happens(steps: list[str], pages: int) -> None:
    world = World(pages)
    for step in steps:
        world.act(step) if step in ("pause", "resume") else getattr(world, step)()

    for _ in range(400):  # calm: it must come to its end, and leave nothing behind
        world.act("resume")
        for step in ("drive", "own", "own", "own", "own", "see"):
            getattr(world, step)()
        if world.job.state == "done" and not world.states and not world.queue:
            break

    assert world.job.state == "done"
    assert world.read == {entity: set(range(pages)) for entity in ENTITIES}
    assert list(dict.fromkeys(world.began)) == list(ENTITIES)
    assert list(world.job.walked) == list(ENTITIES)
    assert world.states == {}


# -- how long it may still take ------------------------------------------------------------------------------------------


def left(one: SyncJob, *walks: SyncState) -> tuple[float | None, str]:
    found = left_of(one, stretches_of(one, {walk.entity: walk for walk in walks}))
    return found.seconds, found.rests_on


def test_time_left_rests_on_the_rate_and_the_known_records() -> None:
    now = walk(progress=Progress(pages=1, read=500, desired=500))

    seconds, rests_on = left(job(), now)

    assert seconds == 2_500 / 50
    assert rests_on == "2500 objects are left of those known, 50 a second so far"


def test_time_left_that_cannot_be_said_says_why() -> None:
    more = walk(progress=Progress(read=1_500, desired=1_500))
    waits = walk(reason="syncs may spend 400 tokens", until_ms=NOW_MS, progress=Progress(read=5))

    assert left(job()) == (None, "nothing was read yet")
    assert left(job(), more) == (None, "there are more organizations than the 1000 known ones")
    assert left(job(), waits) == (None, "it waits until 2026-07-28T03:00:00Z: syncs may spend 400 tokens")
    assert left(job(state="paused"), more) == (None, "it is paused")
