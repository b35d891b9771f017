"""What pages and timers cost with thousands of accounts: statements and query plans, never the time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, insert

from ml_connector.admin.books import sums
from ml_connector.admin.database import Database
from ml_connector.admin.drift import look as drifts
from ml_connector.admin.flows.look import FlowLooks
from ml_connector.admin.flows.stops import Stop, read_stops_of, stops_of
from ml_connector.admin.fold.flows import put_active, put_versions
from ml_connector.admin.fold.reading import IN_ONE
from ml_connector.admin.look import find
from ml_connector.admin.look.letters import LetterFilter, page
from ml_connector.admin.schedule.due import judge, next_after, timing_of
from ml_connector.admin.schedule.keep import put_schedule
from ml_connector.admin.schedule.look import look_at
from ml_connector.admin.secrets import look as secrets
from ml_connector.admin.sync.known import outcomes_of
from ml_connector.admin.tables import flow, secret, standing
from ml_connector.admin.watch import Watch, oldest_unsettled
from ml_connector.common.clock import ManualClock
from ml_connector.common.flows import ActiveFlow, FlowVersion, parse_flow
from ml_connector.common.schedule_job import ScheduleEntry, Turn
from ml_connector.common.settings import Settings
from support.letters import T0_MS, new_database, put
from support.statements import asked, plans
from unit.admin.test_schedule_turns import _Kind, document

ALL_READ = {("pipedrive.events", 0): 9, ("pipedrive.deferred", 0): 9}


def version(name: str) -> FlowVersion:
    given = document() | {"flow": name, "pipedrive": {"company": name}, "netsuite": {"account": f"{name}_SB1"}}
    return FlowVersion(name, 1, given, T0_MS, "anna")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    one = new_database(tmp_path)
    with one.write() as connection:
        put_versions(connection, [version(f"f{number}") for number in range(40)])
        put_active(connection, [ActiveFlow(f"f{number}", 1, revision=1, paused=False) for number in range(40)])
    yield one
    one.close()


# -- query plans -------------------------------------------------------------------------------------------------------


def letters(**wanted: Any) -> Callable[[Connection], Any]:
    return lambda connection: page(connection, LetterFilter(**wanted), cursor=None, limit=50)


def changed(**wanted: Any) -> Callable[[Connection], Any]:
    return lambda connection: drifts.incidents(connection, drifts.Wanted(**wanted), limit=50, cursor=None)


def names(connection: Connection) -> Any:
    return find._names(connection, [find.Place("f1", "deal", str(number)) for number in range(50)])


def records(connection: Connection) -> Any:
    return find._records(connection, [find.Place("f1", "deal", "1")])


@pytest.mark.parametrize(
    ("look", "index"),
    [
        pytest.param(lambda c: sums(c, ALL_READ, now_ms=0), "waiting USING INDEX waiting_of_cause", id="sum-waiting"),
        pytest.param(lambda c: sums(c, ALL_READ, now_ms=0), "parked USING INDEX parked_of_cause", id="sum-aside"),
        pytest.param(
            lambda c: sums(c, ALL_READ, now_ms=0), "outcome USING INDEX sqlite_autoindex_outcome_1 (cause=?", id="sum-open"
        ),
        pytest.param(
            lambda c: oldest_unsettled(c, ALL_READ), "accepted USING INDEX sqlite_autoindex_accepted_1 (cause=?", id="oldest"
        ),
        pytest.param(letters(flow="f1"), "letters_of_flow (flow=? AND state=?)", id="letters-of-flow"),
        pytest.param(letters(account="f1_SB1"), "letters_of_account (account=? AND state=?)", id="letters-of-account"),
        pytest.param(records, "letters_of_record_by_state (record_key=? AND state=?)", id="letters-of-record"),
        pytest.param(
            lambda c: outcomes_of(c, "0" * 12), "letters_of_record_by_state (record_key=? AND state=?)", id="outcomes"
        ),
        pytest.param(changed(), "drift USING INDEX drift_of_all", id="drift"),
        pytest.param(changed(state="open"), "drift USING INDEX drift_by_end (ended_at_ms=? AND did=?)", id="drift-open"),
        pytest.param(names, "named USING INDEX name_of_object (company=? AND entity=? AND source_id=?)", id="names"),
    ],
)  # fmt: skip
def test_look_goes_by_an_index(database: Database, look: Callable[[Connection], Any], index: str) -> None:
    with asked(database) as statements, database.read() as connection:
        look(connection)

    assert index in " | ".join(plans(database, statements))


@pytest.mark.parametrize("table", ["accepted", "waiting USING INDEX", "named", "parked"])
def test_timer_and_names_read_no_table_whole(database: Database, table: str) -> None:
    with asked(database) as statements, database.read() as connection:
        oldest_unsettled(connection, ALL_READ)
        names(connection)

    assert not [line for line in plans(database, statements) if line.startswith(f"SCAN {table}")]


def test_gauge_of_open_letters_reads_no_letter(database: Database) -> None:
    settings = Settings(kafka_bootstrap_servers="nowhere:1")
    watch = Watch(settings, database, None, ManualClock())  # type: ignore[arg-type]  # of no use here
    with asked(database) as statements:
        watch._look()

    of_letters = [one for one in statements if "dead_letter" in one[0]]
    assert plans(database, of_letters) == ["SEARCH dead_letter USING COVERING INDEX letters_by_stage (state=?)"]


# -- statements --------------------------------------------------------------------------------------------------------


def test_schedules_of_all_flows_ask_each_kind_once_for_the_last_job_of_each(database: Database) -> None:
    turns = tuple(Turn(number, number, "started", job_id=f"j{number}") for number in range(20))
    with database.write() as connection:
        for number in range(40):
            put_schedule(connection, ScheduleEntry(f"f{number}", "sync", 1, "0 3 * * *", "UTC", 0, T0_MS, turns))
    kind = _Kind()

    with asked(database) as statements, database.read() as connection:
        found = look_at(connection, {"sync": kind}, None, T0_MS)
        look_at(connection, {"sync": kind}, "f1", T0_MS)

    assert len(found) == 40 and found[0].states == {"j19": "done"}
    assert kind.asked == [(None, ["j19"]), ("f1", sorted(f"j{number}" for number in range(20)))]
    assert len(statements) == 5


def test_what_is_not_due_yet_is_known_from_the_look_before() -> None:
    """Each look at another moment; a cron expression is not read again for it."""
    timing = timing_of(parse_flow(document(sync="0 3 * * *")), "sync")
    assert timing is not None
    kept = ScheduleEntry("acme", "sync", 1, timing.cron, timing.time_zone, timing.jitter_s, T0_MS)
    after_ms = [T0_MS + 3_600_000 + 1_000 * number for number in range(100)]
    before = next_after.cache_info().misses

    assert [judge(timing, kept, now_ms) for now_ms in after_ms] == [None] * 100
    assert next_after.cache_info().misses - before <= 1


def test_versions_of_flows_that_nobody_waits_for_cost_a_handful_of_statements(database: Database) -> None:
    with asked(database) as statements, database.write() as connection:
        put_versions(connection, [version(f"g{number}") for number in range(300)])

    assert len(statements) <= 5


def test_object_is_looked_for_in_all_flows_with_few_values_a_statement(database: Database) -> None:
    """PostgreSQL takes 65,535 of one statement, and each flow asks for three records."""
    rows = [{"flow": f"g{n}", "company": f"c{n}", "account": f"{n}", "prefix": "pd"} for n in range(300)]
    with database.write() as connection:
        connection.execute(insert(flow), rows)

    with asked(database) as statements, database.read() as connection:
        assert find.find(connection, find.Query(source_id="7")) == []

    assert max(len(parameters) for _, parameters in statements) <= IN_ONE


# -- what is done for each flow ----------------------------------------------------------------------------------------


class _Unread(dict[str, Stop]):
    def __iter__(self) -> Iterator[str]:
        raise AssertionError("all stops are read for one flow")


def test_flow_finds_its_stops_without_reading_those_of_others(database: Database) -> None:
    subjects = ("account/f1_sb1", "flow/f2", "company/f1", "company/f2")
    put(database, standing, *({"key": one, "state": "suspended", "reason": "401", "at_ms": 1} for one in subjects))
    known = version("f1")

    with asked(database) as statements, database.read() as connection:
        read = read_stops_of(connection, known)
    stops = _Unread({stop.subject: stop for stop in FlowLooks(database).stops()})

    assert [stop.subject for stop in read] == ["account/f1_sb1", "company/f1"]
    assert stops_of(known, stops) == read
    assert "standing USING INDEX" in plans(database, statements)[0]


class _Keys(frozenset[str]):
    def __contains__(self, _: object) -> bool:
        raise AssertionError("each credential is looked for in each flow")


def test_credentials_find_their_flows_at_once(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = {"environment": "sandbox", "version": 1, "kek": "k1", "value": b"{}"}
    rows = [{"key": f"pipedrive/f{n}/api-token", "owner": f"pipedrive/f{n}", "name": "api-token"} for n in (1, 2)]
    put(database, secret, *({**row, **facts} for row in rows))
    use_of = secrets.use_of
    monkeypatch.setattr(secrets, "use_of", lambda known: use_of(known)._replace(keys=_Keys(use_of(known).keys)))

    assert [one.used_by for one in secrets.SecretLooks(database).all()] == [("f1",), ("f2",)]
