"""What all services together could have written, for hypothesis: causes, replays, dead letters, acts, erasures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, get_args

from hypothesis import strategies as st

from ml_connector.admin.explain import letter_id
from ml_connector.common import topics
from ml_connector.common.generation import Generation
from ml_connector.common.kafka.record import Record
from ml_connector.common.keys import NO_RECORD, Entity
from ml_connector.common.sync_job import SyncJob, sync_job_key
from ml_connector.common.syncing import SyncState, sync_key
from ml_connector.common.wire import OutcomeKind, ReplayItem, ReplayItems, ReplayJob
from support import admin_messages as m

Lane = tuple[str, int]  # a topic, a partition
PARTITIONS = {"1234567_SB1": 0, "7654321": 1}
FLOWS = {"1234567_SB1": "acme-eu", "7654321": "acme-us"}
RECORDS: list[tuple[Entity, str]] = [("organization", "1"), ("deal", "1"), ("deal", "2")]
OUTCOMES = st.sampled_from(get_args(OutcomeKind))


@dataclass
class History:
    """Grows message by message."""

    draw: st.DrawFn
    places: m.Places
    lanes: dict[Lane, list[Record]] = field(default_factory=lambda: defaultdict(list))
    audited: list[tuple[m.Given, int]] = field(default_factory=list)
    letters: list[tuple[str, str]] = field(default_factory=list)

    def put(self, given: m.Given, partition: int) -> None:
        record = self.places.put(given, partition)
        self.lanes[(record.topic, partition)].append(record)

    def audit(self, given: m.Given, partition: int) -> None:
        self.put(given, partition)
        self.audited.append((given, partition))

    def sometimes(self, once_in: int = 2) -> bool:
        return self.draw(st.integers(1, once_in)) == once_in

    def several(self, act: Callable[[], None]) -> None:
        """Once, or repeated."""
        for _ in range(self.draw(st.integers(1, 2))):
            act()


@st.composite
def histories(draw: st.DrawFn) -> dict[Lane, list[Record]]:
    """By topic and partition, each in order."""
    history = History(draw, m.Places(step=draw(st.sampled_from([1, 3]))))
    causes: list[tuple[str, str]] = []
    for account, flow in FLOWS.items():
        history.put(m.flow_version(flow, account=account), 0)
        _changes(history, flow, account)
        causes += [(f"1:{flow}{number}", account) for number in range(draw(st.integers(1, 5)))]
    replayed = draw(st.lists(st.sampled_from(causes), max_size=3))
    for number, (cause, account) in enumerate(causes):
        _happens(history, number, cause, account, "")
    for number, (cause, account) in enumerate(replayed):
        _happens(history, 100 + number, f"rpl:j1:{number}", account, cause)
    for number, (cause, record) in enumerate(history.letters):
        if history.sometimes():
            discard = m.act(f"a{number}", "dead_letters.discard", letter_id(cause, record))
            history.audit(discard, draw(st.integers(0, 1)))
    _job(history, replayed)
    _sync(history)
    _compare(history)
    _secrets(history)
    _stops(history)
    for given, partition in history.audited:
        if history.sometimes(once_in=5):
            history.put(m.erased(given), partition)
    return dict(history.lanes)


def _happens(history: History, number: int, cause: str, account: str, replay_of: str) -> None:
    """One cause from its delivery on, as far as it came."""
    draw, partition, flow = history.draw, PARTITIONS[account], FLOWS[account]
    whose: dict[str, Any] = {"account": account, "flow": flow}
    entity, source_id = draw(st.sampled_from(RECORDS))
    delivery = (topics.EVENTS, b"acme", b"{}", {"cause": cause.encode(), "account": account.encode()})
    history.several(lambda: history.put(delivery, partition))
    if history.sometimes():
        history.put(m.hydrate(f"r{number}", flow=flow), partition)
        history.put(m.deferred(m.hydrate(f"r{number}", flow=flow)), partition)
    name = draw(st.sampled_from(["", "Acme", "ACME ", "Bj\u00f6rk"]))
    at_ms = m.START_MS + number
    entry = m.received(cause, entity, source_id, name=name, at_ms=at_ms, replay_of=replay_of, **whose)
    history.audit(entry, partition)
    generation = Generation(draw(st.integers(1, 3)), draw(st.integers(0, 2))) if history.sometimes() else None
    if generation is not None:
        history.audit(m.resolved(cause, entity, source_id, generation=generation, **whose), partition)
        history.put(m.desired(cause, entity, source_id, generation=generation, **whose), partition)
    kind = draw(st.one_of(st.none(), OUTCOMES))
    if kind is None:
        return
    record = m.record_key(entity, source_id, account) if generation is not None else NO_RECORD
    if kind == "dead_lettered":
        history.letters.append((cause, record))
        letter = m.letter(cause, record, generation=generation, replay_of=replay_of, account=account)
        history.several(lambda: history.put(letter, partition))
    ended = m.outcome(
        cause,
        kind,
        entity,
        source_id,
        generation=generation,
        at_ms=m.START_MS + draw(st.integers(0, 5)),
        received_at_ms=at_ms,
        replay_of=replay_of,
        **whose,
    )
    history.several(lambda: history.audit(ended, partition))
    if generation is not None:
        history.put(m.erased(m.desired(cause, entity, source_id, generation=generation, **whose)), partition)
        seen = m.observed(entity, source_id, generation=generation, internal_id="7", **whose)
        history.put(seen, partition)
        if history.sometimes(once_in=5):
            history.put(m.erased(seen), partition)


def _changes(history: History, flow: str, account: str) -> None:
    """Applied again, activated, paused: each with the next revision, and each perhaps told twice."""
    newest = 1
    for revision in range(1, history.draw(st.integers(0, 4)) + 1):
        if history.sometimes():
            newest += 1
            history.put(m.flow_version(flow, account=account, version=newest), 0)
        version, paused = history.draw(st.integers(1, newest)), history.draw(st.booleans())
        entry = m.active_flow(flow, version=version, revision=revision, paused=paused)
        history.several(partial(history.put, entry, 0))
    if history.sometimes(once_in=5):
        history.put(m.erased(m.active_flow(flow)), 0)


def _job(history: History, replayed: Sequence[tuple[str, str]]) -> None:
    items = tuple(ReplayItem(letter_id(cause, "-"), "-", account, 0, 0, 1, "") for cause, account in replayed)
    if not items:
        return
    history.put((topics.JOBS, b"j1/items/0", ReplayItems(job_id="j1", first=0, items=items).encode(), {}), 0)
    for version in range(1, history.draw(st.integers(1, 3)) + 1):
        job = ReplayJob(
            job_id="j1",
            version=version,
            state="cancelled" if version == 3 else "running",
            created_at_ms=m.START_MS,
            changed_at_ms=m.START_MS + version,
            actor="ann",
            reason="because",
            selection={},
            total=len(items),
            issued=min(len(items), version - 1),
        )
        history.put((topics.JOBS, b"j1", job.encode(), {}), 0)


def _sync(history: History) -> None:
    """A job whose versions come in order, and the owner's word of how far it is, until that is forgotten."""
    place = sync_key("acme", "s1", "deal").encode()
    for version in range(1, history.draw(st.integers(0, 3)) + 1):
        job = SyncJob(
            job_id="s1",
            version=version,
            flow="acme-eu",
            company="acme",
            account=m.ACCOUNT,
            state="done" if version == 3 else "running",
            created_at_ms=m.START_MS,
            changed_at_ms=m.START_MS + version,
            actor="ann",
            reason="",
            mode="full",
            entities=("deal",),
        )
        history.several(partial(history.put, (topics.JOBS, sync_job_key("s1").encode(), job.encode(), {}), 0))
        walk = SyncState(
            job_id="s1", flow="acme-eu", entity="deal", state="running", started_at_ms=1, changed_at_ms=version
        )
        history.put((topics.STATE, place, None if version == 3 else walk.encode(), {}), 0)


def _compare(history: History) -> None:
    """Pages of one walk, some read again (in more or fewer parts) or begun anew, told in order."""
    page = first = 1
    for _ in range(history.draw(st.integers(0, 4))):
        parts = history.draw(st.integers(1, 2))
        for part in range(1, parts + 1):
            different = history.draw(st.integers(0, 2))
            told = m.compared(page=page, part=part, parts=parts, first_page=first, different=different)
            history.several(partial(history.audit, told, 0))
        match history.draw(st.sampled_from(["next", "again", "anew"])):
            case "next":
                page += 1
            case "anew":
                first = page = page + 1


def _stops(history: History) -> None:
    """A company is stopped for one reason or another, and works again; what else is known of it is nobody's affair."""
    for number in range(history.draw(st.integers(0, 4))):
        stop = m.suspended(reason=history.draw(st.sampled_from(["401", "revoked"])), at_ms=m.START_MS + number)
        history.put(m.erased(stop) if history.sometimes(once_in=3) else stop, 0)
        if history.sometimes():
            history.put((topics.STATE, b"acme/definitions/deal", b"{}", {}), 0)


def _secrets(history: History) -> None:
    """Set, wrapped by another key, deleted, set again: the version counts up through all of it."""
    version = 0
    for _ in range(history.draw(st.integers(0, 5))):
        match history.draw(st.sampled_from(["set", "wrap", "delete"])):
            case "set":
                version += 1
                history.put(m.secret(version=version), 0)
            case "wrap" if version and history.lanes[(topics.SECRETS.name, 0)][-1].value is not None:
                history.put(m.secret(version=version, kek="k2"), 0)
            case "delete":
                history.put(m.erased(m.secret()), 0)
