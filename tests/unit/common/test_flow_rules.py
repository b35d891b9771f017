"""Every problem of a flow is named at once, with its path and what was probably meant; nothing else ever leaves."""

from __future__ import annotations

import copy
from importlib import resources
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from ml_connector.common.errors import InvalidFlow
from ml_connector.common.expressions import CEL_FUNCTIONS, compile_expression
from ml_connector.common.flows import MAX_PROBLEMS, parse_flow
from ml_connector.common.netsuite_fields import KNOWN, OWN, PARENT_FIELD, SUBLISTS, problem_of
from ml_connector.sandbox.netsuite.schema import TYPES

TEXT = resources.files("ml_connector.cli.demo").joinpath("flow.yaml").read_text()
DOCUMENT: dict[str, Any] = YAML(typ="safe").load(TEXT)
NOTHING = object()


def changed(path: str, value: Any) -> dict[str, Any]:
    """The flow of the demo with one member put in; steps are divided by `|`."""
    document = copy.deepcopy(DOCUMENT)
    node = document
    *parents, last = path.split("|")
    for step in parents:
        node = node.setdefault(step, {})
    if value is NOTHING:
        del node[last]
    else:
        node[last] = value
    return document


def problems_of(document: Any) -> list[str]:
    try:
        parse_flow(document)
    except InvalidFlow as error:
        return error.problems
    return []


DEAL, ORG = "entities|deal", "entities|organization"


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        # members
        ("enviroment", "x", "enviroment: there is no such member; did you mean 'environment'?"),
        ("account", "1", "account: there is no such member here; did you mean netsuite.account?"),
        ("record", "1", "record: there is no such member here; did you mean entities.<entity>.record?"),
        ("flow", NOTHING, "flow: is needed"),
        (f"{DEAL}|feilds", {}, "entities.deal.feilds: there is no such member; did you mean 'fields'?"),
        ("pipedrive|webhook", {"verfy": "both"}, "pipedrive.webhook.verfy: there is no such member; did you mean 'v"),
        ("pipedrive|webhook", {"verify": "hmac"}, "pipedrive.webhook.verify: Input should be 'hmac-sha256', 'basic'"),
        ("entities|organisation", {}, "entities.organisation: Input should be 'organization', 'person' or 'deal'; did"),
        ("statuses|wonn", "8", "statuses.wonn: Input should be 'open', 'won', 'lost' or 'deleted'; did you mean 'won'"),
        # values of another kind
        ("netsuite|account", 1234567, "netsuite.account: a text is needed: write it in quotes"),
        ("stages|Sales/New", 8, "stages.Sales/New: a text is needed: write it in quotes"),
        (f"{DEAL}|fields|memo", {"a": 1}, "entities.deal.fields.memo: one value is needed here, not members or a list"),
        (f"{DEAL}|fields", "title", "entities.deal.fields: members are needed here"),
        (f"{ORG}|required", "companyName", "entities.organization.required: a list is needed"),
        # accounts
        ("netsuite|account", "1234567_sb1", "netsuite.account: an account id is in capitals, without spaces: 1234567"),
        ("environment", "production", "environment: environment is production, but account 1234567_SB1 is a sandbox"),
        # records and fields
        (f"{DEAL}|record", "invoice", "entities.deal.record: Input should be 'customer', 'contact' or 'opportunity'"),
        (f"{DEAL}|record", "contact", "entities.deal.record: must be opportunity, which is what a deal becomes"),
        (f"{ORG}|fields|companyname", "1", "entities.organization.fields.companyname: no customer has such a field; d"),
        (f"{ORG}|fields|phnoe", "1", "entities.organization.fields.phnoe: no customer has such a field; did you mean '"),
        (f"{ORG}|fields|addressBook", "data.a", "entities.organization.fields.addressBook: it is a list of lines"),
        (f"{ORG}|fields|externalId", "data.id", "entities.organization.fields.externalId: it cannot be mapped: it is"),
        (f"{DEAL}|fields|entity", "data.id", "entities.deal.fields.entity: it cannot be mapped: it is the customer"),
        (f"{ORG}|parent", "data.id", "entities.organization.parent: only a person and a deal have a parent"),
        (f"{DEAL}|match", ["title"], "entities.deal.match: opportunities are not looked for"),
        (f"{ORG}|match", ["email", "companyname"], "entities.organization.match: 'companyname' has no expression in f"),
        (f"{ORG}|required", ["emial"], "entities.organization.required: 'emial' has no expression in fields; did you "),
        # expressions
        (f"{DEAL}|fields|title", "data.title +", "entities.deal.fields.title: Failed to parse at character 13: mismat"),
        (f"{DEAL}|fields|title", "dat.title", "entities.deal.fields.title: 'dat' is not in scope; use data, custom, m"),
        (f"{DEAL}|fields|title", "Our deal", "entities.deal.fields.title: Failed to parse at character 5"),
        (f"{DEAL}|fields|title", "Deal", "entities.deal.fields.title: 'Deal' is not in scope; use data, custom, meta,"),
        (f"{DEAL}|fields|title", "cutt(data.title, 9)", "entities.deal.fields.title: there is no function cutt(); did"),
        (f"{DEAL}|fields|title", 'lookup("curency", data.x)', "entities.deal.fields.title: lookup kind must be one of"),
        (f"{DEAL}|parent", "parent.id", "entities.deal.parent: 'parent' is not in scope"),
        ("defaults|subsidiary", "Europe", "defaults.subsidiary: 'Europe' is not in scope"),
        # stages and schedule
        ("stages|Qualified", "8", "stages.Qualified: a stage is written as <pipeline>/<stage>, or by its id"),
        ("schedule|sync", "61 * * * *", "schedule.sync: not a cron expression (bad minute); five fields are needed"),
        ("schedule|sync", "@daily", "schedule.sync: not a cron expression (it has 1 fields)"),
        ("schedule|reconcile", "0 0 2 * * *", "schedule.reconcile: not a cron expression (it has 6 fields)"),
        ("schedule|time_zone", "Europe/Berlyn", "schedule.time_zone: 'Europe/Berlyn' is no time zone of the IANA database, as Europe/Berlin is; did you mean 'Europe/Berlin'?"),
        ("pipedrive|events", "none", "schedule.sync: pipedrive.events is none, so nothing else would bring changes"),
        ("pipedrive|events", "push", "pipedrive.events: "),
        ("schedule|time_zone", "localtime", "schedule.time_zone: 'localtime' is no time zone"),
        ("schedule|jitter", 3601, "schedule.jitter: "),
        ("schedule|synk", "0 2 * * *", "schedule.synk: "),
    ],
)  # fmt: skip
def test_each_problem_says_where_it_is_and_what_was_meant(path: str, value: Any, line: str) -> None:
    found = problems_of(changed(path, value))

    assert found[0].startswith(line), found


@pytest.mark.parametrize(
    ("written", "meant"),
    [("1234567_sb1", "1234567_SB1"), ("1234567-sb1", "1234567_SB1"), ("1234567-RP", "1234567_RP"), (" 1 ", "1")],
)
def test_account_as_hosts_have_it_is_refused_with_the_right_form(written: str, meant: str) -> None:
    found = problems_of(changed("netsuite|account", written))

    assert found[0].endswith(f"; did you mean {meant!r}?")


def test_rules_and_types_are_told_together() -> None:
    document = changed(f"{DEAL}|fields|item", "data.products")
    document |= {"environment": "production", "external_ids": "", "schedule": {"sync": "never"}}

    paths = {line.partition(":")[0] for line in problems_of(document)}

    assert paths == {"environment", "external_ids", "schedule.sync", "entities.deal.fields.item"}


def test_subsidiary_may_be_required_where_it_comes_from_the_defaults() -> None:
    assert problems_of(changed(f"{ORG}|required", ["companyName", "subsidiary"])) == []


def test_no_value_of_the_document_is_repeated() -> None:
    """Somebody may have put a token in the wrong place."""
    document = changed("netsuite|token", "s3cret") | {"api_token": "s3cret", "external_ids": "s3cret-s3cret!"}
    document["netsuite"]["concurrency"] = "s3cret"

    assert "s3cret" not in "\n".join(problems_of(document))


def test_thousands_of_problems_are_told_in_short() -> None:
    document = changed("stages", {f"stage {number}": "8" for number in range(5_000)})

    found = problems_of(document)

    assert len(found) == MAX_PROBLEMS + 1
    assert found[-1] == f"flow: and {5_000 - MAX_PROBLEMS} more problems"


def test_document_nested_beyond_reason_is_refused() -> None:
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"a": deep}

    assert problems_of({**DOCUMENT, "stages": deep}) == ["the document is nested too deeply"]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
PLACES = (
    "environment", "pipedrive", "netsuite", "netsuite|account", "defaults", "stages", "statuses", "entities", "schedule",
    "schedule|sync", DEAL, f"{DEAL}|fields", f"{DEAL}|fields|title", f"{DEAL}|match", f"{DEAL}|required", "entities|x",
)  # fmt: skip


@given(st.sampled_from(PLACES), VALUES)
@settings(max_examples=300, deadline=None)
def test_whatever_is_in_a_document_it_is_a_flow_or_an_invalid_flow(place: str, value: Any) -> None:
    assert all(isinstance(line, str) for line in problems_of(changed(place, value)))


# -- NetSuite's fields ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("record", KNOWN)
def test_every_field_that_the_stand_in_has_is_known_or_refused_for_a_reason(record: Any) -> None:
    refused = SUBLISTS | OWN.keys() | {PARENT_FIELD.get(record)}
    for name, field in TYPES[record].fields.items():
        problem = problem_of(record, name)

        assert (problem is not None) == (name in refused), name
        assert (field.kind == "sublist") <= (name in SUBLISTS), name


@pytest.mark.parametrize("field", ["custentity_x", "custbody_companyname", "somethingNew", "dateCreated"])
def test_field_that_may_exist_is_let_through(field: str) -> None:
    assert problem_of("customer", field) is None


# -- CEL -----------------------------------------------------------------------------------------------------------------


def test_every_function_that_is_said_to_be_there_is() -> None:
    """The engine names what it does not have only when it is executed."""
    moment = 'timestamp("2026-01-01T00:00:00Z")'
    calls = {name: f"{moment}.{name}()" for name in CEL_FUNCTIONS if name.startswith("get")}
    calls |= dict.fromkeys(("contains", "startsWith", "endsWith", "matches"), "")
    calls = {name: call or f'"a".{name}("a")' for name, call in calls.items()}
    calls |= {"timestamp": f"{moment} == {moment}", "duration": 'duration("1h") > duration("1m")'}

    for name in CEL_FUNCTIONS:
        import cel

        cel.compile(calls.get(name, f'{name}("1")')).execute({})


@pytest.mark.parametrize("source", ["data.emails.map(e, e.value)[0]", "data.x.exists(e, e == 1)", "has(data.x)"])
def test_macros_are_no_unknown_functions(source: str) -> None:
    assert compile_expression(source).source == source
