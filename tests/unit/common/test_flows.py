"""A flow is accepted whole, or refused with every problem and where it is."""

from __future__ import annotations

import copy
from decimal import Decimal
from importlib import resources
from typing import Any

import pytest
from ruamel.yaml import YAML

from ml_connector.common.errors import InvalidFlow
from ml_connector.common.expressions import Scope, Unfit, compile_expression
from ml_connector.common.flows import environment_of, parse_flow
from ml_connector.common.wire import Reference

TEXT = resources.files("ml_connector.cli.demo").joinpath("flow.yaml").read_text()


def document() -> dict[str, Any]:
    found: dict[str, Any] = copy.deepcopy(YAML(typ="safe").load(TEXT))
    return found


def test_flow_of_the_demo_is_valid() -> None:
    flow = parse_flow(document())

    assert (flow.flow, flow.environment, flow.netsuite.account) == ("acme-eu", "sandbox", "1234567_SB1")
    assert flow.netsuite.url == "https://1234567-sb1.suitetalk.api.netsuite.com"


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        ("environment", "production", "environment is production, but account 1234567_SB1 is a sandbox account"),
        ("external_ids", "a|b", "external_ids: String should match pattern"),
        ("unknown", 1, "unknown: there is no such member; there are "),
        ("entities.deal.fields.title", "data.title +", "entities.deal.fields.title: Failed to parse"),
        ("entities.deal.fields.title", "password", "'password' is not in scope; use data, custom, meta, stage_status"),
        (
            "entities.deal.record",
            "invoice",
            "entities.deal.record: Input should be 'customer', 'contact' or 'opportunity'",
        ),
        ("entities.deal.record", "customer", "entities.deal.record: must be opportunity"),
        (
            "entities.organization.required",
            ["nope"],
            "entities.organization.required: 'nope' has no expression in fields",
        ),
        ("statuses.won", "eight", "statuses.won: String should match pattern"),
    ],
)
def test_each_rule_says_where_and_what(path: str, value: Any, problem: str) -> None:
    changed = document()
    node = changed
    *parents, last = path.split(".")
    for step in parents:
        node = node[step]
    node[last] = value

    with pytest.raises(InvalidFlow) as error:
        parse_flow(changed)

    assert len(error.value.problems) == 1
    assert problem in error.value.problems[0]


def test_all_problems_come_at_once() -> None:
    changed = document() | {"external_ids": "", "flow": "Not A Name", "more": 1}

    with pytest.raises(InvalidFlow) as error:
        parse_flow(changed)

    assert {line.partition(":")[0] for line in error.value.problems} == {"external_ids", "flow", "more"}


@pytest.mark.parametrize(
    ("account", "expected"),
    [("1", "production"), ("1_SB2", "sandbox"), ("1_RP", "production"), ("1_sb1", "production")],
)
def test_only_an_upper_case_sb_suffix_is_a_sandbox(account: str, expected: str) -> None:
    assert environment_of(account) == expected


SCOPE = Scope(
    {
        "name": "Acme",
        "value": Decimal("10.10"),
        "currency": "EUR",
        "emails": [{"value": "a@b.c", "primary": False}, {"value": "d@e.f", "primary": True}],
        "address": {"country": "Estonia"},
    },
    {"Regions": ["North", "", "West"]},
    {"action": "create"},
    "8",
)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("data.name", "Acme"),
        ("data.value", Decimal("10.10")),
        ("data.address.country", "Estonia"),
        ("data.missing", None),
        ("data.missing.deeper", None),
        ("stage_status", "8"),
        ("meta.action", "create"),
        ('lookup("currency", data.currency)', Reference("currency", "EUR")),
        ('lookup("currency", data.missing)', None),
        ('join(custom["Regions"], ", ")', "North, West"),
        ('join(custom["Missing"], ", ")', None),
        ("first(data.emails).value", "a@b.c"),
        ("primary(data.emails)", "d@e.f"),
        ("primary(data.missing)", None),
        ("cut(data.name, 2)", "Ac"),
        ('data.missing == null ? "none" : data.missing', "none"),
        ('"2"', "2"),
    ],
)
def test_expressions(expression: str, expected: Any) -> None:
    assert compile_expression(expression).evaluate(SCOPE) == expected


WHOLE = {"country": "Estonia", "locality": "Tallinn", "route": "Main Street", "parts": [1, 2]}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ('data.address.country + ", " + data.address["locality"]', "Estonia, Tallinn"),
        ("size(data.address)", 4),
        ("data.address.country + string(size(data.address))", "Estonia4"),
        ('data.address .route + ""', "Main Street"),
        ("data.address.exists(key, key == 'route') ? data.address.country : ''", "Estonia"),
        ("has(data.address.route) ? 1 : 0", 1),
        ("has(data.address.postal_code) ? 1 : 0", 0),
        ("data.address == null ? 0 : data.address.parts[1]", 2),
        ("data.nothing == null ? 'none' : data.nothing.country", "none"),
        ('"data.address.country" + data.address.route', "data.address.countryMain Street"),
    ],
)
def test_an_expression_is_given_what_it_names_and_that_is_enough(expression: str, expected: Any) -> None:
    assert compile_expression(expression).evaluate(Scope({"address": WHOLE, "nothing": None})) == expected


def test_a_member_of_a_member_that_is_not_there_does_not_fit() -> None:
    with pytest.raises(Unfit, match="not there"):
        compile_expression("data.address.postal_code + data.address.route").evaluate(Scope({"address": WHOLE}))


@pytest.mark.parametrize(
    "expression", ["data.name + 1", "data.name.deeper", "lookup(data.currency, data.name)", "int(data.name)"]
)
def test_expression_that_does_not_fit_names_types_never_the_value(expression: str) -> None:
    with pytest.raises(Unfit) as error:
        compile_expression(expression).evaluate(SCOPE)

    assert "Acme" not in str(error.value)
