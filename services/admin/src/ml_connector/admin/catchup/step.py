"""What follows in a flow's catch-up, in one transaction: the gap as it is now, or the next phase of a run.

A phase and the sync that it begins are one transaction, so each gap is caught up with once, whatever dies.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import msgspec
from sqlalchemy import Connection

from ml_connector.admin.catchup.gaps import Trouble, due_to_ms, is_worth_keeping, with_troubles
from ml_connector.admin.catchup.keep import put_catch_up, read_catch_up
from ml_connector.admin.catchup.search import Missing
from ml_connector.admin.changing import Said
from ml_connector.admin.identity.roles import Actor, Role
from ml_connector.admin.replay.control import Conflict, tell
from ml_connector.admin.sync.ask import Asked, rfc3339
from ml_connector.admin.sync.control import Syncs, read_sync
from ml_connector.common.catch_up import ACTOR, CatchUp, Gap, Run, catch_up_key
from ml_connector.common.errors import BadInput
from ml_connector.common.keys import Entity

RUNS: Final = 10  # of a flow: as many as are kept
TOKEN_SHARE: Final = 0.8  # nothing that was lost comes otherwise, so it may spend more than what a schedule repeats
BY_CATCH_UP: Final = Actor(ACTOR, Role.operator)


class Searched(NamedTuple):
    """What a search has found, of all entities together."""

    missing: Mapping[Entity, Missing]
    known: int


def current(entry: CatchUp) -> Run | None:
    """The run that is under way."""
    last = entry.runs[-1] if entry.runs else None
    return last if last is not None and last.phase not in {"done", "failed"} else None


class Steps:
    """Each is called in a transaction of `alone`."""

    def __init__(self, syncs: Syncs) -> None:
        self._syncs = syncs

    def look(self, connection: Connection, flow: str, troubles: Iterable[Trouble], now_ms: int) -> CatchUp:
        """The gap grows, a run begins or goes on. The entry as it is then."""
        before = read_catch_up(connection, flow)
        after = with_troubles(before, troubles)
        run = current(after)
        if run is not None:
            return self._keep(connection, before, self._gone_on(connection, after, run, now_ms))
        to_ms = due_to_ms(after.gap, now_ms)
        if after.gap is not None and to_ms is not None:
            return self._keep(connection, before, self._begun(connection, after, after.gap, to_ms, now_ms))
        return self._keep(connection, before, after) if is_worth_keeping(before, after) else after

    def search(self, connection: Connection, flow: str, why: str, now_ms: int) -> str:
        """Without a gap: only what is gone. The run's id. Raises Conflict."""
        entry = read_catch_up(connection, flow)
        before = current(entry)
        if before is not None:
            raise Conflict(f"catch-up {before.run_id} of flow {flow} is under way, and searches, too")
        run = Run(uuid.uuid4().hex[:12], now_ms, now_ms, why, now_ms, "search")
        self._keep(connection, entry, msgspec.structs.replace(entry, runs=(*entry.runs, run)[-RUNS:]))
        return run.run_id

    def searched(self, connection: Connection, flow: str, run_id: str, found: Searched, now_ms: int) -> CatchUp:
        """What is missing is asked for by its ids."""
        entry = read_catch_up(connection, flow)
        run = current(entry)
        if run is None or run.run_id != run_id or run.phase != "search":
            return entry
        each = {entity: one.ids for entity, one in found.missing.items() if one.ids}
        missing, tokens = sum(map(len, each.values())), sum(one.tokens for one in found.missing.values())
        run = msgspec.structs.replace(run, known=found.known, missing=missing, tokens=run.tokens + tokens, problem="")
        if not each:
            return self._keep(connection, entry, _with(entry, _ended(run, "done", now_ms)))
        asked = Asked(flow, "ids", entities=tuple(each), each=each, token_share=TOKEN_SHARE)
        return self._keep(connection, entry, _with(entry, self._sync(connection, run, "gone", asked)))

    def failed(self, connection: Connection, flow: str, run_id: str, problem: str, now_ms: int) -> CatchUp:
        """Of a search that somebody must look at."""
        entry = read_catch_up(connection, flow)
        run = current(entry)
        if run is None or run.run_id != run_id:
            return entry
        failed = msgspec.structs.replace(_ended(run, "failed", now_ms), problem=problem)
        return self._keep(connection, entry, _with(entry, failed))

    def _begun(self, connection: Connection, entry: CatchUp, gap: Gap, to_ms: int, now_ms: int) -> CatchUp:
        run = Run(uuid.uuid4().hex[:12], gap.from_ms, to_ms, gap.why, now_ms, "changes")
        began = msgspec.structs.replace(entry, seen_ms=to_ms, gap=None, runs=(*entry.runs, run)[-RUNS:])
        return self._changes(connection, began, run)

    def _gone_on(self, connection: Connection, entry: CatchUp, run: Run, now_ms: int) -> CatchUp:
        if run.phase == "search":
            return entry
        job_id = run.changes if run.phase == "changes" else run.gone
        if not job_id:
            return self._changes(connection, entry, run)
        job = read_sync(connection, job_id)
        if job.state == "cancelled":
            cancelled = msgspec.structs.replace(_ended(run, "failed", now_ms), problem=f"sync {job_id} was cancelled")
            return _with(entry, cancelled)
        if job.state == "done":
            done = run.phase == "gone"
            after = _ended(run, "done", now_ms) if done else msgspec.structs.replace(run, phase="search", problem="")
            return _with(entry, after)
        problem = f"sync {job_id} is {job.state}" if job.state in {"failed", "paused"} else ""
        return _with(entry, msgspec.structs.replace(run, problem=problem))

    def _changes(self, connection: Connection, entry: CatchUp, run: Run) -> CatchUp:
        since, until = rfc3339(run.from_ms), rfc3339(run.to_ms + 999)
        asked = Asked(entry.flow, "since", since=since, until=until, token_share=TOKEN_SHARE)
        return _with(entry, self._sync(connection, run, "changes", asked))

    def _sync(self, connection: Connection, run: Run, phase: str, asked: Asked) -> Run:
        """While another one of the flow is under way, it waits for that."""
        reason = f"{run.why}, from {rfc3339(run.from_ms)} to {rfc3339(run.to_ms)}"[:500]
        try:
            job = self._syncs.begin(connection, asked, Said(BY_CATCH_UP, reason))
        except (Conflict, BadInput) as error:
            return msgspec.structs.replace(run, problem=str(error))
        return msgspec.structs.replace(run, phase=phase, problem="", **{phase: job.job_id})

    def _keep(self, connection: Connection, before: CatchUp, after: CatchUp) -> CatchUp:
        if after == before:
            return before
        kept = msgspec.structs.replace(after, version=before.version + 1)
        put_catch_up(connection, kept)
        tell(connection, catch_up_key(kept.flow), kept.encode())
        return kept


def _ended(run: Run, phase: str, now_ms: int) -> Run:
    ended: Run = msgspec.structs.replace(run, phase=phase, ended_ms=now_ms, problem="")
    return ended


def _with(entry: CatchUp, run: Run) -> CatchUp:
    return msgspec.structs.replace(entry, runs=(*entry.runs[:-1], run))
