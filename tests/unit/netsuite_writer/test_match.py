"""Adopting an existing record: the query and what is decided on its rows, through the stand-in's own SuiteQL."""

from __future__ import annotations

import string
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_connector.netsuite_writer import match
from ml_connector.netsuite_writer.match import Adopt, Exists, Found, Nobody, Several, Unsure, Wanted
from ml_connector.sandbox.netsuite import suiteql
from ml_connector.sandbox.netsuite.accounts import Account
from ml_connector.sandbox.netsuite.store import Record
from ml_connector.sandbox.web import Request
from support.desired import desired

NAME = ("companyName",)
NASTY = [
    "O'Brien", "''", "' OR 1=1 --", "a') OR (1=1", "100%", "_", "back\\slash", "\\'", "q?", ":name", "{x}", "/* */", "-- x",
    "Ünïcode", "ΟΔΟΣ", "STRASSE", "Straße", "名前", "😀", "NULL", "x;DROP TABLE record",
]  # fmt: skip
TEXTS = st.one_of(
    st.sampled_from(NASTY),
    st.text(st.sampled_from("'\"%_\\?;-()/*. " + string.ascii_letters), min_size=1, max_size=20),
    st.text(min_size=1, max_size=20),
)


def put(account: Account, kind: str = "customer", external_id: str | None = None, **fields: Any) -> str:
    internal_id = account.records.next_id()
    account.records.add(Record(internal_id, kind, external_id, fields, 0, 0))
    return internal_id


def ask(account: Account, q: str) -> list[dict[str, Any]]:
    request = Request("POST", suiteql.PATH, {"limit": "1000"}, {"prefer": "transient"}, msgspec.json.encode({"q": q}))
    rows: list[dict[str, Any]] = msgspec.json.decode(suiteql.handle(account, request).body)["items"]
    return rows


def one(number: int, *values: str) -> Wanted:
    return Wanted(f"record-{number}", f"pd-org-{number}", values)


def find(
    account: Account,
    wanteds: Sequence[Wanted],
    *,
    fields: Sequence[str] = NAME,
    claimed: frozenset[str] = frozenset(),
) -> list[Found]:
    """In the order of `wanteds`."""
    rows = ask(account, match.query("customer", fields, wanteds))
    found = match.decide(fields, wanteds, rows, claimed=claimed)
    return [found[wanted.record_key] for wanted in wanteds]


# -- what can be matched ----------------------------------------------------------------------------------------------


def test_what_is_wanted_is_the_trimmed_value_of_each_match_field() -> None:
    state = desired(fields={"companyName": " Acme\n", "custentity_number": 4711, "custentity_vip": True})

    found = match.wanted(state, ("companyName", "custentity_number", "custentity_vip"))

    assert found == Wanted(state.record_key, state.external_id, ("Acme", "4711", "T"))


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        " \t ",
        [],
        {"id": "1"},
        Decimal("0.5"),
        Decimal("1e39"),
        Decimal("Infinity"),
        float("nan"),
        "a\x00b",
        "a\nb",
        "\ud800",
        "x" * 301,
    ],
)
def test_what_has_no_usable_value_cannot_be_matched(value: Any) -> None:
    assert (
        match.wanted(desired(fields={"companyName": value, "email": "a@example.com"}), ("email", "companyName")) is None
    )


def test_a_missing_field_an_empty_rule_and_an_opportunity_cannot_be_matched() -> None:
    deal = desired("deal", fields={"title": "D"})

    assert match.wanted(desired(fields={}), NAME) is None
    assert match.wanted(desired(fields={"companyName": "A"}), ()) is None
    assert match.wanted(deal, ("title",)) is None


def test_a_whole_number_is_matched_by_its_digits() -> None:
    found = match.wanted(desired(fields={"custentity_number": Decimal("12.0")}), ("custentity_number",))

    assert found is not None and found.values == ("12",)


@pytest.mark.parametrize(
    ("kind", "fields", "number"),
    [("opportunity", ("title",), 1), ("customer", (), 1), ("customer", ("id) --",), 1), ("customer", NAME, 0), ("customer", NAME, 101)],
)  # fmt: skip
def test_what_is_no_question_is_refused(kind: Any, fields: tuple[str, ...], number: int) -> None:
    with pytest.raises(ValueError, match=r"matched by|records in one query"):
        match.query(kind, fields, [one(n, "x") for n in range(number)])


# -- one record -------------------------------------------------------------------------------------------------------


def test_a_free_customer_is_adopted_whatever_the_case() -> None:
    account = Account("A")
    acme = put(account, companyName="ACME Gmbh")
    put(account, companyName="ACME Gmbh & Co")

    assert find(account, [one(1, "Acme GmbH")]) == [Adopt(acme)]


def test_a_record_of_somebody_else_is_never_taken() -> None:
    account = Account("A")
    put(account, external_id="crm-7", companyName="Acme")

    assert find(account, [one(1, "Acme")]) == [Nobody()]
    assert ask(account, match.query("customer", NAME, [one(1, "Acme")])) == []  # nor does it fill the answer


def test_a_record_of_somebody_else_in_the_answer_is_not_taken_either() -> None:
    rows = [{"id": "7", "externalid": "crm-7", "companyname": "Acme"}]

    assert match.decide(NAME, [one(1, "Acme")], rows, claimed=set()) == {"record-1": Nobody()}


def test_a_record_of_another_that_is_wanted_is_not_taken_either() -> None:
    account = Account("A")
    first = put(account, external_id="pd-org-1", companyName="Acme")

    assert find(account, [one(1, "Acme"), one(2, "Acme")]) == [Exists(first), Nobody()]


def test_our_own_external_id_wins_whatever_its_case_and_the_values() -> None:
    account = Account("A")
    landed = put(account, external_id="PD-Org-1", companyName="Renamed since")
    put(account, companyName="Acme")

    assert find(account, [Wanted("r", "pd-ORG-1", ("Acme",))]) == [Exists(landed)]


def test_several_free_customers_are_a_conflict_and_nobody_gets_one() -> None:
    account = Account("A")
    both = put(account, companyName="Acme"), put(account, companyName="acme")

    assert find(account, [one(1, "Acme"), one(2, "Acme")]) == [Several(both), Several(both)]


def test_an_inactive_customer_is_taken_only_if_no_active_one_is_there() -> None:
    account = Account("A")
    old = put(account, companyName="Acme", isInactive=True)
    assert find(account, [one(1, "Acme")]) == [Adopt(old)]

    active = put(account, companyName="Acme", isInactive=False)

    assert find(account, [one(1, "Acme")]) == [Adopt(active)]


def test_several_inactive_customers_are_a_conflict() -> None:
    account = Account("A")
    both = put(account, companyName="Acme", isInactive=True), put(account, companyName="Acme", isInactive=True)

    assert find(account, [one(1, "Acme")]) == [Several(both)]


def test_all_match_fields_must_be_equal() -> None:
    """The query compares each by itself; the rows it mixes up are told apart afterwards."""
    account = Account("A")
    fields = ("companyName", "email")
    right = put(account, companyName="A", email="a@example.com")
    put(account, companyName="A", email="b@example.com")
    put(account, companyName="B")

    found = find(account, [one(1, "a", "A@example.com"), one(2, "b", "b@example.com")], fields=fields)

    assert found == [Adopt(right), Nobody()]


def test_contacts_are_matched_in_their_own_table() -> None:
    account = Account("A")
    put(account, email="a@example.com")
    person = put(account, "contact", email="A@example.com")
    wanted = Wanted("r", "pd-person-1", ("a@example.com",))

    rows = ask(account, match.query("contact", ("email",), [wanted]))

    assert match.decide(("email",), [wanted], rows, claimed=set()) == {"r": Adopt(person)}


@pytest.mark.parametrize("switch", ["absent", "null"])
def test_null_columns_may_be_null_or_left_out(switch: str) -> None:
    account = Account("A")
    account.switches.null_columns = switch  # type: ignore[assignment]  # one of the two
    acme = put(account, companyName="Acme")

    assert find(account, [one(1, "Acme")]) == [Adopt(acme)]


def test_the_case_of_column_names_does_not_matter() -> None:
    """Oracle warns that it may change (section_156257796125)."""
    rows = [{"ID": "7", "companyName": "Acme", "isInactive": "F"}]

    assert match.decide(NAME, [one(1, "acme")], rows, claimed=set()) == {"record-1": Adopt("7")}


def test_of_a_refused_duplicate_everybody_else_who_fits_is_listed() -> None:
    account = Account("A")
    put(account, external_id="PD-org-1", companyName="Acme")
    taken, old = (
        put(account, external_id="crm-7", companyName="ACME"),
        put(account, companyName="acme", isInactive=True),
    )
    put(account, companyName="Acme 2")
    me = one(1, "Acme")

    assert match.others(me, ask(account, match.query_all("customer", NAME, me))) == [taken, old]


# -- several records at once ------------------------------------------------------------------------------------------


def test_of_two_that_want_one_customer_the_first_gets_it() -> None:
    account = Account("A")
    acme = put(account, companyName="Acme")

    assert find(account, [one(2, "ACME"), one(1, "acme")]) == [Adopt(acme), Nobody()]


def test_what_was_given_away_earlier_is_not_free() -> None:
    account = Account("A")
    acme = put(account, companyName="Acme")

    assert find(account, [one(1, "Acme")], claimed=frozenset({acme})) == [Nobody()]


def test_claimed_is_the_callers() -> None:
    claimed = {"9"}

    match.decide(NAME, [one(1, "a")], [{"id": "7", "companyname": "a"}], claimed=claimed)

    assert claimed == {"9"}


def test_a_hundred_records_with_three_fields_are_one_query() -> None:
    account = Account("A")
    fields = ("companyName", "email", "phone")
    ids = [put(account, companyName=f"Name {n}", email=f"{n}@example.com", phone=f"+1 {n}") for n in range(100)]
    wanteds = [one(n, f"NAME {n}", f"{n}@Example.com", f"+1 {n}") for n in range(100)]

    assert find(account, wanteds, fields=fields) == [Adopt(internal_id) for internal_id in ids]
    assert len(match.query("customer", fields, [one(n, *["'" * 300] * 3) for n in range(100)])) < 200_000


def test_an_answer_that_was_cut_decides_only_what_landed() -> None:
    """A thousand customers share a name; the one that fits the second record did not fit into the answer."""
    account = Account("A")
    for _ in range(1000):
        put(account, companyName="Info")
    lone, landed = put(account, companyName="Lone"), put(account, external_id="pd-org-3", companyName="Landed")

    found = find(account, [one(1, "info"), one(2, "lone"), one(3, "landed")])

    assert found == [Unsure(), Unsure(), Exists(landed)]
    assert find(account, [one(2, "lone")]) == [Adopt(lone)]
    assert isinstance(find(account, [one(1, "info")])[0], Several)


# -- any text ---------------------------------------------------------------------------------------------------------


@given(st.lists(TEXTS, min_size=1, max_size=8), st.data())
def test_any_text_finds_its_own_record_and_no_other(texts: list[str], data: st.DataObject) -> None:
    """Bystanders are there for an injected condition to find."""
    account = Account("A")
    wanteds = [
        wanted
        for n, text in enumerate(texts)
        if (wanted := match.wanted(desired("organization", str(n + 1), fields={"companyName": text}), NAME))
    ]
    expected: dict[str, Found] = {}
    ids: dict[str, str] = {}
    for wanted in wanteds:
        (text,) = wanted.values
        same = match._folded(text)
        expected[wanted.record_key] = Nobody()
        if same not in ids:
            ids[same] = put(account, companyName=_other_case(text) if data.draw(st.booleans()) else text)
            expected[wanted.record_key] = Adopt(ids[same])
    bystander = put(account, companyName="bystander, free")
    stranger = put(account, external_id="crm-1", companyName="bystander, taken")
    if not wanteds:
        return

    rows = ask(account, match.query("customer", NAME, wanteds))

    assert match.decide(NAME, wanteds, rows, claimed=set()) == expected
    assert not {row["id"] for row in rows} & {bystander, stranger}


def _other_case(text: str) -> str:
    """If the stand-in's LOWER, which is Python's, leads back to the same."""
    other = text.swapcase()
    return other if other.lower() == text.lower() else text
