"""What single messages make of the tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, Table, event, select, update
from structlog.testing import capture_logs

from ml_connector.admin.database import Database
from ml_connector.admin.explain import letter_id
from ml_connector.admin.fold import READ, fold
from ml_connector.admin.fold.audit import StepKey, fold_name
from ml_connector.admin.tables import (
    accepted,
    act,
    act_target,
    active_flow,
    cause,
    dead_letter,
    discarded,
    flow,
    flow_version,
    job_item,
    metadata,
    named,
    newest,
    observed,
    outcome,
    parked,
    secret,
    standing,
    step,
    waiting,
)
from ml_connector.common import keys, topics
from ml_connector.common.comparing import Compared, compared_key
from ml_connector.common.generation import Generation
from ml_connector.common.wire import Attempt, ReplayItem, ReplayItems, ReplayJob, Standing
from support import admin_messages as m

DEAL = m.record_key("deal", "8")


class Tables:
    """What is folded, one message after the other unless `together`."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._places = m.Places()

    def fold(self, *given: m.Given, partition: int = 0) -> None:
        for one in given:
            self.together(one, partition=partition)

    def together(self, *given: m.Given, partition: int = 0) -> None:
        topic = next(topic for topic in READ if topic == given[0][0])
        fold(self.connection, topic, [self._places.put(one, partition) for one in given])

    def rows(self, table: Table, *names: str) -> list[Any]:
        found = self.connection.execute(select(*(table.c[name] for name in names))).all()
        return sorted(row[0] if len(names) == 1 else tuple(row) for row in found)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    one = Database(f"sqlite:///{tmp_path_factory.mktemp('admin')}/admin.sqlite")
    metadata.create_all(one.engine)
    yield one
    one.close()


@pytest.fixture
def tables(database: Database) -> Iterator[Tables]:
    """Rolled back."""
    with database.engine.connect() as connection:
        yield Tables(connection)


def state_of(tables: Tables, cause_: str, record: str = DEAL) -> tuple[Any, ...]:
    row = tables.connection.execute(
        select(dead_letter.c.state, dead_letter.c.resolution, dead_letter.c.resolved_by).where(
            dead_letter.c.letter_id == letter_id(cause_, record)
        )
    ).one()
    return tuple(row)


def failed(cause_: str, revision: int = 0, source_version: int = 5) -> list[m.Given]:
    generation = Generation(source_version, revision)
    return [m.letter(cause_, DEAL, generation=generation), m.outcome(cause_, "dead_lettered", generation=generation)]


# -- dead letters ------------------------------------------------------------------------------------------------------


def test_letter_is_open_while_nothing_newer_has_an_outcome(tables: Tables) -> None:
    tables.fold(*failed("1:a"), m.outcome("1:z", generation=Generation(4)))

    assert state_of(tables, "1:a") == ("open", "", "")


@pytest.mark.parametrize("kind", ["written", "ignored", "dead_lettered"])
def test_newer_state_ends_it_whatever_became_of_it(tables: Tables, kind: Any) -> None:
    tables.fold(*failed("1:a"), m.outcome("1:b", kind, generation=Generation(6)))

    assert state_of(tables, "1:a") == ("resolved", kind, "1:b")


def test_superseded_state_ends_nothing_by_itself(tables: Tables) -> None:
    tables.fold(*failed("1:a"), m.outcome("1:b", "superseded", generation=Generation(6)))

    assert state_of(tables, "1:a")[0] == "open"


def test_equal_state_ends_it_only_if_it_was_settled(tables: Tables) -> None:
    tables.fold(*failed("1:a"), m.outcome("1:b", "written", generation=Generation(5), at_ms=m.START_MS + 9))

    assert state_of(tables, "1:a") == ("resolved", "written", "1:b")


def test_replay_that_fails_again_leaves_one_open_letter(tables: Tables) -> None:
    tables.fold(*failed("1:a"), *failed("rpl:j:0", revision=9))

    assert state_of(tables, "1:a") == ("resolved", "dead_lettered", "rpl:j:0")
    assert state_of(tables, "rpl:j:0")[0] == "open"


def test_letter_without_a_record_ends_with_the_outcome_of_its_replay(tables: Tables) -> None:
    """An edited copy may lead to a record; what could not be decoded had none."""
    tables.fold(
        m.letter("raw:1"),
        m.outcome("raw:1", "dead_lettered", "", ""),
        m.outcome("rpl:j:0", "written", generation=Generation(5, 1), replay_of="raw:1"),
    )

    assert state_of(tables, "raw:1", "-") == ("resolved", "written", "rpl:j:0")


@pytest.mark.parametrize("letter_first", [True, False])
def test_discarded_letter_stays_so_until_it_is_resolved(tables: Tables, letter_first: bool) -> None:
    said = m.act("a1", "dead_letters.discard", letter_id("1:a", DEAL))
    tables.fold(*([*failed("1:a"), said] if letter_first else [said, *failed("1:a")]))
    assert state_of(tables, "1:a")[0] == "discarded"

    tables.fold(m.outcome("1:b", generation=Generation(6)))
    assert state_of(tables, "1:a")[0] == "resolved"


def test_letter_says_what_failed_and_where_its_bytes_are(tables: Tables) -> None:
    tables.fold(m.letter("1:a", DEAL, generation=Generation(5, 2), attempts=3, request=b"{}", response=b"{}"))

    row = tables.connection.execute(select(dead_letter)).mappings().one()
    told = {
        name: row[name] for name in ("entity", "source_id", "field", "flow", "source_version", "revision", "attempts")
    }
    assert told == {
        "entity": "deal",
        "source_id": "8",
        "field": "Subsidiary",
        "flow": m.FLOW,
        "source_version": 5,
        "revision": 2,
        "attempts": 3,
    }
    assert row["expires_at_ms"] == m.START_MS + 90 * topics.DAY_MS
    assert (row["topic_partition"], row["topic_offset"], row["size_bytes"]) == (0, 0, len(b'{"meta":{}}'))


def test_letter_that_was_written_twice_is_one_at_the_later_place(tables: Tables) -> None:
    tables.fold(*[m.letter("1:a", DEAL, generation=Generation(5))] * 2)

    assert tables.rows(dead_letter, "topic_offset") == [1]


# -- audit -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (keys.received_key("1:a"), StepKey("1:a", "received", "")),
        (keys.resolved_key("1:a"), StepKey("1:a", "resolved", "")),
        (keys.outcome_key("1:a", DEAL), StepKey("1:a", "outcome", DEAL)),
        (keys.outcome_key("1:a", "-"), StepKey("1:a", "outcome", "-")),
        ("1:a/else", None),
        ("1:a", None),
        ("1:a/outcome", None),
        ("", None),
    ],
)
def test_keys_of_the_audit_are_taken_apart(text: str, key: StepKey | None) -> None:
    assert StepKey.parse(text) == key


def test_cause_is_told_by_all_its_entries_together(tables: Tables) -> None:
    tables.fold(
        m.received("1:a", trace="t1"),
        m.resolved("1:a", generation=Generation(5)),
        m.outcome("1:a", generation=Generation(5)),
    )

    row = tables.connection.execute(select(cause)).mappings().one()
    assert (row["record_key"], row["external_id"], row["trace"], row["source_id"]) == (DEAL, "pd-deal-8", "t1", "8")
    assert row["received_at_ms"] == m.START_MS


def test_names_are_found_in_any_form(tables: Tables) -> None:
    assert fold_name("  \uff21CME\u00a0 Stra\u00dfe ") == fold_name("acme STRASSE") == "acme strasse"


def test_newest_state_is_that_of_the_greatest_generation(tables: Tables) -> None:
    tables.together(
        m.outcome("1:b", "dead_lettered", generation=Generation(6, 1)),
        m.outcome("1:a", generation=Generation(5, 9)),
        m.outcome("1:c", "superseded", generation=Generation(7)),
        m.outcome("1:d", "ignored"),
    )

    assert tables.rows(newest, "record_key", "source_version", "cause") == [(DEAL, 6, "1:b")]
    assert len(tables.rows(outcome, "cause")) == 4


def test_erasure_takes_the_entries_and_what_followed_from_them(tables: Tables) -> None:
    first = [
        m.received("1:a", name="Ann"),
        m.resolved("1:a", generation=Generation(5)),
        m.outcome("1:a", generation=Generation(5)),
    ]
    second = [m.received("1:b", name="Anna"), m.outcome("1:b", generation=Generation(6))]
    tables.fold(*first, *second)

    tables.together(*map(m.erased, second))
    assert tables.rows(named, "name") == ["Ann"]
    assert tables.rows(newest, "cause") == ["1:a"]

    tables.together(*map(m.erased, first))
    assert [tables.rows(table, *table.c.keys()) for table in (step, cause, outcome, named, newest)] == [[]] * 5


def test_erased_outcome_opens_the_letter_that_it_had_resolved(tables: Tables) -> None:
    later = m.outcome("1:b", generation=Generation(6))
    tables.fold(*failed("1:a"), later)
    tables.fold(m.erased(later))

    assert state_of(tables, "1:a") == ("open", "", "")


def test_act_names_its_targets_and_can_be_erased(tables: Tables) -> None:
    said = m.act("a1", "dead_letters.discard", "l1", "l2")
    tables.fold(said)
    assert tables.rows(act, "act_id", "actor", "act") == [("a1", "ann", "dead_letters.discard")]
    assert tables.rows(act_target, "target") == tables.rows(discarded, "letter_id") == ["l1", "l2"]

    tables.fold(m.erased(said))
    assert [tables.rows(table, *table.c.keys()) for table in (act, act_target, discarded)] == [[]] * 3


@pytest.mark.parametrize(
    "unreadable",
    [
        (topics.AUDIT, b"1:a/received", b"{", {}),
        (topics.AUDIT, b"1:a/received", b'{"v":9}', {}),
        (topics.AUDIT, b"1:a/else", b"{}", {}),
        (topics.AUDIT, b"act/1", b'{"v":1,"act":"unheard of"}', {}),
        (topics.AUDIT, b"\xff\xfe", None, {}),
        (topics.DEAD_LETTERS, b"k", None, {}),
        (topics.OBSERVED, b"1/customer/pd-org-1", b"[]", {}),
        (topics.DESIRED, b"no key", m.desired("1:a", generation=Generation(1))[2], {}),
        (topics.JOBS, b"j1", b"\xff", {}),
        (topics.SECRETS, b"flow/f/webhook-hmac", b"{", {}),
        (topics.SECRETS, b"flow/other/webhook-hmac", m.secret()[2], {}),
        (topics.FLOWS, b"f/v1", b"{", {}),
        (topics.FLOWS, b"other/v1", m.flow_version()[2], {}),
        (topics.FLOWS, b"other", m.active_flow()[2], {}),
        (topics.FLOWS, b"f/v1", b'{"v":1,"flow":"f","version":1,"document":{},"applied_at_ms":1,"applied_by":"x"}', {}),
    ],
)
def test_what_cannot_be_read_is_left_out_alone(tables: Tables, unreadable: m.Given) -> None:
    good = {
        topics.AUDIT: (m.received("1:b"), cause),
        topics.DEAD_LETTERS: (m.letter("1:b"), dead_letter),
        topics.OBSERVED: (m.observed(generation=Generation(1), internal_id="7"), observed),
        topics.DESIRED: (m.desired("1:b", generation=Generation(1)), waiting),
        topics.SECRETS: (m.secret(), secret),
        topics.FLOWS: (m.flow_version(), flow),
    }
    given, table = good.get(unreadable[0], (unreadable, cause))
    tables.together(unreadable, given)

    assert len(tables.rows(table, table.c.keys()[0])) == (0 if given is unreadable else 1)


def test_comparison_is_of_no_cause_and_refused_by_nobody(tables: Tables) -> None:
    told = Compared(
        job_id="j1", flow=m.FLOW, account=m.ACCOUNT, entity="deal", page=1, part=1, parts=1, at_ms=1, records=1, equal=1
    )

    with capture_logs() as logs:
        tables.fold((topics.AUDIT, compared_key(told).encode(), told.encode(), {}))

    assert logs == []
    assert tables.rows(cause, "cause") == tables.rows(step, "cause") == tables.rows(accepted, "cause") == []


# -- work --------------------------------------------------------------------------------------------------------------


def test_delivery_is_counted_once_however_often_it_is_read(tables: Tables) -> None:
    places = m.Places()
    records = [places.put(m.event("1", "a")) for _ in range(3)]
    for batch in (records, records[1:], records):
        fold(tables.connection, topics.EVENTS, batch)

    assert tables.rows(accepted, "cause", "account", "deliveries", "topic_offset") == [("1:a", m.ACCOUNT, 3, 2)]


@pytest.mark.parametrize("flow_first", [True, False])
def test_hydrate_belongs_to_the_account_of_its_flow(tables: Tables, flow_first: bool) -> None:
    messages = [m.hydrate("r1"), m.deferred(m.hydrate("r1"))]
    tables.fold(*([m.flow_version(), *messages] if flow_first else [*messages, m.flow_version()]))

    assert tables.rows(accepted, "cause", "account", "topic") == [("hyd:r1", m.ACCOUNT, "pipedrive.requests")]
    assert tables.rows(parked, "cause", "account") == [("hyd:r1", m.ACCOUNT)]


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[]", b'{"meta":1}', b'{"meta":{}}', b"[" * 100_000])
def test_body_that_names_no_event_is_its_own_cause_in_each_account(tables: Tables, body: bytes) -> None:
    for account in ("1", "2"):
        tables.fold((topics.EVENTS, b"c", body, {"account": account.encode()}))

    found = tables.rows(accepted, "account", "cause")
    assert [account for account, _ in found] == ["1", "2"]
    assert all(name.startswith("raw:") and len(name) == 36 for _, name in found)


def test_replay_says_its_cause_and_preview_is_no_work(tables: Tables) -> None:
    tables.fold(
        (topics.EVENTS, b"c", b"{}", {"cause": b"rpl:j:0", "account": b"1"}),
        (topics.PIPEDRIVE_REQUESTS, b"c", b"{}", {"cause": b"rpl:j:1", "account": b"1", "request-id": b"r"}),
    )

    assert tables.rows(accepted, "cause") == ["rpl:j:0"]


@pytest.mark.parametrize("received_first", [True, False])
def test_object_of_a_sync_is_accepted_once_and_its_page_is_no_work(tables: Tables, *, received_first: bool) -> None:
    """It may be settled before the audit tells that it was read."""
    page = (topics.PIPEDRIVE_REQUESTS, b"c", b"{}", {"kind": b"sync"})
    place: dict[str, Any] = {"topic": "pipedrive.requests", "partition": 2, "offset": 7}
    told = [m.received("syn:j:deal:8", **place), m.outcome("syn:j:deal:8", generation=Generation(5))]

    tables.fold(page, m.deferred(page), *(told if received_first else reversed(told)), told[0])

    found = tables.rows(accepted, "cause", "account", "topic", "topic_partition", "topic_offset", "deliveries")
    assert found == [("syn:j:deal:8", m.ACCOUNT, "pipedrive.requests", 2, 7, 1)]
    assert tables.rows(parked, "cause") == []


def test_live_keys_wait_until_their_tombstone(tables: Tables) -> None:
    tables.fold(m.desired("1:a", generation=Generation(1)), m.desired("1:b", generation=Generation(2)))
    tables.fold(m.erased(m.desired("1:a", generation=Generation(1))))

    assert tables.rows(waiting, "cause", "record_key", "lane") == [("1:b", DEAL, "live")]


def test_observed_topic_tells_of_records_and_of_what_is_stopped(tables: Tables) -> None:
    stop: m.Given = (topics.OBSERVED, b"flow/f", Standing(state="halted", reason="many alike", at_ms=1).encode(), {})
    attempt = Attempt(
        record_key=DEAL,
        flow="f",
        entity="deal",
        source_id="8",
        company="c",
        generation=Generation(1),
        at_ms=1,
        owner="o",
    )
    tables.together(
        m.observed(generation=Generation(5, 1), internal_id="647"),
        stop,
        (topics.OBSERVED, keys.attempt_key(DEAL).encode(), attempt.encode(), {}),
        (topics.OBSERVED, b"job/x", b"?", {}),
    )
    assert tables.rows(observed, "record_key", "internal_id", "account") == [(DEAL, "647", m.ACCOUNT.lower())]
    assert tables.rows(standing, "key", "state") == [("flow/f", "halted")]

    tables.together(m.erased(stop), m.erased(m.observed(generation=Generation(1), internal_id=None)))
    assert tables.rows(observed, "record_key") == tables.rows(standing, "key") == []


def test_state_topic_tells_which_companies_are_stopped_and_nothing_else(tables: Tables) -> None:
    others: list[m.Given] = [
        (topics.STATE, key, b"?", {}) for key in (b"acme/stages", b"acme/definitions/deal", b"acme", b"standing")
    ]
    tables.together(m.suspended("acme", "revoked"), m.suspended("other", "401", at_ms=7), *others)
    assert tables.rows(standing, "key", "state", "reason", "at_ms") == [
        ("company/acme", "suspended", "revoked", m.START_MS),
        ("company/other", "suspended", "401", 7),
    ]

    unreadable: m.Given = (topics.STATE, b"other/standing", b"?", {})
    tables.together(m.suspended("acme", "401"), m.erased(m.suspended("acme")), unreadable)
    assert tables.rows(standing, "key", "reason") == [("company/other", "401")]


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)])
def test_items_of_a_replay_end_as_their_causes_do(tables: Tables, order: tuple[int, ...]) -> None:
    items = ReplayItems(
        job_id="j",
        first=0,
        items=tuple(ReplayItem(f"l{n}", DEAL, "1", 0, 0, 9, "discarded" if n == 3 else "") for n in range(4)),
    )
    job = ReplayJob(
        job_id="j",
        version=2,
        state="cancelled",
        created_at_ms=1,
        changed_at_ms=2,
        actor="ann",
        reason="x",
        selection={},
        total=4,
        issued=2,
    )
    messages = [
        (topics.JOBS, b"j/items/0", items.encode(), {}),
        (topics.JOBS, b"j", job.encode(), {}),
        m.outcome("rpl:j:0", "superseded", generation=Generation(5, 9)),
    ]
    tables.fold(*(messages[n] for n in order))

    assert tables.rows(job_item, "number", "state") == [
        (0, "superseded"),
        (1, "issued"),
        (2, "cancelled"),
        (3, "skipped"),
    ]


# -- flows -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("messages", "active"),
    [
        ([m.active_flow(revision=1), m.active_flow(version=2, revision=2)], [(2, 2, False)]),
        ([m.active_flow(version=2, revision=2), m.active_flow(revision=1)], [(2, 2, False)]),
        ([m.active_flow(revision=1), m.active_flow(revision=1, paused=True)], [(1, 1, True)]),
        ([m.active_flow(revision=2), m.erased(m.active_flow())], []),
    ],
)
def test_of_two_entries_of_a_flow_the_higher_revision_counts(
    tables: Tables, messages: list[m.Given], active: list[tuple[int, int, bool]]
) -> None:
    tables.fold(*messages)

    assert tables.rows(active_flow, "version", "revision", "paused") == active


def test_versions_of_a_flow_are_kept_as_they_were_applied(tables: Tables) -> None:
    tables.fold(m.flow_version(version=1), m.flow_version(version=2), m.erased(m.flow_version(version=1)))

    kept = m.flow_version(version=2)
    assert tables.rows(flow_version, "flow", "version", "applied_by", "value") == [(m.FLOW, 2, "somebody", kept[2])]
    assert tables.rows(flow, "flow", "company") == [(m.FLOW, m.COMPANY)]


# -- secrets -----------------------------------------------------------------------------------------------------------


def test_secret_is_kept_as_it_was_encrypted(tables: Tables) -> None:
    tables.fold(m.secret(version=3))

    told = tables.rows(secret, "key", "owner", "name", "environment", "version", "kek", "value")
    name = "webhook-hmac"
    assert told == [(f"flow/{m.FLOW}/{name}", f"flow/{m.FLOW}", name, "sandbox", 3, "k1", m.secret(version=3)[2])]


@pytest.mark.parametrize(
    ("messages", "kept"),
    [
        ([m.secret(version=1), m.secret(version=2)], [(2, "k1")]),
        ([m.secret(version=2), m.secret(version=1)], [(2, "k1")]),
        ([m.secret(version=2), m.secret(version=2, kek="k2")], [(2, "k2")]),
        ([m.secret(version=2), m.erased(m.secret())], []),
        ([m.secret(version=2), m.erased(m.secret()), m.secret(version=1)], [(1, "k1")]),
    ],
)
@pytest.mark.parametrize("together", [True, False])
def test_newest_version_of_a_secret_stays(
    tables: Tables, messages: list[m.Given], kept: list[tuple[int, str]], together: bool
) -> None:
    if together and messages[-1] != m.secret(version=1):
        tables.together(*messages)
    else:
        tables.fold(*messages)

    assert tables.rows(secret, "version", "kek") == kept


def test_secret_deleted_here_does_not_come_back_by_its_own_message(tables: Tables) -> None:
    tables.fold(m.secret(version=2))
    tables.connection.execute(update(secret).values(value=None))

    tables.fold(m.secret(version=2))
    assert tables.rows(secret, "value") == [None]

    tables.fold(m.erased(m.secret()))
    assert tables.rows(secret, "version") == []


# -- cost --------------------------------------------------------------------------------------------------------------


def test_batch_costs_a_handful_of_statements(tables: Tables) -> None:
    statements: list[str] = []
    event.listen(tables.connection, "before_cursor_execute", lambda *given: statements.append(given[2]))
    tables.together(
        *(
            message
            for n in range(1, 301)
            for message in (
                m.received(f"1:{n}", source_id=str(n), name=f"n{n}"),
                m.resolved(f"1:{n}", source_id=str(n), generation=Generation(5)),
                m.outcome(f"1:{n}", source_id=str(n), generation=Generation(5)),
            )
        )
    )

    assert len(tables.rows(step, "cause")) == 900
    assert len(statements) <= 8
