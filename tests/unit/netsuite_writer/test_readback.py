"""Which members of a batch NetSuite holds as they were sent, through the stand-in's own SuiteQL."""

from __future__ import annotations

import string
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_connector.common.keys import RecordType
from ml_connector.netsuite_writer import readback
from ml_connector.sandbox.netsuite import suiteql
from ml_connector.sandbox.netsuite.accounts import Account
from ml_connector.sandbox.netsuite.schema import FIELDS
from support.account_alone import ask, write

Bodies = dict[str, dict[str, Any]]
KINDS: tuple[RecordType, ...] = ("customer", "contact", "opportunity")
US, UK, GERMAN = "{0.month}/{0.day}/{0.year}", "{0:%d/%m/%Y}", "{0.day}.{0.month}.{0.year}"
DISPLAYS = (
    US, UK, GERMAN, "{0:%m/%d/%Y}", "{0.day}/{0.month}/{0.year}", "{0:%d.%m.%Y}", "{0:%Y/%m/%d}", "{0:%Y-%m-%d}",
    "{0.year}-{0.month}-{0.day}",
)  # fmt: skip
CUSTOMER = {
    "companyName": "O'Brien & 100% \\ Söhne",
    "email": "a@example.com",
    "creditLimit": Decimal("12.50"),
    "startDate": "2026-05-03",
    "isInactive": False,
    "isPerson": True,
    "currency": {"id": "2"},
    "category": {"id": "77"},
    "comments": " two\nlines ",
    "phone": None,
    "custentity_tier": "12.0",
    "custentity_score": 7,
    "custentity_vip": True,
}


def held(account: Account, kind: RecordType, bodies: Bodies, *, display: str = US) -> dict[str, str]:
    """`display`: how the user's preferences show a date. The stand-in knows only M/D/YYYY; it is shown anew here."""
    q = readback.query(kind, bodies)
    bare_dates = suiteql.translated(q)[1]
    rows = [
        {name: redisplayed(text, display) if name in bare_dates else text for name, text in row.items()}
        for row in ask(account, q)
    ]
    return readback.held(kind, bodies, rows)


def redisplayed(text: str | None, display: str) -> str | None:
    if not text:
        return text
    month, day, year = map(int, text.split("/"))
    return display.format(date(year, month, day))


def shown(sent: Any, text: Any) -> bool:
    """Whether a custom field counts as held when its row shows `text`."""
    row = {"id": "7", "externalid": "pd-org-1", "custentity_x": text}
    return readback.held("customer", {"pd-org-1": {"custentity_x": sent}}, [row]) == {"pd-org-1": "7"}


# -- through the stand-in ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nulls", ["absent", "null"])
def test_a_customer_is_held_as_it_was_sent(nulls: str) -> None:
    account = Account("A")
    account.switches.null_columns = nulls  # type: ignore[assignment]  # one of the two
    internal_id = write(account, "customer", "pd-org-1", CUSTOMER)

    assert held(account, "customer", {"PD-org-1": CUSTOMER}) == {"PD-org-1": internal_id}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("companyName", "O'BRIEN & 100% \\ Söhne"),
        ("email", None),
        ("creditLimit", Decimal("12.51")),
        ("startDate", "2026-03-05"),
        ("isInactive", True),
        ("isPerson", False),
        ("currency", {"id": "1"}),
        ("category", None),
        ("comments", " two\nlines"),
        ("phone", "1"),
        ("custentity_tier", "12"),
        ("custentity_score", 8),
        ("custentity_vip", False),
    ],
)
def test_one_field_that_differs_makes_a_member_doubtful(field: str, value: Any) -> None:
    account = Account("A")
    write(account, "customer", "pd-org-1", CUSTOMER)
    other = write(account, "customer", "pd-org-2", CUSTOMER)

    found = held(account, "customer", {"pd-org-1": {**CUSTOMER, field: value}, "pd-org-2": CUSTOMER})

    assert found == {"pd-org-2": other}


def test_a_contact_is_held_with_its_customer() -> None:
    account = Account("A")
    customer = write(account, "customer", "pd-org-1", {"companyName": "A"})
    body = {"firstName": "Zoë", "lastName": "O'Neil", "company": {"id": customer}, "isInactive": True, "title": None}
    person = write(account, "contact", "pd-person-1", body)

    assert held(account, "contact", {"pd-person-1": body}) == {"pd-person-1": person}
    assert held(account, "contact", {"pd-person-1": {**body, "company": None}}) == {}


def test_an_opportunity_is_a_transaction() -> None:
    account = Account("A")
    customer = write(account, "customer", "pd-org-1", {"companyName": "A"})
    body = {
        "title": "Deal", "entity": {"id": customer}, "projectedTotal": Decimal("1000.10"), "probability": 50,
        "expectedCloseDate": "2026-12-01", "entityStatus": {"id": "8"}, "salesRep": {"id": "5"},
        "forecastType": {"id": "2"}, "custbody_reference": "X-1",
    }  # fmt: skip
    deal = write(account, "opportunity", "pd-deal-1", body)

    assert held(account, "opportunity", {"pd-deal-1": body}) == {"pd-deal-1": deal}
    assert held(account, "opportunity", {"pd-deal-1": {**body, "expectedCloseDate": "2026-01-12"}}) == {}
    assert held(account, "opportunity", {"pd-deal-1": {**body, "salesRep": None}}) == {}
    assert "FROM transaction WHERE type = 'Opprtnty' AND" in readback.query("opportunity", {"pd-deal-1": body})


def test_who_is_not_there_is_doubtful() -> None:
    account = Account("A")
    there = write(account, "customer", "pd-org-1", {"companyName": "A"})

    found = held(account, "customer", {"pd-org-1": {"companyName": "A"}, "pd-org-2": {"companyName": "A"}})

    assert found == {"pd-org-1": there}


def test_a_hundred_members_are_one_query() -> None:
    account = Account("A")
    bodies: Bodies = {f"pd-org-{n}": {**CUSTOMER, "companyName": f"Name {n}"} for n in range(100)}
    ids = {external_id: write(account, "customer", external_id, body) for external_id, body in bodies.items()}

    assert held(account, "customer", bodies) == ids


@pytest.mark.parametrize("number", [0, 101])
def test_a_batch_has_at_most_a_hundred_members(number: int) -> None:
    with pytest.raises(ValueError, match="at most 100"):
        readback.query("customer", {f"pd-org-{n}": {} for n in range(number)})


def test_a_field_without_a_column_makes_only_its_member_doubtful() -> None:
    """And is not asked for: an unknown column would spoil the query for all."""
    account = Account("A")
    plain, cleared = {"companyName": "A"}, {"companyName": "A", "terms": None}
    first = write(account, "customer", "pd-org-1", plain)
    write(account, "customer", "pd-org-2", plain)

    assert held(account, "customer", {"pd-org-1": plain, "pd-org-2": cleared}) == {"pd-org-1": first}


def test_the_external_id_in_an_item_of_a_batch_is_no_field() -> None:
    account = Account("A")
    first = write(account, "customer", "PD-ORG-1", {"companyName": "A"})

    found = held(account, "customer", {"pd-org-1": {"externalId": "pd-org-1", "companyName": "A"}})

    assert found == {"pd-org-1": first}


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_that_counts_as_comparable_is_a_column(kind: RecordType) -> None:
    every = {field: None for field in FIELDS[kind] if readback.comparable(kind, field)}

    assert len(every) > 10
    assert ask(Account("A"), readback.query(kind, {"x": every})) == []
    assert every.keys() >= readback._FIELDS[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_dates_of_the_schema_are_asked_for_as_iso(kind: RecordType) -> None:
    dates = {name for name, field in FIELDS[kind].items() if field.kind == "date" and not name.startswith("cust")}

    for name in dates:
        if readback.comparable(kind, name):
            assert f"TO_CHAR({name.lower()}, 'YYYY-MM-DD')" in readback.query(kind, {"x": {name: "2026-01-01"}})


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        ("customer", "custbody_x"),
        ("opportunity", "custentity_x"),
        ("opportunity", "isInactive"),
        ("customer", "custentity_x) --"),
        ("customer", "custentity_x\n"),
        ("customer", "nonsense"),
    ],
)
def test_what_is_no_column_is_not_comparable(kind: RecordType, field: str) -> None:
    assert not readback.comparable(kind, field)


# -- custom dates -----------------------------------------------------------------------------------------------------

KICKOFF = {"custentity_kickoff": "2026-05-03"}
MAY_5 = date(2026, 5, 5)


@pytest.mark.parametrize("display", DISPLAYS)
def test_a_custom_date_is_held_in_the_display_of_a_known_date(display: str) -> None:
    """The 3rd of May or the 5th of March: a date that is known in both forms tells."""
    account = Account("A")
    internal_id = write(account, "customer", "pd-org-1", KICKOFF)

    assert held(account, "customer", {"pd-org-1": KICKOFF}, display=display) == {"pd-org-1": internal_id}
    for other in ("2026-03-05", "2026-05-04", "2025-05-03"):
        assert held(account, "customer", {"pd-org-1": {"custentity_kickoff": other}}, display=display) == {}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_custom_dates(kind: RecordType) -> None:
    account = Account("A")
    field = {"customer": "custentity_kickoff", "contact": "custentity_birthday", "opportunity": "custbody_kickoff"}[
        kind
    ]
    name = {"customer": "companyName", "contact": "lastName", "opportunity": "title"}[kind]
    body = {name: "A", field: "2026-05-03"}
    internal_id = write(account, kind, "x", body) if kind != "opportunity" else _deal(account, body)

    assert held(account, kind, {"x": body}) == {"x": internal_id}


def _deal(account: Account, body: dict[str, Any]) -> str:
    customer = write(account, "customer", "pd-org-1", {"companyName": "A"})
    return write(account, "opportunity", "x", {**body, "entity": {"id": customer}})


@pytest.mark.parametrize("display", [US, UK])
def test_a_known_date_of_equal_numbers_does_not_tell_the_order(display: str) -> None:
    """Then only a date that reads alike in both is held."""
    account = Account("A")
    both = {"pd-org-1": KICKOFF, "pd-org-2": {"custentity_kickoff": "2026-07-07"}}
    ids = {external_id: write(account, "customer", external_id, both[external_id], on=MAY_5) for external_id in both}

    assert held(account, "customer", both, display=display) == {"pd-org-2": ids["pd-org-2"]}


@pytest.mark.parametrize("display", [US, UK])
def test_one_row_that_tells_the_order_decides_for_all(display: str) -> None:
    account = Account("A")
    clear = {"custentity_kickoff": "2026-05-24"}
    first = write(account, "customer", "pd-org-1", KICKOFF, on=MAY_5)
    by_known = write(account, "customer", "pd-org-2", {"companyName": "A"}, on=date(2026, 5, 6))

    found = held(account, "customer", {"pd-org-1": KICKOFF, "pd-org-2": {"companyName": "A"}}, display=display)
    assert found == {"pd-org-1": first, "pd-org-2": by_known}

    account = Account("B")
    first = write(account, "customer", "pd-org-1", KICKOFF, on=MAY_5)
    by_column = write(account, "customer", "pd-org-2", clear, on=MAY_5)

    found = held(account, "customer", {"pd-org-1": KICKOFF, "pd-org-2": clear}, display=display)
    assert found == {"pd-org-1": first, "pd-org-2": by_column}


@pytest.mark.parametrize(
    ("known", "iso"),
    [
        ("24-Nov-2026", "2026-11-24"),
        ("11/24/26", "2026-11-24"),
        ("11/25/2026", "2026-11-24"),
        ("24/11/2026", "2026-11-24"),
        ("11.24.2026", "2026-11-24"),
        ("11/24/2026", None),
        (None, "2026-11-24"),
        (None, None),
        ("2/30/2026", "2026-02-30"),
    ],
)
def test_a_display_that_is_not_understood_or_contradicts_itself_leaves_dates_doubtful(
    known: str | None, iso: str | None
) -> None:
    bodies: Bodies = {"a": {"custentity_x": "2026-05-03"}, "b": {"custentity_x": "2026-05-03"}}
    told = {"mlc_shown": "11/24/2026 11:05 pm", "mlc_iso": "2026-11-24"}
    rows = [{"id": str(n), "externalid": e, "custentity_x": "5/3/2026", **told} for n, e in enumerate(bodies)]

    assert readback.held("customer", bodies, rows) == {"a": "0", "b": "1"}
    assert readback.held("customer", bodies, [rows[0], {**rows[1], "mlc_shown": known, "mlc_iso": iso}]) == {}


@pytest.mark.parametrize(
    "text", ["5/3/26", "5/3/2026 1:00 pm", " 5/3/2026", "5/3/2026\n", "5-3-2026", "5/3-2026", "\u0665/3/2026"]
)
def test_what_is_no_date_of_the_display_is_not_held(text: str) -> None:
    row = {"id": "7", "externalid": "x", "custentity_x": text, "mlc_shown": "11/24/2026", "mlc_iso": "2026-11-24"}

    assert readback.held("customer", {"x": {"custentity_x": "2026-05-03"}}, [row]) == {}


@pytest.mark.parametrize("sent", ["2026-5-3", "5/3/2026 ", "2026-05-03\n", "2026-05-03T00:00:00", "20260503"])
def test_only_a_plain_iso_date_is_taken_for_a_date(sent: str) -> None:
    account = Account("A")
    write(account, "customer", "pd-org-1", KICKOFF)
    bodies: Bodies = {"pd-org-1": {"custentity_kickoff": sent}}

    assert held(account, "customer", bodies) == {}
    assert "mlc_" not in readback.query("customer", bodies)


def test_a_text_that_looks_like_a_date_is_held_as_it_was_sent() -> None:
    account = Account("A")
    sent: Bodies = {f"pd-org-{n}": {"custentity_tier": text} for n, text in enumerate(("2026-05-03", "2026-02-30"))}
    ids = {external_id: write(account, "customer", external_id, body) for external_id, body in sent.items()}

    assert held(account, "customer", sent) == ids


def test_a_column_that_shows_a_text_is_no_column_of_dates() -> None:
    """Somebody typed a date into a text field; the write that puts it otherwise did not land, its neighbour's did."""
    account = Account("A")
    write(account, "customer", "pd-org-1", {"custentity_tier": "5/3/2026"})
    landed = write(account, "customer", "pd-org-2", {"custentity_tier": "2026-05-04"})

    found = held(
        account,
        "customer",
        {"pd-org-1": {"custentity_tier": "2026-05-03"}, "pd-org-2": {"custentity_tier": "2026-05-04"}},
    )

    assert found == {"pd-org-2": landed}


def test_the_known_date_is_asked_for_only_if_a_custom_field_may_be_a_date() -> None:
    plain = readback.query("customer", {"x": CUSTOMER})
    dated = readback.query("customer", {"x": CUSTOMER, "y": KICKOFF})

    assert "lastmodifieddate" not in plain
    assert "lastmodifieddate AS mlc_shown, TO_CHAR(lastmodifieddate, 'YYYY-MM-DD') AS mlc_iso" in dated


DAYS = st.dates(date(1900, 1, 1), date(2100, 12, 31))
# Those that a wrong order would mistake for one another, and days on which the order does not show.
CLOSE = st.builds(date, st.just(2026), st.integers(1, 2), st.integers(1, 2))
THREE = st.tuples(CLOSE, CLOSE, CLOSE) | st.tuples(DAYS, DAYS, DAYS)


@given(st.lists(THREE, min_size=1, max_size=5), st.sampled_from(DISPLAYS))
def test_another_date_is_never_held(members: list[tuple[date, date, date]], display: str) -> None:
    """Each is written on one day, with a second one as its date, and asked for with a third; and once as it landed."""
    account = Account("A")
    landed: Bodies = {}
    asked: Bodies = {}
    ids: dict[str, str] = {}
    for n, (on, there, wanted) in enumerate(members):
        landed[f"x{n}"] = {"custentity_kickoff": there.isoformat()}
        asked[f"x{n}"] = {"custentity_kickoff": wanted.isoformat()}
        ids[f"x{n}"] = write(account, "customer", f"x{n}", landed[f"x{n}"], on=on)

    found = held(account, "customer", asked, display=display)
    assert found.items() <= {key: ids[key] for key in ids if asked[key] == landed[key]}.items()
    if any(on.month != on.day for on, _, _ in members):
        assert held(account, "customer", landed, display=display) == ids


# -- single values ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        (None, None), (None, ""), ("", None), ("a", "a"), ("12.0", "12.0"), (True, "T"), (False, "F"),
        (12, "12.0"), (12.0, "12"), (12.5, "12.50"), (Decimal("0.50"), ".5"), (Decimal("0.1"), "1E-1"), (-3, "-3"),
        ({"id": "12"}, "12"), ({"id": 12}, "12"),
    ],
)  # fmt: skip
def test_equal(sent: Any, text: str | None) -> None:
    assert shown(sent, text)


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        (None, "0"), (None, "F"), ("a", "A"), ("a", "a "), ("a", None), ("12", "12.0"), (True, "F"), (False, None),
        (True, "t"), (True, True), (1, "T"), (True, "1"), (0, None), (0, ""), (12, "12,0"), (12, "1_2"), (12, " 12"),
        (12, "1٢"), (12, "twelve"), (float("nan"), "NaN"), (float("inf"), "Infinity"), ({"id": "12"}, "12.0"),
        ({"id": None}, None), ({"id": "12", "externalId": "x"}, "12"), ({"externalId": "x"}, "x"), ({}, None),
        ({"id": {"a": 1}}, "{'a': 1}"), ([], None), (["a"], "['a']"), ({"items": []}, None),
    ],
)  # fmt: skip
def test_not_equal_or_not_comparable(sent: Any, text: Any) -> None:
    assert not shown(sent, text)


def test_two_rows_for_one_member_or_a_row_without_an_id_prove_nothing() -> None:
    row = {"id": "7", "externalid": "e", "companyname": "A"}
    bodies: Bodies = {"e": {"companyName": "A"}}

    assert readback.held("customer", bodies, [row]) == {"e": "7"}
    assert readback.held("customer", bodies, [row, {**row, "id": "8", "externalid": "E"}]) == {}
    assert readback.held("customer", bodies, [{**row, "id": None}]) == {}
    assert readback.held("customer", {"none": {"companyName": "A"}}, [{**row, "externalid": None}]) == {}


# -- any value --------------------------------------------------------------------------------------------------------

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=30) | st.text(
    st.sampled_from("'\"%_\\?; .0" + string.ascii_letters), max_size=30
)
VALUES = st.fixed_dictionaries(
    {},
    optional={
        "companyName": TEXTS,
        "comments": TEXTS | st.none(),
        "custentity_tier": TEXTS,
        "creditLimit": st.integers(-(10**9), 10**9) | st.decimals(-(10**6), 10**6, places=2) | st.none(),
        "custentity_vip": st.booleans(),
        "startDate": st.dates(date(1900, 1, 1)).map(lambda day: day.isoformat()) | st.none(),
        "category": st.integers(1, 99).map(lambda number: {"id": str(number)}) | st.none(),
    },
)


@given(st.lists(VALUES, min_size=1, max_size=5), st.data())
def test_held_is_who_was_written_as_sent(bodies: list[dict[str, Any]], data: st.DataObject) -> None:
    """Some members were written as another body says; only those whose fields agree all the same are held."""
    account = Account("A")
    sent = {f"pd-org-{n}": body for n, body in enumerate(bodies)}
    expected: dict[str, str] = {}
    for external_id, body in sent.items():
        landed = body if data.draw(st.booleans()) else data.draw(VALUES)
        internal_id = write(account, "customer", external_id, landed)
        shows = {"custentity_vip": False, **landed}  # a box is ticked or not
        if all(_means(shows.get(field)) == _means(value) for field, value in body.items()):
            expected[external_id] = internal_id

    assert held(account, "customer", sent) == expected


def _means(value: Any) -> Any:
    """Nothing is an empty text."""
    return None if value == "" else value
