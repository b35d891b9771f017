"""/records and /timeline: from whatever an operator knows of a record to everything that ever happened to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query

from ml_connector.admin.api import record_models as m
from ml_connector.admin.api.dead_letters import behind
from ml_connector.admin.api.models import at
from ml_connector.admin.api.problems import Ambiguous, Detail, answers
from ml_connector.admin.api.services import Given, Viewer
from ml_connector.admin.fold.audit import fold_name
from ml_connector.admin.look import find as look
from ml_connector.admin.look.timeline import Entry, timeline
from ml_connector.admin.replay.control import NotFound

router = APIRouter(tags=["records"])

_SHORT = {"organization": "org"}


@router.get("/records", responses=answers())
def list_records(given: Given, _: Viewer, query: Annotated[m.RecordQuery, Query()]) -> m.Records:
    """Which objects of Pipedrive are meant, and what NetSuite is known to hold of them; the likeliest first."""
    with given.database.read() as connection:
        found = look.find(connection, _query(query))
    return m.Records(records=[_subject(one) for one in found], behind=behind(given))


@router.get("/timeline", responses=answers(404, 409))
def show_timeline(given: Given, _: Viewer, query: Annotated[m.TimelineQuery, Query()]) -> m.Timeline:
    """Every event, resolution, outcome, dead letter, replay and act of one object, oldest first.

    Without a cursor the newest page. Several objects that are meant: 409, and `details` says how to call each.
    """
    with given.database.read() as connection:
        subject = _one(query, look.find(connection, _query(query)))
        page = timeline(connection, subject, before=query.before, after=query.after, limit=query.limit)
    return m.Timeline(
        subject=_subject(subject),
        entries=[_entry(entry) for entry in page.entries],
        older=page.older,
        newer=page.newer,
        behind=behind(given),
    )


def _query(query: m.RecordQuery) -> look.Query:
    return look.Query(
        text=query.q or "",
        entity=query.entity or "",
        source_id=query.source_id or "",
        netsuite_id=query.netsuite_id or "",
        external_id=query.external_id or "",
        cause=query.cause or "",
        trace=query.trace or "",
        letter=query.letter or "",
    )


def _one(query: m.RecordQuery, found: Sequence[look.Subject]) -> look.Subject:
    """Raises NotFound, Ambiguous. Who is called exactly so comes before those whose names only begin so."""
    if not found:
        raise NotFound("nothing is known of it")
    if len(found) == 1:
        return found[0]
    name = fold_name(query.q or "")
    exact = [one for one in found if name in map(fold_name, one.names)]
    if len(exact) == 1:
        return exact[0]
    calls = Counter(_call(one) for one in found)
    details = [
        Detail(path=_call(one) if calls[_call(one)] == 1 else _external_id(one), problem=_words(one)) for one in found
    ]
    raise Ambiguous(f"{len(found)} objects are meant", details)


def _call(subject: look.Subject) -> str:
    """What finds this object: `org 5`."""
    return subject.cause or f"{_SHORT.get(subject.entity, subject.entity)} {subject.source_id}"


def _external_id(subject: look.Subject) -> str:
    return next((record.external_id for record in subject.records), _call(subject))


def _words(subject: look.Subject) -> str:
    name = f'"{subject.names[0]}", ' if subject.names else ""
    return f"{name}company {subject.company}"


def _subject(subject: look.Subject) -> m.Subject:
    return m.Subject(
        company=subject.company,
        entity=subject.entity,
        source_id=subject.source_id,
        name=next(iter(subject.names), ""),
        earlier_names=list(subject.names[1:]),
        flows=list(subject.flows),
        cause=subject.cause,
        records=[
            m.Record(
                flow=one.flow,
                account=one.account,
                record_key=one.record_key,
                external_id=one.external_id,
                netsuite_id=one.netsuite_id,
                outcome=one.outcome,
                settled_at=at(one.settled_at_ms),
                settled_by=one.settled_by,
                waiting=one.waiting,
                open_letters=one.open_letters,
                stopped=list(one.stopped),
            )
            for one in subject.records
        ],
    )


def _entry(entry: Entry) -> m.Entry:
    return m.Entry(
        at=at(entry.at_ms),
        kind=entry.kind,
        cause=entry.cause,
        record_key=entry.record_key,
        id=entry.id,
        state=entry.state,
        entry=msgspec.to_builtins(entry.detail),
    )
