"""What is told of records that are compared with what they should be; what NetSuite shows is the stand-in's SuiteQL."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_connector.common.comparing import Compared, Difference, Expected, FieldDifference
from ml_connector.common.generation import Generation
from ml_connector.common.keys import RecordType
from ml_connector.common.topics import MAX_MESSAGE_BYTES
from ml_connector.common.wire import Observed, Parent, Reference
from ml_connector.netsuite_writer import compare, readback, write
from ml_connector.netsuite_writer.compare import Should, Written
from ml_connector.netsuite_writer.suiteql import by_external_id
from ml_connector.sandbox.netsuite.accounts import Account
from support.account_alone import ask
from support.account_alone import write as put

WRITTEN_MS = 1_795_000_000_000

texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=20)
names = texts.filter(lambda text: text.strip() == text)
amounts = st.decimals(-10_000, 10_000, places=2) | st.integers(-10_000, 10_000)
days = st.dates().filter(lambda day: day.year >= 1900).map(lambda day: day.isoformat())
boxes = st.booleans()
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "companyName": names,
    "comments": st.none() | texts,
    "phone": st.none() | names,
    "creditLimit": st.none() | amounts,
    "startDate": st.none() | days,
    "isPerson": boxes,
    "currency": st.sampled_from([{"id": "1"}, {"id": "2"}]),
    "category": st.none() | st.integers(1, 99).map(lambda number: {"id": str(number)}),
    "custentity_tier": st.none() | names,
    "custentity_kickoff": st.none() | days,
    "custentity_vip": st.none() | boxes,
}
bodies = st.fixed_dictionaries(
    {"companyName": names}, optional={name: values for name, values in FIELDS.items() if name != "companyName"}
)


def expected(kind: RecordType = "customer", **more: Any) -> Expected:
    made = Expected(source_id="1", record_type=kind, external_id="pd-org-1", generation=Generation(5), action="upsert")
    return msgspec.structs.replace(made, **more)


def shown(account: Account, body: Mapping[str, Any], kind: RecordType = "customer") -> dict[str, Any]:
    columns = compare.columns_of(kind, body)
    inactive = (compare.INACTIVE,) if kind == "customer" else ()
    wanted = dict.fromkeys((compare.MODIFIED, *inactive, *readback.DISPLAYED, *columns.values()))
    [row] = by_external_id(ask(account, compare.query(kind, ["pd-org-1"], wanted)))["pd-org-1"]
    return row


def differing(held: Mapping[str, Any], body: Mapping[str, Any]) -> list[FieldDifference]:
    account = Account("A")
    put(account, "customer", "pd-org-1", dict(held))
    row = shown(account, body)
    displays = readback.displays_in(readback.maybe_dates("customer", [body]), [row])
    return compare.differing("customer", body, row, displays)


@given(bodies)
@settings(max_examples=150, deadline=None)
def test_what_was_sent_and_reads_back_is_equal(body: dict[str, Any]) -> None:
    assert differing(body, body) == []


@given(bodies, st.data())
@settings(max_examples=150, deadline=None)
def test_one_edited_field_is_found_and_nothing_else(body: dict[str, Any], data: st.DataObject) -> None:
    field = data.draw(st.sampled_from(sorted(body)))
    edited = data.draw(FIELDS[field].filter(lambda value: not _alike(value, body[field])))

    found = differing({**body, field: edited}, body)

    assert [(one.field, one.should) for one in found] == [(field, body[field])]


def _alike(one: Any, other: Any) -> bool:
    """What nobody would call an edit: blanks around a text, the zeros of a number, a box that is not ticked."""
    return bool(_plain(one) == _plain(other))


def _plain(value: Any) -> Any:
    match value:
        case None | False | "F":
            return ""
        case str() if value.isascii() and value.isdigit() and value[0] != "0":
            return Decimal(value)
        case str():
            return value.strip()
    return value


@pytest.mark.parametrize(
    ("field", "sent", "text"),
    [
        ("companyName", " Acme ", "Acme"),
        ("comments", "a\r\nb", "a\nb"),
        ("creditLimit", Decimal("12.50"), "12.5"),
        ("creditLimit", 12, "12.00"),
        ("custentity_price", "5.00", "5"),
        ("custentity_vip", None, "F"),
        ("isPerson", None, "F"),
        ("category", None, ""),
        ("custentity_day", "2026-05-03", "3.5.2026"),
    ],
)
def test_how_netsuite_shows_a_value_is_no_difference(field: str, sent: Any, text: str) -> None:
    assert compare.differing("customer", {field: sent}, {field.lower(): text}, {}) == []


@pytest.mark.parametrize(
    ("field", "sent", "text"),
    [
        ("companyName", "Acme", "ACME"),
        ("companyName", "Acme", ""),
        ("companyName", None, "F"),
        ("accountNumber", "7", "007"),
        ("custentity_code", "7", "007"),
        ("comments", "2026-05-03", "5/3/2026"),
        ("creditLimit", Decimal("12.50"), "12.51"),
        ("creditLimit", 0, ""),
        ("isPerson", True, ""),
        ("category", {"id": "7"}, "8"),
    ],
)
def test_an_edit_that_looks_alike_is_one(field: str, sent: Any, text: str) -> None:
    [found] = compare.differing("customer", {field: sent}, {field.lower(): text}, {})

    assert found == FieldDifference(field, sent, text or None)


def test_what_rest_shows_is_compared_as_well() -> None:
    read = {"creditLimit": 12.5, "isPerson": True, "terms": {"id": "4", "refName": "30 days"}, "url": None, "links": []}
    row = compare.row_of(read)

    same = {"creditLimit": Decimal("12.50"), "isPerson": True, "terms": {"id": "4"}, "url": None, "fax": None}
    other = {"creditLimit": 12, "isPerson": False, "terms": None, "url": "x"}

    assert compare.differing("customer", same, row, {}) == []
    assert [one.holds for one in compare.differing("customer", other, row, {})] == ["12.5", "T", "4", None]


# -- one record --------------------------------------------------------------------------------------------------------

NAMED = Should(expected(fields={"companyName": "A"}), {"companyName": "A"}, inactive=False)
ROW = {"id": "7", "externalid": "pd-org-1", "isinactive": "F", "companyname": "A"}
EDITED = [FieldDifference("companyName", "A", "B")]


def observed(**more: Any) -> Observed:
    made = Observed(
        record_key="a/customer/pd-org-1", flow="f", generation=Generation(5), cause="c", outcome="written",
        action="upsert", at_ms=WRITTEN_MS, internal_id="7",
    )  # fmt: skip
    return msgspec.structs.replace(made, **more)


def judged(row: dict[str, Any] | None, differences: Any = (), should: Should = NAMED, **written: Any) -> Any:
    if compare.is_as_it_should(should, row, differences):
        return None
    found = compare.judge(should, row, differences, Written(**written))
    return (found.found, found.causes)


def test_each_way_in_which_a_record_is_not_as_it_should_be() -> None:
    inactive = {**ROW, "isinactive": "T"}
    gone = Should(expected(action="gone"), {}, there=False, inactive=True)

    assert judged(ROW) is None
    assert judged(None) == ("missing", ("never_written",))
    assert judged(None, observed=observed()) == ("missing", ("deleted",))
    assert judged(ROW, EDITED, observed=observed(), same=True) == ("different", ("edited",))
    assert judged(ROW, EDITED, observed=observed(), same=False) == ("different", ("not_sent",))
    assert judged(inactive, observed=observed(), same=True) == ("inactive", ("edited",))
    assert judged(ROW, should=gone, observed=observed(), same=False) == ("active", ("not_sent",))
    assert judged(inactive, should=gone) is None
    assert judged(None, should=gone) is None
    assert judged(ROW, EDITED, observed=observed(), waits="it waits") == ("waiting", ())
    unclear = Should(NAMED.expected, {}, inactive=False, unclear="no such currency")
    assert judged(ROW, should=unclear) == ("unknown", ())


@pytest.mark.parametrize(("hours_later", "causes"), [(13, ("not_sent",)), (15, ("not_sent", "edited"))])
def test_a_change_in_netsuite_is_only_told_if_no_time_zone_explains_it(hours_later: int, causes: Any) -> None:
    """Written at 2026-11-18 11:06:40 UTC."""
    row = {**ROW, "mlc_modified": f"2026-11-{18 + (11 + hours_later) // 24} {(11 + hours_later) % 24:02}:06:41"}

    assert judged(row, EDITED, observed=observed(), same=False) == ("different", causes)


def test_whether_it_is_what_was_last_sent() -> None:
    one = expected(fields={"companyName": "A", "phone": None}, references={"currency": Reference("currency", "EUR")})
    should = Should(one, {"companyName": "A", "phone": None, "currency": {"id": "2"}}, inactive=False)
    made = write.upsert(one, observed=None, parent_id=None, found={"currency": "2"})
    other = write.upsert(one, observed=None, parent_id=None, found={"currency": "1"})
    revived = write.upsert(one, observed=observed(), parent_id=None, found={"currency": "2"}, revive=True)

    assert [compare.is_same(should, observed(digest=one.digest)) for one in (made, other, revived)] == [
        True,
        False,
        True,
    ]
    assert compare.is_same(should, observed()) is None
    assert compare.is_same(should, None) is None


def test_what_was_left_out_of_a_creation_may_be_netsuites_own() -> None:
    phone = FieldDifference("phone", None, "1")

    assert judged(ROW, [phone], observed=observed(), same=True) == ("different", ("filled",))
    assert judged(ROW, [phone, *EDITED], observed=observed(), same=True) == ("different", ("edited",))


def test_the_customer_of_a_contact_is_part_of_what_was_sent() -> None:
    parent = Parent("a/customer/pd-org-1", "organization", "1")
    one = expected("contact", fields={"lastName": "B"}, parent=parent)
    sent = write.upsert(one, observed=None, parent_id="7", found={})

    should = Should(one, {"lastName": "B", "company": {"id": "7"}}, inactive=False)

    assert compare.is_same(should, observed(digest=sent.digest))


def test_values_are_cut_until_the_answer_fits_one_message() -> None:
    fields = tuple(FieldDifference(f"custentity_{n}", "ä" * 5_000, "b" * 5_000) for n in range(40))
    many = tuple(
        Difference(source_id=str(n), external_id=f"pd-org-{n}", found="different", fields=fields) for n in range(500)
    )
    told = Compared(
        job_id="j", flow="f", account="a", entity="organization", page=1, part=1, parts=1, at_ms=1, differences=many
    )

    small = compare.with_room(msgspec.structs.replace(told, differences=many[:2]))

    assert len(compare.with_room(told).encode()) < MAX_MESSAGE_BYTES
    assert len(compare.with_room(told).differences) == 500
    assert {one.cut for difference in small.differences for one in difference.fields} == {True}
    assert small.differences[0].fields[0] == FieldDifference("custentity_0", "ä" * 1_000, "b" * 1_000, cut=True)
