"""What can be done with a replay: create, start, pause, cancel, and note how far it is.

Each is one transaction: the job's next version, the act, and the messages that tell of both.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import msgspec
from sqlalchemy import Connection, select, update

from ml_connector.admin.acts import record_act
from ml_connector.admin.database import Database
from ml_connector.admin.identity.roles import Actor
from ml_connector.admin.look.letters import Selection
from ml_connector.admin.outbox import put_message
from ml_connector.admin.replay.choose import choose
from ml_connector.admin.replay.keep import CANCELLED, WAITING, put_items, put_job
from ml_connector.admin.replay.order import Chosen
from ml_connector.admin.tables import job, job_item
from ml_connector.common import generation, keys, topics
from ml_connector.common.clock import Clock
from ml_connector.common.errors import BadInput
from ml_connector.common.wire import ActKind, JobState, Mapping, ReplayItem, ReplayItems, ReplayJob

PART: Final = 1_000  # items of one message


class NotFound(BadInput):
    """There is nothing of this id."""


class Conflict(BadInput):
    """Not in the present state, which the text names."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a replay shall go."""

    dry_run: bool = False
    mapping: Mapping = "today"
    rate_per_s: float | None = None
    stop_after: int | None = None
    force: bool = False
    draft: bool = False


# From which states each act is possible, and where it leads.
_ACTS: Final[dict[ActKind, tuple[frozenset[JobState], JobState]]] = {
    "replay.start": (frozenset({"draft", "paused"}), "running"),
    "replay.pause": (frozenset({"running"}), "paused"),
    "replay.cancel": (frozenset({"draft", "running", "paused"}), "cancelled"),
}


class Replays:
    """The jobs as SQL has them. Blocking: the event loop calls it in threads."""

    def __init__(self, database: Database, clock: Clock, *, same_failures: int) -> None:
        self._database = database
        self._clock = clock
        self._same_failures = same_failures

    def create(self, selection: Selection, options: Options, *, by: Actor, reason: str) -> ReplayJob:
        """Freeze the selection. Raises BadInput."""
        now_ms = self._clock.now_ms()
        with self._database.write() as connection:
            chosen = choose(connection, selection, same_failures=self._same_failures, force=options.force)
            entry = ReplayJob(
                job_id=uuid.uuid4().hex[:12],
                version=1,
                state="draft" if options.draft else "running",
                created_at_ms=now_ms,
                changed_at_ms=now_ms,
                actor=by.subject,
                reason=reason,
                selection=selection.model_dump(mode="json", exclude_none=True),
                total=len(chosen),
                dry_run=options.dry_run,
                mapping=options.mapping,
                rate_per_s=options.rate_per_s,
                stop_after=options.stop_after,
                force=options.force,
            )
            for items in _parts(entry.job_id, chosen, now_ms):
                put_items(connection, items)
                tell(connection, keys.items_key(entry.job_id, items.first), items.encode())
            _keep(connection, entry)
            detail = {"job": entry.job_id, "records": entry.total, "dry_run": entry.dry_run}
            record_act(
                connection, "replay.create", by=by, now_ms=now_ms, reason=reason, targets=[entry.job_id], detail=detail
            )
        return entry

    def act(self, job_id: str, what: ActKind, *, by: Actor, reason: str) -> ReplayJob:
        """Start, pause or cancel. Raises NotFound, Conflict."""
        possible, state = _ACTS[what]
        now_ms = self._clock.now_ms()
        with self._database.write() as connection:
            before = _locked(connection, job_id)
            if before.state not in possible:
                raise Conflict(f"replay {job_id} is {before.state}: {what.partition('.')[2]} is not possible now")
            after = _next(connection, before, now_ms, state=state, why="")
            if state == "cancelled":
                connection.execute(
                    update(job_item)
                    .where(job_item.c.job_id == job_id, job_item.c.state == WAITING)
                    .values(state=CANCELLED)
                )
            record_act(connection, what, by=by, now_ms=now_ms, reason=reason, targets=[job_id])
        return after

    def progress(self, job_id: str, change: Callable[[Connection, ReplayJob], dict[str, object]]) -> ReplayJob:
        """What the runner has done: `change` works in the transaction and says which members of the job differ."""
        with self._database.write() as connection:
            before = _locked(connection, job_id)
            different = change(connection, before)
            return _next(connection, before, self._clock.now_ms(), **different) if different else before

    def get(self, job_id: str) -> ReplayJob:
        """Raises NotFound."""
        with self._database.read() as connection:
            return _read(connection, job_id)

    def running(self) -> list[str]:
        with self._database.read() as connection:
            return list(
                connection.scalars(select(job.c.job_id).where(job.c.state == "running").order_by(job.c.created_at_ms))
            )


def _parts(job_id: str, chosen: list[Chosen], now_ms: int) -> Iterator[ReplayItems]:
    for first in range(0, len(chosen), PART):
        items = tuple(
            ReplayItem(
                one.letter_id,
                one.record_key,
                one.account,
                one.partition,
                one.offset,
                generation.of_replay(one.generation, now_ms=now_ms).revision,
                one.skip,
            )
            for one in chosen[first : first + PART]
        )
        yield ReplayItems(job_id=job_id, first=first, items=items)


def _read(connection: Connection, job_id: str) -> ReplayJob:
    return _decoded(job_id, connection.scalar(select(job.c.value).where(job.c.job_id == job_id)))


def _locked(connection: Connection, job_id: str) -> ReplayJob:
    """Until the transaction's end nobody else changes it."""
    query = select(job.c.value).where(job.c.job_id == job_id).with_for_update()
    return _decoded(job_id, connection.scalar(query))


def _decoded(job_id: str, value: bytes | None) -> ReplayJob:
    if value is None:
        raise NotFound(f"there is no replay {job_id}")
    return ReplayJob.decode(value)


def _next(connection: Connection, before: ReplayJob, now_ms: int, **different: object) -> ReplayJob:
    after: ReplayJob = msgspec.structs.replace(before, version=before.version + 1, changed_at_ms=now_ms, **different)
    _keep(connection, after)
    return after


def _keep(connection: Connection, entry: ReplayJob) -> None:
    put_job(connection, entry)
    tell(connection, entry.job_id, entry.encode())


def tell(connection: Connection, key: str, value: bytes | None) -> None:
    """In `connector.jobs`, once the transaction is committed. None: it is forgotten."""
    put_message(connection, topics.JOBS, partition_key=key, key=key, value=value)
