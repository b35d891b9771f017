"""From a name or an id, in one step, to everything that ever happened to an object."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection

from ml_connector.admin.database import Database
from ml_connector.admin.explain import letter_id
from ml_connector.admin.fold import READ, fold
from ml_connector.admin.look.timeline import Query, find, timeline
from ml_connector.common import keys, topics
from ml_connector.common.errors import BadInput
from ml_connector.common.generation import Generation
from ml_connector.common.wire import ReplayItem, ReplayItems, ReplayJob, Standing
from support import admin_messages as m

DEAL = m.record_key("deal", "8")
LETTER = letter_id("1:a", DEAL)
TRACE = "0af7651916cd43dd8448eb211c80319c"


def messages() -> list[m.Given]:
    job = ReplayJob(
        job_id="j1",
        version=1,
        state="done",
        created_at_ms=m.START_MS + 30,
        changed_at_ms=m.START_MS + 40,
        actor="ann",
        reason="the currency is mapped now",
        selection={},
        total=1,
        issued=1,
    )
    items = ReplayItems(job_id="j1", first=0, items=(ReplayItem(LETTER, DEAL, m.ACCOUNT, 0, 0, 9),))
    stopped = Standing(state="suspended", reason="NetSuite refuses the credentials", at_ms=m.START_MS)
    replay: dict[str, Any] = {"at_ms": m.START_MS + 31, "generation": Generation(5, 9)}
    return [
        m.flow_version(),
        m.received("1:a", name="Big deal", trace=TRACE),
        m.resolved("1:a", generation=Generation(5)),
        m.letter("1:a", DEAL, generation=Generation(5), at_ms=m.START_MS + 2),
        m.outcome("1:a", "dead_lettered", generation=Generation(5), trace=TRACE),
        m.act("a1", "dead_letters.edit", LETTER, at_ms=m.START_MS + 20),
        m.act("a2", "replay.create", "j1", at_ms=m.START_MS + 30),
        m.act("a3", "replay.pause", "j1", at_ms=m.START_MS + 31),
        m.act("a4", "replay.pause", "j2", at_ms=m.START_MS + 31),
        (topics.JOBS, b"j1/items/0", items.encode(), {}),
        (topics.JOBS, b"j1", job.encode(), {}),
        m.resolved("rpl:j1:0", **replay),
        m.outcome("rpl:j1:0", generation=Generation(5, 9), at_ms=m.START_MS + 32, replay_of="1:a"),
        m.observed(generation=Generation(5, 9), internal_id="647"),
        m.received("1:o", "organization", "8", name="Acme GmbH", at_ms=m.START_MS + 50),
        m.received("1:p", "person", "9", name="Acme   gmbh & Co", at_ms=m.START_MS + 51),
        m.received("1:m", "", "", at_ms=m.START_MS + 60),
        m.outcome("1:m", "ignored", "activity", "77", at_ms=m.START_MS + 60),
        m.desired("1:w", generation=Generation(7)),
        (topics.OBSERVED, keys.account_key(m.ACCOUNT.lower()).encode(), stopped.encode(), {}),
        m.suspended(reason="the grant was revoked"),
    ]


@pytest.fixture(scope="module")
def connection(database: Database) -> Iterator[Connection]:
    put(database, messages())
    with database.read() as one:
        yield one


def put(database: Database, given: list[m.Given]) -> None:
    places = m.Places()
    with database.write() as connection:
        for one in given:
            fold(connection, next(topic for topic in READ if topic == one[0]), [places.put(one)])


def found(connection: Connection, query: Query) -> list[tuple[str, str]]:
    return [(one.entity, one.source_id) for one in find(connection, query)]


@pytest.mark.parametrize(
    ("text", "objects"),
    [
        ("Acme GmbH", [("organization", "8"), ("person", "9")]),
        ("\uff21CME \u00a0gmbh", [("organization", "8"), ("person", "9")]),
        ("acme gmbh &", [("person", "9")]),
        ("big", [("deal", "8")]),
        ("deal 8", [("deal", "8")]),
        ("organization/8", [("organization", "8")]),
        ("org:8", [("organization", "8")]),
        ("8", [("deal", "8"), ("organization", "8")]),
        ("647", [("deal", "8")]),
        ("pd-deal-8", [("deal", "8")]),
        ("PD-Deal-8", [("deal", "8")]),
        ("xx-deal-8", []),
        ("1:a", [("deal", "8")]),
        ("rpl:j1:0", [("deal", "8")]),
        (TRACE, [("deal", "8")]),
        (TRACE.upper(), [("deal", "8")]),
        (LETTER, [("deal", "8")]),
        ("1:m", [("", "")]),
        ("nobody", []),
        ("  ", []),
        ("%", []),
    ],
)
def test_what_a_person_types_leads_to_the_object(
    connection: Connection, text: str, objects: list[tuple[str, str]]
) -> None:
    assert sorted(found(connection, Query(text=text))) == sorted(objects)


@pytest.mark.parametrize(
    "query",
    [
        Query(entity="deal", source_id="8"),
        Query(netsuite_id="647"),
        Query(external_id="pd-deal-8"),
        Query(cause="1:a"),
        Query(trace=TRACE),
        Query(letter=LETTER),
        Query(name="Big Deal"),
    ],
)
def test_what_a_program_names_leads_to_the_object(connection: Connection, query: Query) -> None:
    assert found(connection, query) == [("deal", "8")]


def test_exact_name_stands_before_those_that_begin_so(connection: Connection) -> None:
    assert found(connection, Query(text="Acme GmbH")) == [("organization", "8"), ("person", "9")]


def test_object_comes_with_what_netsuite_holds_and_why_it_waits(connection: Connection) -> None:
    (deal,) = find(connection, Query(text="deal 8"))
    (record,) = deal.records

    assert deal.names == ("Big deal",)
    assert deal.flows == (m.FLOW,)
    assert (record.record_key, record.external_id, record.netsuite_id) == (DEAL, "pd-deal-8", "647")
    assert record.in_netsuite
    assert (record.outcome, record.generation, record.waiting, record.open_letters) == ("written", "5.9", 1, 0)
    assert record.stopped == ("NetSuite refuses the credentials", "the grant was revoked")


def test_timeline_is_in_order_with_everything(connection: Connection) -> None:
    (deal,) = find(connection, Query(text="deal 8"))

    page = timeline(connection, deal)

    assert [(entry.kind, entry.cause, entry.state) for entry in page.entries] == [
        ("received", "1:a", ""),
        ("resolved", "1:a", ""),
        ("outcome", "1:a", "dead_lettered"),
        ("dead_letter", "1:a", "resolved"),
        ("act", "", ""),
        ("replay", "rpl:j1:0", "written"),
        ("resolved", "rpl:j1:0", ""),
        ("act", "", ""),
        ("outcome", "rpl:j1:0", "written"),
    ]
    assert (page.older, page.newer) == (None, None)
    assert page.entries[0].detail["name"] == "Big deal"
    assert page.entries[3].id == LETTER
    assert page.entries[5].detail["reason"] == "the currency is mapped now"
    assert [entry.id for entry in page.entries if entry.kind == "act"] == ["a1", "a3"]


@pytest.mark.parametrize("limit", [1, 2, 3, 8, 9])
def test_pages_lead_to_the_oldest_entry_and_back(connection: Connection, limit: int) -> None:
    (deal,) = find(connection, Query(text="deal 8"))
    whole = timeline(connection, deal).entries

    pages = [timeline(connection, deal, limit=limit)]
    while pages[-1].older is not None:
        pages.append(timeline(connection, deal, before=pages[-1].older, limit=limit))
    back = [pages[-1]]
    while back[-1].newer is not None:
        back.append(timeline(connection, deal, after=back[-1].newer, limit=limit))

    assert [entry for page in reversed(pages) for entry in page.entries] == whole
    assert [entry for page in back for entry in page.entries] == whole


def test_event_that_concerns_no_object_has_a_timeline_of_its_own(connection: Connection) -> None:
    (event,) = find(connection, Query(text="1:m"))

    page = timeline(connection, event)

    assert [(entry.kind, entry.state) for entry in page.entries] == [("received", ""), ("outcome", "ignored")]


@pytest.mark.parametrize("cursor", ["x", "bnVsbA", "WzEsMl0", "é"])
def test_foreign_cursor_is_bad_input(connection: Connection, cursor: str) -> None:
    (deal,) = find(connection, Query(text="deal 8"))

    with pytest.raises(BadInput, match="cursor"):
        timeline(connection, deal, before=cursor)
