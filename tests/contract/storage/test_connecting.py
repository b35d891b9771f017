"""States of authorizations in SQL: each is good once and for ten minutes, whoever else answers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from ml_connector.admin.connect.states import KEPT_MS, LIFE_MS, Asked, Stale, put_state, take_state
from ml_connector.admin.database import Database
from ml_connector.admin.identity.roles import Actor, Role
from ml_connector.admin.tables import connecting

T0 = 1_700_000_000_000


def asked(company: str = "acme") -> Asked:
    by, token_url = Actor("anna", Role.admin), "https://oauth.pipedrive.com/oauth/token"
    return Asked(company, "sandbox", token_url, "https://ops.example.com/v1/pipedrive/callback", by, "because")


def put(database: Database, one: Asked, now_ms: int = T0) -> str:
    with database.write() as connection:
        return put_state(connection, one, now_ms)


def count(database: Database) -> int:
    with database.read() as connection:
        return connection.scalar(select(func.count()).select_from(connecting)) or 0


def test_state_gives_back_what_was_asked_for_and_is_nowhere_in_the_database(empty: Database) -> None:
    state = put(empty, asked())

    with empty.read() as connection:
        rows = repr(connection.execute(select(connecting)).all())
    assert len(state) == 43 and state not in rows
    assert take_state(empty, state, T0) == asked()


def test_of_many_who_answer_at_once_one_is_heard(empty: Database) -> None:
    state = put(empty, asked())

    with ThreadPoolExecutor(12) as pool:
        taken = list(pool.map(lambda _: take_state(empty, state, T0 + 1), range(24)))

    assert taken.count(asked()) == 1
    assert taken.count(Stale.used) == 23


@pytest.mark.parametrize(
    ("after_ms", "found"),
    [
        (LIFE_MS - 1, asked()),
        (LIFE_MS, Stale.expired),
        (LIFE_MS + KEPT_MS, Stale.expired),
        (LIFE_MS + KEPT_MS + 1, Stale.unknown),
    ],
)
def test_state_ends_after_ten_minutes_and_is_forgotten_an_hour_later(
    empty: Database, after_ms: int, found: object
) -> None:
    assert take_state(empty, put(empty, asked()), T0 + after_ms) == found


def test_rows_that_ended_long_ago_go(empty: Database) -> None:
    for number in range(5):
        put(empty, asked(), T0 + number)

    put(empty, asked(), T0 + LIFE_MS + KEPT_MS + 4)

    assert count(empty) == 2


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    steps=st.lists(
        st.one_of(
            st.just(("ask", 0)),
            st.tuples(st.just("answer"), st.integers(0, 5)),
            st.tuples(st.just("wait"), st.sampled_from([1, LIFE_MS // 2, LIFE_MS - 1, LIFE_MS, KEPT_MS])),
        ),
        max_size=20,
    )
)
def test_no_order_of_questions_answers_and_time_uses_one_twice_or_late(
    database: Database, steps: list[tuple[str, int]]
) -> None:
    now_ms, states, used = T0, list[tuple[str, int]](), set[int]()
    for what, number in steps:
        if what == "ask":
            states.append((put(database, asked(f"c{len(states)}"), now_ms), now_ms))
        elif what == "wait":
            now_ms += number
        elif number < len(states):
            found = take_state(database, states[number][0], now_ms)
            good = number not in used and now_ms - states[number][1] < LIFE_MS
            assert (found == asked(f"c{number}")) is good
            used |= {number} if good else set()
