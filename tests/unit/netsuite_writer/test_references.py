"""Look-ups of what a record refers to: in bulk, kept, and asked again on a miss at most once a minute."""

from __future__ import annotations

import asyncio
import re
from typing import Any, Final

import pytest

from ml_connector.common.clock import ManualClock
from ml_connector.common.wire import Reference
from ml_connector.netsuite_writer.references import FRESH_S, LOOK_AGAIN_S, MOST_ROWS, References, Unknown
from ml_connector.netsuite_writer.settle import Answer

EUR: Final = {"currency": Reference("currency", "EUR")}
_ASKED: Final = re.compile(r"SELECT .* FROM (\w+) WHERE id > (\d+) ORDER BY id\Z")


class FakeQueries:
    """Tables by name; every question is kept."""

    def __init__(self, **tables: list[dict[str, Any]]) -> None:
        self.tables = tables
        self.asked: list[str] = []
        self.answer = Answer(200)

    async def query(self, suiteql: str) -> tuple[Answer, list[dict[str, Any]]]:
        asked = _ASKED.match(suiteql)
        assert asked is not None, suiteql
        self.asked.append(asked[1])
        await asyncio.sleep(0)
        after = [row for row in self.tables[asked[1]] if int(row["id"]) > int(asked[2])]
        return self.answer, after[:MOST_ROWS] if self.answer.status == 200 else []


def one_account(**tables: list[dict[str, Any]]) -> tuple[References, FakeQueries, ManualClock]:
    queries, clock = FakeQueries(**tables), ManualClock()
    return References(queries, clock), queries, clock


def currencies() -> list[dict[str, Any]]:
    return [{"id": "1", "symbol": "USD", "name": "US Dollar"}, {"id": "4", "symbol": "EUR", "name": "Euro"}]


@pytest.mark.parametrize(
    ("reference", "internal_id"),
    [
        (Reference("currency", "EUR"), "4"),
        (Reference("currency", "eur"), "4"),
        (Reference("currency", "US Dollar"), "1"),
        (Reference("subsidiary", "Europe"), "2"),
        (Reference("subsidiary", "17"), "17"),  # an id already
        (Reference("employee", "Sam.Seller@example.com"), "5"),
        (Reference("status", "13"), "13"),
        (Reference("id", "99"), "99"),
    ],
)
async def test_each_kind_is_found_by_its_name(reference: Reference, internal_id: str) -> None:
    references, *_ = one_account(
        currency=currencies(),
        subsidiary=[{"id": "1", "name": "Parent Company"}, {"id": "2", "name": "Europe"}],
        employee=[{"id": "5", "email": "sam.seller@example.com"}, {"id": "6"}],
    )

    assert await references.find({"field": reference}) == {"field": internal_id}


async def test_many_records_that_ask_at_once_cost_one_question() -> None:
    references, queries, _ = one_account(currency=currencies())

    found = await asyncio.gather(*(references.find(EUR) for _ in range(50)))

    assert found == [{"currency": "4"}] * 50
    assert queries.asked == ["currency"]


async def test_what_is_known_is_kept_for_an_hour() -> None:
    references, queries, clock = one_account(currency=currencies())
    await references.find(EUR)

    clock.advance(FRESH_S)
    await references.find(EUR)
    assert len(queries.asked) == 1
    clock.advance(1)
    await references.find(EUR)

    assert len(queries.asked) == 2


async def test_a_miss_is_looked_for_again_at_most_once_a_minute() -> None:
    references, queries, clock = one_account(currency=currencies())
    krona = {"currency": Reference("currency", "SEK")}
    unknown = [await references.find(krona) for _ in range(10)]
    assert unknown == [Unknown("currency", "currency")] * 10
    assert len(queries.asked) == 1

    queries.tables["currency"] = [*currencies(), {"id": "9", "symbol": "SEK"}]
    clock.advance(LOOK_AGAIN_S)
    assert await references.find(krona) == Unknown("currency", "currency")
    clock.advance(1)

    assert await references.find(krona) == {"currency": "9"}
    assert len(queries.asked) == 2


async def test_the_first_unknown_one_is_named_by_field_and_kind() -> None:
    references, *_ = one_account(currency=currencies(), employee=[])

    found = await references.find({**EUR, "salesRep": Reference("employee", "nobody@example.com")})

    assert found == Unknown("salesRep", "employee")


async def test_a_question_that_failed_says_so_and_is_asked_again_at_once() -> None:
    """Whoever asks goes by the answer: an outage is no unknown currency."""
    references, queries, _ = one_account(currency=currencies())
    queries.answer = Answer(503)
    assert await references.find(EUR) == Answer(503)

    queries.answer = Answer(200)

    assert await references.find(EUR) == {"currency": "4"}


async def test_a_refresh_that_failed_forgets_nothing() -> None:
    references, queries, clock = one_account(currency=currencies())
    await references.find(EUR)
    clock.advance(LOOK_AGAIN_S + 1)
    queries.answer = Answer(503)

    missed = await references.find({"currency": Reference("currency", "SEK")})

    assert missed == Answer(503)
    assert await references.find(EUR) == {"currency": "4"}


async def test_more_rows_than_one_answer_has_are_read_page_by_page() -> None:
    people = [{"id": str(number), "email": f"seller-{number}@example.com"} for number in range(1, 2 * MOST_ROWS + 1)]
    references, queries, _ = one_account(employee=people)

    found = await references.find({"salesRep": Reference("employee", f"seller-{2 * MOST_ROWS}@example.com")})

    assert found == {"salesRep": str(2 * MOST_ROWS)}
    assert len(queries.asked) == 3  # the last one shows that there are no more
