"""What fits NetSuite's body fields: amounts keep every digit, nothing unfit slips through, no value in an error."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ml_connector.common.codec import decode_json, encode_json
from ml_connector.common.countries import country_code
from ml_connector.common.expressions import CelExpression, PlainPath, Scope, Unfit, compile_expression
from ml_connector.common.wire import Reference
from ml_connector.resolver.body_fields import converter

cents = st.decimals(-10_000_000_000, 10_000_000_000, places=2, allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ("projectedTotal", "companyName", "isInactive", "expectedCloseDate", "currency", "category", "custbody_x")


@given(cents)
def test_amounts_keep_their_cents_from_pipedrive_to_netsuite(amount: Decimal) -> None:
    """Through the body as bytes, a plain path and the wire: the very digits that Pipedrive sent."""
    data = decode_json(b'{"value": %s}' % str(amount).encode())

    value = converter("projectedTotal")(compile_expression("data.value").evaluate(Scope(data)))

    assert Decimal(json.loads(encode_json(value), parse_float=str, parse_int=str)) == amount


@given(cents, cents)
@example(Decimal("2748779069.43"), Decimal("-2804692309.83"))
def test_sums_in_cel_keep_their_cents(one: Decimal, other: Decimal) -> None:
    found = compile_expression("double(data.one) + double(data.other)").evaluate(Scope({"one": one, "other": other}))

    assert Decimal(found) == one + other


@given(st.decimals(allow_nan=False, allow_infinity=False).filter(lambda value: len(value.as_tuple().digits) > 15))
def test_amount_that_a_double_cannot_hold_is_refused_not_changed(amount: Decimal) -> None:
    with pytest.raises(Unfit, match="15 digits"):
        compile_expression("double(data.value) * 1.0").evaluate(Scope({"value": amount}))


@given(json_values, st.sampled_from(FIELDS))
def test_every_value_fits_or_is_refused_by_its_type(value: Any, field: str) -> None:
    try:
        found = converter(field)(value)
    except Unfit as error:
        assert not isinstance(value, str) or len(value) < 4 or value not in str(error)
        return
    if isinstance(found, Reference):
        found = found.value
    assert found is None or isinstance(found, str | bool | int | Decimal)
    assert msgspec.json.decode(encode_json(found)) is not ...


@given(st.datetimes(timezones=st.just(UTC)), st.dates())
def test_dates(moment: datetime, day: date) -> None:
    convert = converter("expectedCloseDate")

    assert convert(moment.isoformat()) == moment.date().isoformat()
    assert convert(day.isoformat()) == day.isoformat()


@pytest.mark.parametrize("value", ["31.12.2026", "2026-13-01", "soon", 20261231, True, ["2026-01-01"], "2026-1-1"])
def test_what_is_no_date_is_refused(value: Any) -> None:
    with pytest.raises(Unfit):
        converter("expectedCloseDate")(value)


@pytest.mark.parametrize(
    ("value", "expected"), [("yes", True), ("No", False), ("TRUE", True), (False, False), (None, None), ("", None)]
)
def test_booleans(value: Any, expected: bool | None) -> None:
    assert converter("isInactive")(value) is expected


@pytest.mark.parametrize("value", [1, 0, "ja", "1", Decimal(1), []])
def test_what_is_no_boolean_is_refused(value: Any) -> None:
    with pytest.raises(Unfit):
        converter("isInactive")(value)


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("currency", "EUR", Reference("currency", "EUR")),
        ("currency", 3, Reference("id", "3")),
        ("salesRep", Reference("employee", "anna@acme.example"), Reference("employee", "anna@acme.example")),
        ("category", "12", Reference("id", "12")),
        ("currency", "", None),
        ("phone", Decimal("372.5"), "372.5"),
        ("phone", "+372 555", "+372 555"),
        ("companyName", 7, "7"),
        ("projectedTotal", " 10.50 ", Decimal("10.50")),
        ("custentity_x", "", None),
    ],
)
def test_references_and_texts(field: str, value: Any, expected: Any) -> None:
    assert converter(field)(value) == expected


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("category", "Gold", "internal id"),
        ("companyName", ["a"], "list"),
        ("custentity_x", {"value": 1}, "object"),
        ("companyName", True, "boolean"),
        ("projectedTotal", "ten", "no number"),
        ("projectedTotal", Decimal("NaN"), "digits"),
        ("projectedTotal", 2**64, "64 bits"),
        ("custentity_x", Decimal("1E+400"), "digits"),
    ],
)
def test_what_does_not_fit_says_why(field: str, value: Any, problem: str) -> None:
    with pytest.raises(Unfit, match=problem):
        converter(field)(value)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("Germany", "DE"), ("Deutschland", "DE"), ("DE", "DE"), ("deu", "DE"), ("U.S.A.", "US"), ("UK", "GB"),
        ("United Kingdom", "GB"), ("Turkey", "TR"), ("Türkiye", "TR"), ("Czech Republic", "CZ"), ("Eesti", "EE"),
        ("Ivory Coast", "CI"), ("日本", "JP"), ("South Korea", "KR"), ("Atlantis", None), ("", None),
    ],
)  # fmt: skip
def test_country_codes(name: str, code: str | None) -> None:
    assert country_code(name) == code


class Watched(dict[str, Any]):
    """Notes which members are looked at."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.seen: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.seen.add(key)
        return super().get(key, default)


def test_only_the_members_that_an_expression_names_are_handed_to_cel() -> None:
    data = Watched({"name": "Acme", "huge": ["x"] * 100_000, "first": "A"})

    assert compile_expression('data.name + "-" + data.first').evaluate(Scope(data)) == "Acme-A"
    assert data.seen == {"name", "first"}


def test_plain_paths_bypass_cel() -> None:
    assert isinstance(compile_expression(' data.address["country"] '), PlainPath)
    assert isinstance(compile_expression("data.name + 'x'"), CelExpression)


PROGRAMS = (
    "data.a + data.b", "data.a / data.b", "data.a * 2.0", "data.a[data.b]", "data.a.b.c", "size(data.a)",
    "string(data.a)", "int(data.a)", "double(data.a)", "timestamp(data.a)", "data.a.matches('(x+)+y')",
    "data.a.map(x, x + 1)", "data.a.filter(x, x > data.b)", "cut(data.a, data.b)", "join(data.a, data.b)",
    "first(data.a)", "primary(data.a)", "country(data.a)", 'lookup("currency", data.a)', "lookup(data.a, data.b)",
    "data.a ? 1 : 2", "data.a in data.b", "{data.a: data.b}", "[data.a, data.b]", "-data.a", "!data.a", "data.a % data.b",
)  # fmt: skip


@given(st.sampled_from(PROGRAMS), json_values, json_values)
def test_no_object_makes_an_expression_raise_anything_but_unfit(program: str, a: Any, b: Any) -> None:
    try:
        compile_expression(program).evaluate(Scope({"a": a, "b": b}))
    except Unfit as error:
        assert str(error)


@given(st.sampled_from(PROGRAMS), st.sampled_from([0, "x", None, ["x"], {"b": 1}]))
def test_errors_hold_no_value(program: str, other: Any) -> None:
    secret = "Geheimrat"
    for a, b in ((secret, other), (other, secret), ([secret], other), ({secret: secret}, other)):
        try:
            compile_expression(program).evaluate(Scope({"a": a, "b": b}))
        except Unfit as error:
            assert secret not in str(error)
