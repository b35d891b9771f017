"""Everything that ever happened to a Pipedrive object and its record, in order of time.

Events, what the mapping made of them, outcomes with request and response, dead letters, replays and operators' acts.
Each source is asked for no more than a page, from the same place on, and the pages are merged.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

import msgspec
from sqlalchemy import ColumnElement, Connection, Select, Subquery, case, literal, or_, select, tuple_

from ml_connector.admin.drift.look import incident_of
from ml_connector.admin.fold.audit import inflated, subject_of
from ml_connector.admin.look.find import Query, Subject, find
from ml_connector.admin.tables import act, act_target, dead_letter, drift, job, job_item, step
from ml_connector.common.errors import BadInput
from ml_connector.common.keys import NO_RECORD
from ml_connector.common.wire import Act, ReplayJob

__all__ = ["Entry", "Page", "Query", "Subject", "find", "timeline"]

Kind = Literal["received", "resolved", "outcome", "dead_letter", "replay", "act", "drift"]

# What follows from what, within one millisecond.
_RANKS: Final[dict[Kind, int]] = {
    "received": 1,
    "resolved": 2,
    "outcome": 3,
    "dead_letter": 4,
    "replay": 5,
    "act": 6,
    "drift": 7,
}
_STEP_RANK: Final = case(
    (step.c.kind == "received", _RANKS["received"]), (step.c.kind == "resolved", _RANKS["resolved"]), else_=3
)
_LETTER: Final = (
    "stage",
    "code",
    "field",
    "message",
    "signature",
    "attempts",
    "first_failed_at_ms",
    "expires_at_ms",
    "resolution",
    "resolved_by",
    "resolved_at_ms",
)


class Spot(NamedTuple):
    """Where an entry stands. No two entries of a timeline stand at the same one."""

    at_ms: int
    rank: int
    first: str
    second: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened. `id`: of the dead letter, the replay or the act; `state`: of the letter, or of the
    replay's item; `detail`: the audit's entry as it is, or a summary."""

    spot: Spot
    kind: Kind
    cause: str
    record_key: str
    id: str
    state: str
    detail: dict[str, Any]

    @property
    def at_ms(self) -> int:
        return self.spot.at_ms


@dataclass(frozen=True, slots=True)
class Page:
    """Oldest first. `older` and `newer` lead to the pages beside it; None where there is none."""

    entries: list[Entry]
    older: str | None
    newer: str | None


def timeline(
    connection: Connection,
    subject: Subject,
    *,
    before: str | None = None,
    after: str | None = None,
    limit: int = 100,
) -> Page:
    """The newest entries, or those next to a cursor. Raises BadInput for a foreign cursor, or for two."""
    if before is not None and after is not None:
        raise BadInput("before, after: one of the two")
    window = _Window(_read(before), _read(after), limit + 1)
    found = [
        *_steps(connection, subject, window),
        *_letters(connection, subject, window),
        *_replays(connection, subject, window),
        *_acts(connection, subject, window),
        *_drifts(connection, subject, window),
    ]
    found.sort(key=lambda entry: entry.spot, reverse=after is None)
    more = len(found) > limit
    entries = sorted(found[:limit], key=lambda entry: entry.spot)
    if not entries:
        return Page([], older=None, newer=None)
    first, last = _write(entries[0].spot), _write(entries[-1].spot)
    if after is not None:
        return Page(entries, older=first, newer=last if more else None)
    return Page(entries, older=first if more else None, newer=last if before is not None else None)


@dataclass(frozen=True, slots=True)
class _Window:
    """Which part of the time is wanted; without a cursor the newest."""

    before: Spot | None
    after: Spot | None
    most: int

    def of(self, query: Select[Any], spot: Sequence[ColumnElement[Any]]) -> Select[Any]:
        """The entries of one source in it, nearest to the cursor first."""
        cursor = self.before or self.after
        if cursor is not None:
            here, there = tuple_(*spot), tuple_(*(literal(part) for part in cursor))
            # The first condition is for the index, which knows times only.
            query = (
                query.where(spot[0] <= cursor.at_ms, here < there)
                if self.before
                else query.where(spot[0] >= cursor.at_ms, here > there)
            )
        order = [part.asc() if self.after else part.desc() for part in spot]
        return query.order_by(*order).limit(self.most)


# -- sources -----------------------------------------------------------------------------------------------------------


def _steps(connection: Connection, subject: Subject, window: _Window) -> Iterator[Entry]:
    spot = (step.c.at_ms, _STEP_RANK, step.c.cause, step.c.record_key)
    for which in _of_subject(subject):
        for row in connection.execute(window.of(select(step).where(which), spot)):
            detail = msgspec.json.decode(inflated(row.value))
            yield Entry(
                Spot(row.at_ms, _RANKS[row.kind], row.cause, row.record_key),
                row.kind,
                row.cause,
                row.record_key or detail.get("record_key", ""),
                id="",
                state=detail.get("outcome", ""),
                detail=detail,
            )


def _of_subject(subject: Subject) -> list[ColumnElement[bool]]:
    """One range of an index for each flow."""
    if subject.cause:
        return [step.c.cause == subject.cause]
    numbers = {subject_of(flow, subject.entity, subject.source_id) for flow in subject.flows}
    return [step.c.subject == number for number in sorted(numbers)]


def _about(subject: Subject) -> ColumnElement[bool]:
    """The dead letters of its records; of a single cause those of the cause."""
    if subject.cause:
        return dead_letter.c.cause == subject.cause
    return dead_letter.c.record_key.in_(_record_keys(subject))


def _record_keys(subject: Subject) -> list[str]:
    return [record.record_key for record in subject.records if record.record_key != NO_RECORD]


def _letter_ids(subject: Subject) -> Subquery:
    return select(dead_letter.c.letter_id).where(_about(subject)).subquery()


def _letters(connection: Connection, subject: Subject, window: _Window) -> Iterator[Entry]:
    spot = (dead_letter.c.failed_at_ms, literal(_RANKS["dead_letter"]), dead_letter.c.letter_id, literal(""))
    for row in connection.execute(window.of(select(dead_letter).where(_about(subject)), spot)).mappings():
        yield Entry(
            Spot(row["failed_at_ms"], _RANKS["dead_letter"], row["letter_id"], ""),
            "dead_letter",
            row["cause"],
            row["record_key"],
            id=row["letter_id"],
            state=row["state"],
            detail={name: row[name] for name in _LETTER},
        )


def _replays(connection: Connection, subject: Subject, window: _Window) -> Iterator[Entry]:
    spot = (job.c.created_at_ms, literal(_RANKS["replay"]), job_item.c.cause, literal(""))
    query = (
        select(job_item, job.c.created_at_ms, job.c.value)
        .join(job, job.c.job_id == job_item.c.job_id)
        .where(job_item.c.letter_id.in_(select(_letter_ids(subject))))
    )
    for row in connection.execute(window.of(query, spot)):
        entry = ReplayJob.decode(row.value)
        yield Entry(
            Spot(row.created_at_ms, _RANKS["replay"], row.cause, ""),
            "replay",
            row.cause,
            row.record_key,
            id=row.job_id,
            state=row.state,
            detail={
                "letter": row.letter_id,
                "number": row.number,
                "why": row.why,
                "replay": entry.state,
                "dry_run": entry.dry_run,
                "actor": entry.actor,
                "reason": entry.reason,
            },
        )


def _acts(connection: Connection, subject: Subject, window: _Window) -> Iterator[Entry]:
    """On its letters, its records, and the replays that took it; how those began, the replay itself tells."""
    letters = select(_letter_ids(subject))
    jobs = select(job_item.c.job_id).where(job_item.c.letter_id.in_(letters))
    about = [act_target.c.target.in_(letters), act_target.c.target.in_(jobs)]
    if keys := _record_keys(subject):
        about.append(act_target.c.target.in_(keys))
    spot = (act.c.at_ms, literal(_RANKS["act"]), act.c.act_id, literal(""))
    ids = select(act_target.c.act_id).where(or_(*about))
    for row in connection.execute(
        window.of(select(act).where(act.c.act_id.in_(ids), act.c.act != "replay.create"), spot)
    ):
        entry = Act.decode(row.value)
        yield Entry(
            Spot(row.at_ms, _RANKS["act"], row.act_id, ""),
            "act",
            cause="",
            record_key="",
            id=row.act_id,
            state="",
            detail={
                "act": entry.act,
                "actor": entry.actor,
                "role": entry.role,
                "reason": entry.reason,
                "targets": len(entry.targets),
                **entry.detail,
            },
        )


def _drifts(connection: Connection, subject: Subject, window: _Window) -> Iterator[Entry]:
    """What was found changed in NetSuite."""
    spot = (drift.c.at_ms, literal(_RANKS["drift"]), drift.c.flow, drift.c.job_id)
    about = (
        drift.c.flow.in_(subject.flows), drift.c.entity == subject.entity, drift.c.source_id == subject.source_id,
    )  # fmt: skip
    if subject.cause or not subject.source_id:
        return
    for row in connection.execute(window.of(select(drift).where(*about), spot)):
        incident = incident_of(row)
        yield Entry(
            Spot(row.at_ms, _RANKS["drift"], row.flow, row.job_id),
            "drift",
            incident.asserted_by,
            incident.record_key,
            id=row.job_id,
            state=incident.state,
            detail=msgspec.to_builtins(incident.difference),
        )


# -- cursors -----------------------------------------------------------------------------------------------------------


def _write(spot: Spot) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(spot)).decode().rstrip("=")


def _read(cursor: str | None) -> Spot | None:
    if cursor is None:
        return None
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)), type=Spot)
    except (binascii.Error, ValueError, msgspec.DecodeError) as error:
        raise BadInput("cursor: not one of ours; take `older` or `newer` of the page before") from error
