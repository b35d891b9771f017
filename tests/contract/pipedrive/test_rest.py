"""REST API v2 (facts/pipedrive.md sections 8, 9, 10, 12 and the OpenAPI document in tests/data/pipedrive)."""

from __future__ import annotations

import re
from typing import Any

import httpx2
import pytest

from contract.pipedrive.company import PLURALS, PipedriveCompany, printed

# What a real object has and the printed example lacks, or the other way round.
NOT_PRINTED = {
    "organization": set(),
    "person": set(),
    "deal": {"first_won_time"},
}
NOT_SHOWN = {
    "organization": {"org_id"},  # printed, but in no schema
    "person": {"notes", "im", "birthday", "job_title", "postal_address", "marketing_status"},  # only with contact sync
    "deal": set(),
}


@pytest.mark.parametrize("entity", ["organization", "person", "deal"])
def test_an_object_has_the_printed_members_of_the_printed_types(company: PipedriveCompany, entity: str) -> None:
    """OpenAPI v2, the examples of GET /{entity}s/{id}."""
    example = printed(f"api-v2/{entity}.get")["data"]

    found = company.data("GET", f"/api/v2/{PLURALS[entity]}/{company.create(entity)['id']}")

    assert found.keys() - example.keys() <= NOT_PRINTED[entity]
    assert example.keys() - found.keys() <= NOT_SHOWN[entity]
    for name in found.keys() & example.keys():
        if found[name] is not None and example[name] is not None and not isinstance(example[name], float):
            assert type(found[name]) is type(example[name]), name


@pytest.mark.parametrize(
    "name",
    ["organizations", "persons", "deals", "organizationFields", "personFields", "dealFields", "stages", "pipelines"],
)
def test_a_list_has_the_printed_envelope(company: PipedriveCompany, name: str) -> None:
    """OpenAPI v2: success, data, additional_data.next_cursor."""
    for entity in PLURALS:
        company.create(entity)
    example = printed(f"api-v2/{name}.list")

    page = company.ask("GET", f"/api/v2/{name}").json()

    assert page.keys() - {"related_objects"} == example.keys() - {"related_objects"}
    assert page["additional_data"].keys() == example["additional_data"].keys()
    assert page["data"], "nothing to compare"
    if name.endswith("Fields"):
        needed = {"field_name", "field_code", "field_type", "options", "is_custom_field", "is_optional_response_field"}
        assert page["data"][0].keys() >= needed
    if name in {"stages", "pipelines"}:
        assert page["data"][0].keys() == example["data"][0].keys()


@pytest.mark.parametrize(
    ("path", "name"), [("/v1/currencies", "v1.currencies.list"), ("/v1/webhooks", "v1.webhooks.list")]
)
def test_v1_lists_have_the_printed_members(company: PipedriveCompany, path: str, name: str) -> None:
    """OpenAPI v1."""
    if path == "/v1/webhooks":
        body = {"subscription_url": "https://example.org/x", "event_action": "*", "event_object": "deal", "name": "x"}
        number = company.data("POST", path, body)["id"]
    example = printed(f"api-v2/{name}")

    page = company.ask("GET", path).json()

    assert page.keys() == example.keys()
    assert page["data"][0].keys() == example["data"][0].keys()
    if path == "/v1/webhooks":
        company.ask("DELETE", f"{path}/{number}")


def test_who_am_i(company: PipedriveCompany) -> None:
    """OpenAPI v1, GET /users/me: the members of a user, and the company."""
    example = printed("api-v2/v1.users.list")["data"][0]

    found = company.data("GET", "/v1/users/me")

    assert {"id", "name", "email", "is_you", "active_flag", "timezone_name"} <= example.keys() & found.keys()
    assert {"company_id", "company_domain"} <= found.keys()
    assert found["is_you"] is True


def test_a_change_leaves_the_rest(company: PipedriveCompany) -> None:
    made = company.create("organization", name="A", website="https://example.com")

    changed = company.data("PATCH", f"/api/v2/organizations/{made['id']}", {"name": "B"})

    assert (changed["name"], changed["website"]) == ("B", "https://example.com")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", changed["update_time"])


def test_a_deleted_object_is_marked(company: PipedriveCompany) -> None:
    """Soft delete: `is_deleted`, found by id, not in the list; DELETE answers {id}."""
    number = company.create("organization")["id"]

    answer = company.data("DELETE", f"/api/v2/organizations/{number}")

    assert answer == {"id": number}
    assert company.data("GET", f"/api/v2/organizations/{number}")["is_deleted"] is True
    assert number not in {row["id"] for row in company.all("/api/v2/organizations", limit=500)}


def test_an_unknown_object_is_404_in_the_envelope(company: PipedriveCompany) -> None:
    """facts/pipedrive.md section 10."""
    answer = company.ask("GET", "/api/v2/deals/999999999")

    assert answer.status_code == 404
    assert answer.json().keys() >= {"success", "error", "error_info", "data", "additional_data"}
    assert answer.json()["success"] is False


def test_without_a_token_401(company: PipedriveCompany) -> None:
    answer = httpx2.get(f"{company.url}/api/v2/deals", headers={"x-api-token": "no"})

    assert (answer.status_code, answer.json()["success"]) == (401, False)


# -- lists ------------------------------------------------------------------------------------------------------------


def test_pages_by_cursor_are_the_whole_list_once(company: PipedriveCompany) -> None:
    """`next_cursor` is opaque, null at the end."""
    made = {company.create("person", name=f"P {n}")["id"] for n in range(7)}

    rows = [row["id"] for row in company.all("/api/v2/persons", limit=3, sort_by="id")]

    assert len(rows) == len(set(rows))
    assert made <= set(rows)
    assert rows == sorted(rows)


@pytest.mark.parametrize("limit", ["0", "501", "x"])
def test_limit_is_1_to_500(company: PipedriveCompany, limit: str) -> None:
    answer = company.ask("GET", "/api/v2/deals", limit=limit)

    assert (answer.status_code, answer.json()["code"]) == (400, "ERR_SCHEMA_VALIDATION_FAILED")


def test_lists_by_ids_owner_and_relations(company: PipedriveCompany) -> None:
    organization, other = company.create("organization"), company.create("organization")
    person = company.create("person", org_id=organization["id"])
    deal = company.create("deal", org_id=organization["id"], person_id=person["id"])

    def ids(path: str, **query: Any) -> set[int]:
        return {row["id"] for row in company.all(f"/api/v2/{path}", limit=500, **query)}

    assert ids("organizations", ids=f"{organization['id']},{other['id']}") == {organization["id"], other["id"]}
    assert ids("persons", org_id=organization["id"]) == {person["id"]}
    assert ids("deals", org_id=organization["id"]) == ids("deals", person_id=person["id"]) == {deal["id"]}
    assert ids("deals", org_id=other["id"]) == set()


def test_updated_since_includes_and_until_excludes(company: PipedriveCompany) -> None:
    """OpenAPI v2: `updated_since` >=, `updated_until` <."""
    made = company.create("organization")
    at = made["update_time"]

    since = {row["id"] for row in company.all("/api/v2/organizations", updated_since=at, limit=500)}
    until = {row["id"] for row in company.all("/api/v2/organizations", updated_until=at, limit=500)}

    assert made["id"] in since
    assert made["id"] not in until


def test_a_bad_moment_is_refused(company: PipedriveCompany) -> None:
    assert company.ask("GET", "/api/v2/deals", updated_since="yesterday").status_code == 400


def test_order_and_direction(company: PipedriveCompany) -> None:
    for _ in range(3):
        company.create("deal")

    rows = [row["id"] for row in company.all("/api/v2/deals", sort_by="id", sort_direction="desc", limit=2)]

    assert rows == sorted(rows, reverse=True)
    assert company.ask("GET", "/api/v2/deals", sort_by="title").status_code == 400


def test_archived_deals_have_a_list_of_their_own(company: PipedriveCompany) -> None:
    """Changelog 2025-04-15."""
    number = company.create("deal")["id"]

    archived = company.data("PATCH", f"/api/v2/deals/{number}", {"is_archived": True})

    assert archived["archive_time"] is not None
    assert number in {row["id"] for row in company.all("/api/v2/deals/archived", limit=500)}
    assert number not in {row["id"] for row in company.all("/api/v2/deals", limit=500)}


def test_a_cursor_that_is_none_is_refused(company: PipedriveCompany) -> None:
    """Whoever walks must be able to tell it from an empty page."""
    assert company.ask("GET", "/api/v2/deals", cursor="no cursor").status_code == 400


def test_a_walk_by_id_shows_what_is_made_meanwhile_and_nothing_twice(company: PipedriveCompany) -> None:
    """Keyset cursors, facts/pipedrive.md section 9."""
    first = [company.create("organization")["id"] for _ in range(4)]
    page = company.ask("GET", "/api/v2/organizations", sort_by="id", sort_direction="asc", limit=2).json()
    later = company.create("organization")["id"]
    company.data("DELETE", f"/api/v2/organizations/{page['data'][0]['id']}")

    query = {"sort_by": "id", "sort_direction": "asc", "limit": 2, "cursor": page["additional_data"]["next_cursor"]}
    rest = [row["id"] for row in company.all("/api/v2/organizations", **query)]

    seen = [row["id"] for row in page["data"]] + rest
    assert seen == sorted(set(seen))
    assert {*first, later} <= set(seen)


def test_deleted_deals_are_shown_to_whoever_asks_for_them(company: PipedriveCompany) -> None:
    """OpenAPI v2: `status`, several separated by commas; for 30 days."""
    kept, deleted = company.create("deal")["id"], company.create("deal")["id"]
    company.data("DELETE", f"/api/v2/deals/{deleted}")

    every = {row["id"]: row for row in company.all("/api/v2/deals", status="open,won,lost,deleted", limit=500)}
    usual = {row["id"] for row in company.all("/api/v2/deals", limit=500)}

    assert every[deleted]["is_deleted"] is True
    assert every[kept]["is_deleted"] is False
    assert kept in usual
    assert deleted not in usual


def test_ids_are_a_hundred_at_most(company: PipedriveCompany) -> None:
    made = company.create("person")["id"]

    found = company.all("/api/v2/persons", ids=f"{made},999999999", limit=100)

    assert [row["id"] for row in found] == [made]
    assert company.ask("GET", "/api/v2/persons", ids=",".join(map(str, range(1, 102)))).status_code == 400


# -- fields -----------------------------------------------------------------------------------------------------------


# The printed values by the type of their field; options have ids of their own.
VALUES = {
    kind.partition("/")[0]: value
    for kind, value in printed("custom-fields/api-v2-values").items()
    if kind not in {"enum", "set"} and not kind.startswith("_")
}


@pytest.mark.parametrize("kind", VALUES)
def test_custom_values_go_in_and_out_as_printed(company: PipedriveCompany, kind: str) -> None:
    """API v2 migration guide."""
    code = company.field("organization", kind)

    made = company.create("organization", custom_fields={code: VALUES[kind]})

    assert company.data("GET", f"/api/v2/organizations/{made['id']}")["custom_fields"][code] == VALUES[kind]


def test_options_are_ids_and_a_set_is_cleared_with_null(company: PipedriveCompany) -> None:
    code = company.field("organization", "set")
    definition = company.data("GET", f"/api/v2/organizationFields/{code}")
    chosen = [option["id"] for option in definition["options"]][:2]
    made = company.create("organization", custom_fields={code: chosen})
    path = f"/api/v2/organizations/{made['id']}"

    assert company.data("GET", path)["custom_fields"][code] == chosen
    assert company.ask("PATCH", path, {"custom_fields": {code: []}}).status_code == 400
    assert company.data("PATCH", path, {"custom_fields": {code: None}})["custom_fields"].get(code) is None


def test_at_most_15_custom_fields_can_be_chosen(company: PipedriveCompany) -> None:
    code = company.field("organization", "double")
    made = company.create("organization", custom_fields={code: 5})
    path = f"/api/v2/organizations/{made['id']}"

    assert company.data("GET", path, custom_fields=code)["custom_fields"] == {code: 5}
    assert company.ask("GET", path, custom_fields=",".join([code] * 16)).status_code == 400


def test_hashes_at_the_root_are_refused(company: PipedriveCompany) -> None:
    """pipedrive/client-nodejs#651."""
    answer = company.ask("POST", "/api/v2/organizations", {"name": "A", "f" * 40: 1})

    assert (answer.status_code, answer.json()["code"]) == (400, "ERR_SCHEMA_VALIDATION_FAILED")


def test_a_field_is_made_renamed_and_deleted(company: PipedriveCompany) -> None:
    """Fields API v2: code and type stay, the name changes; a deleted field is ignored where it is sent."""
    made = company.data("POST", "/api/v2/dealFields", {"field_name": "Contract", "field_type": "varchar"})
    code = made["field_code"]

    renamed = company.data("PATCH", f"/api/v2/dealFields/{code}", {"field_name": "Contract 2"})
    company.data("DELETE", f"/api/v2/dealFields/{code}")

    assert re.fullmatch(r"[0-9a-f]{40}", code)
    assert (renamed["field_code"], renamed["field_name"]) == (code, "Contract 2")
    assert company.ask("GET", f"/api/v2/dealFields/{code}").status_code == 404
    assert code not in company.create("deal", custom_fields={code: "x"})["custom_fields"]


def test_an_address_has_its_parts_as_subfields(company: PipedriveCompany) -> None:
    code = company.field("organization", "address")

    definition = company.data("GET", f"/api/v2/organizationFields/{code}")

    assert {part["field_code"] for part in definition["subfields"]} >= {"country", "locality", "postal_code"}


# -- deals ------------------------------------------------------------------------------------------------------------


def test_status_and_times_move_together(company: PipedriveCompany) -> None:
    """[live] facts/pipedrive.md section 2."""
    path = f"/api/v2/deals/{company.create('deal')['id']}"

    lost = company.data("PATCH", path, {"status": "lost", "lost_reason": "Price"})
    won = company.data("PATCH", path, {"status": "won"})
    opened = company.data("PATCH", path, {"status": "open"})

    assert (lost["lost_reason"], lost["won_time"]) == ("Price", None)
    assert lost["lost_time"] == lost["close_time"] is not None
    assert won["won_time"] == won["close_time"] is not None
    assert (won["lost_time"], won["lost_reason"]) == (None, None)
    assert (opened["won_time"], opened["lost_time"], opened["close_time"]) == (None, None, None)


def test_a_stage_brings_its_pipeline(company: PipedriveCompany) -> None:
    stages = company.all("/api/v2/stages")
    deal = company.create("deal", stage_id=stages[0]["id"])

    moved = company.data("PATCH", f"/api/v2/deals/{deal['id']}", {"stage_id": stages[-1]["id"]})

    assert moved["pipeline_id"] == stages[-1]["pipeline_id"]
    assert moved["stage_change_time"] is not None


def test_forty_webhooks_and_no_more(company: PipedriveCompany) -> None:
    """422 over the limit; `name` is required."""
    body = {"subscription_url": "https://example.org/x", "event_action": "*", "event_object": "deal", "name": "x"}
    before = company.data("GET", "/v1/webhooks")
    made = [company.data("POST", "/v1/webhooks", body)["id"] for _ in range(40 - len(before))]

    over = company.ask("POST", "/v1/webhooks", body)
    for number in made:
        assert company.ask("DELETE", f"/v1/webhooks/{number}").is_success
    nameless = company.ask("POST", "/v1/webhooks", {**body, "name": ""})

    assert (over.status_code, nameless.status_code) == (422, 400)
