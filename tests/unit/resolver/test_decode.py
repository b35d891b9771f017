"""Whatever Pipedrive sends becomes an event, or is refused by name; both shapes say the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_connector.common.errors import Malformed
from ml_connector.common.flows import parse_flow
from ml_connector.common.generation import Generation
from ml_connector.common.wire import StoredDefinitions
from ml_connector.resolver.decode import cause_of, decode_rest, decode_webhook, timestamp_ms
from ml_connector.resolver.definitions import Definitions
from ml_connector.resolver.plan import compile_flow

DATA = Path(__file__).parents[2] / "data" / "pipedrive"
LATER_MS = 2_000_000_000_000
EXAMPLES = sorted((DATA / "webhook-v2-official").glob("*.json"))

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


def official(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DATA / "webhook-v2-official" / f"{name}.json").read_text())
    return found


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_official_example_decodes(path: Path) -> None:
    body = path.read_bytes()
    meta = json.loads(body)["meta"]

    event = decode_webhook(body, arrived_at_ms=LATER_MS)

    assert event.cause == f"{meta['webhook_id']}:{meta['id']}"
    assert event.entity == meta["entity"]


def test_members_of_an_official_change() -> None:
    event = decode_webhook((DATA / "webhook-v2-official" / "deal.change.json").read_bytes(), arrived_at_ms=LATER_MS)

    assert (event.source_id, event.action, event.name) == ("8", "change", "Sample Org deal")
    assert event.generation == Generation(1669302715724)  # 2022-11-24T15:11:55.724Z
    assert list(event.custom) == ["3d0fa3429dfa2d3dec265b4fc5dc8258ab66cdf3"]


def test_the_rest_of_meta_is_there_for_flows_that_name_it() -> None:
    body = (DATA / "webhook-v2-official" / "deal.change.json").read_bytes()

    assert decode_webhook(body, arrived_at_ms=LATER_MS).meta == {}
    assert decode_webhook(body, arrived_at_ms=LATER_MS, whole_meta=True).meta == json.loads(body)["meta"]


@pytest.mark.parametrize(("expression", "names"), [("meta.user_id", True), ("data.name", False)])
def test_flow_that_names_meta_gets_it(expression: str, names: bool) -> None:
    document = {
        "flow": "f",
        "environment": "production",
        "pipedrive": {"company": "c"},
        "netsuite": {"account": "1"},
        "external_ids": "pd",
        "entities": {"organization": {"record": "customer", "fields": {"comments": expression}}},
    }

    assert compile_flow(parse_flow(document), version=1).names_meta is names


def test_deletion_has_no_data_but_the_last_state() -> None:
    event = decode_webhook(
        (DATA / "webhook-v2-official" / "organization.delete.json").read_bytes(), arrived_at_ms=LATER_MS
    )

    assert (event.action, event.source_id, event.name) == ("delete", "1", "Sample Org")


def test_merge_names_who_took_over() -> None:
    body = official("organization.delete")
    body["meta"]["merged_to_id"] = "77"

    assert decode_webhook(json.dumps(body).encode(), arrived_at_ms=LATER_MS).merged_to == "77"


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("timestamp", "not a time"),
        ("timestamp", None),
        ("action", "explode"),
        ("entity", 7),
        ("entity_id", "../../etc"),
        ("id", "a#b"),
        ("webhook_id", None),
        ("version", "1.0"),
    ],
)
def test_meta_that_is_not_v2_is_malformed(member: str, value: object) -> None:
    body = official("deal.create")
    body["meta"][member] = value
    body["data"]["id"] = "x" if member == "entity_id" else body["data"]["id"]

    with pytest.raises(Malformed):
        decode_webhook(json.dumps(body).encode(), arrived_at_ms=LATER_MS)


def test_event_of_another_company_is_malformed() -> None:
    body = json.dumps(official("deal.create")).encode()

    with pytest.raises(Malformed, match="company"):
        decode_webhook(body, arrived_at_ms=LATER_MS, company_id="1")


def test_event_from_the_future_is_malformed() -> None:
    with pytest.raises(Malformed, match="5 minutes ahead"):
        decode_webhook(json.dumps(official("deal.create")).encode(), arrived_at_ms=1_000)


def test_both_spellings_of_a_time_are_the_same_moment() -> None:
    assert timestamp_ms("2022-11-24T15:11:55.724Z") == 1669302715724
    assert timestamp_ms(1669302715) == 1669302715000


@given(st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_an_event_or_malformed(body: bytes) -> None:
    """Nothing else may leave: Faust drops what raises."""
    assert cause_of(body)
    with pytest.raises(Malformed):
        decode_webhook(body, arrived_at_ms=LATER_MS)


@given(st.dictionaries(st.sampled_from(["data", "previous", "meta"]), json_values), json_values, json_values)
def test_any_event_shaped_json_is_an_event_or_malformed(body: dict[str, Any], meta: Any, data: Any) -> None:
    template = official("deal.change")
    body = {**template, **body, "data": data, "meta": {**template["meta"], "entity_id": meta, "timestamp": data}}

    try:
        event = decode_webhook(json.dumps(body).encode(), arrived_at_ms=LATER_MS)
    except Malformed:
        return
    assert event.cause.endswith(str(template["meta"]["id"]))


# -- custom fields: every type, in both shapes -----------------------------------------------------------------------

WEBHOOK = json.loads((DATA / "custom-fields" / "webhook-v2-typed-values.json").read_text())

READABLE = {  # by hand, from the official values
    "varchar": ("This is a custom text field.", "This is a custom text field."),
    "text": ("long", "long"),
    "varchar_auto": ("Hello there", "Hello there"),
    "double": (123, 123),
    "phone": ("1234-5678", "1234-5678"),
    "date": ("2023-06-27", "2023-06-27"),
    "people": (17818, 17818),
    "org": (1, 1),
    "user": (13075973, 13075973),
    "enum": (17, "Seventeen"),
    "set": ([13, 14], ["Thirteen", "Fourteen"]),
    "monetary": ({"value": 200, "currency": "EUR"}, {"value": 200, "currency": "EUR"}),
    "daterange": ({"value": "2023-06-06", "until": "2023-06-14"}, {"from": "2023-06-06", "until": "2023-06-14"}),
    "timerange": (
        {"value": "00:00:00", "until": "01:15:00", "timezone_id": 310, "timezone_name": "x"},
        {"from": "00:00:00", "until": "01:15:00"},
    ),
    "time": ({"value": "00:45:00", "timezone_id": 310, "timezone_name": "x"}, "00:45:00"),
}
OPTIONS = [{"id": 17, "label": "Seventeen"}, {"id": 13, "label": "Thirteen"}, {"id": 14, "label": "Fourteen"}]


def definitions(*kinds: str) -> Definitions:
    fields = [
        {"field_code": f"{number:040x}", "field_name": "Field", "field_type": kind, "options": OPTIONS}
        for number, kind in enumerate(kinds)
    ]
    return Definitions(StoredDefinitions(company="c", entity="deal", read_at_ms=0, fields=fields))


@pytest.mark.parametrize("kind", READABLE)
def test_custom_value_reads_the_same_from_a_webhook_and_from_rest(kind: str) -> None:
    rest, readable = READABLE[kind]
    typed = dict(WEBHOOK[kind], value="long") if kind == "text" else WEBHOOK[kind]
    field = definitions(kind).find("Field")

    assert field is not None
    assert field.readable(typed) == readable
    assert field.readable(rest) == readable
    assert field.readable(None) is None or kind == "set"


def test_address_has_its_parts() -> None:
    field = definitions("address").find("Field")

    assert field is not None
    found = field.readable(WEBHOOK["address"])
    assert (found["locality"], found["postal_code"], found["country"]) == ("Tallinn", "10616", "Estonia")


def test_fields_of_one_name_are_kept_apart() -> None:
    both = definitions("varchar", "double")
    first, second, by_code = both.find("Field"), both.find("Field (2)"), both.find(f"{1:040x}")

    assert first is not None and second is not None
    assert first.code != second.code
    assert by_code == second


def test_rest_object_is_the_same_event_type() -> None:
    found = json.loads((DATA / "api-v2" / "organization.get.json").read_text())["data"]

    event = decode_rest("organization", found, source_id="1", cause="hyd:1", generation=Generation(5))

    assert (event.action, event.name, event.data["visible_to"]) == ("change", "Organization Name", "7")
    assert decode_rest(
        "organization", {**found, "is_deleted": True}, source_id="1", cause="hyd:1", generation=Generation(5)
    ).action == "delete"  # fmt: skip
