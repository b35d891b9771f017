"""One record at a time (Oracle section_1545141395, section_1545142173, section_1545142287 and the pages named below)."""

from __future__ import annotations

import re
from typing import Any

import pytest

from contract.netsuite.account import RECORD, STRICT, NetsuiteAccount, id_in, printed, unique


def error(answer: Any) -> dict[str, Any]:
    found: dict[str, Any] = answer.json()["o:errorDetails"][0]
    return found


def test_the_printed_create(account: NetsuiteAccount) -> None:
    """section_1545141395: 204, no body, the id only in Location; its field names are in lower case."""
    example = printed("write_204")
    body = {**example["request"]["body"], "entityid": unique("New Customer"), "subsidiary": {"id": account.subsidiary}}

    answer = account.request("POST", example["request"]["path"], body)

    assert (answer.status_code, answer.content) == (example["status"], b"")
    assert re.fullmatch(r"https://[^/]+/services/rest/record/v1/customer/\d+", answer.headers["location"])
    assert account.read("customer", id_in(answer))["companyName"] == body["companyname"]


def test_a_record_reads_back_with_links_and_references(account: NetsuiteAccount) -> None:
    """section_1545142037: a reference is {links, id, refName}; dates are ISO 8601 in UTC (section_157305090645)."""
    record = account.read("customer", account.create(email="a@example.com", startDate="2017-07-21"))

    assert record["links"][0]["rel"] == "self"
    assert record["links"][0]["href"].endswith(f"/services/rest/record/v1/customer/{record['id']}")
    assert record["subsidiary"].keys() >= {"links", "id", "refName"}
    assert record["subsidiary"]["id"] == account.subsidiary
    assert record["startDate"] == "2017-07-21"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", record["lastModifiedDate"])


def test_only_the_fields_asked_for(account: NetsuiteAccount) -> None:
    """REST API Browser: `fields` on a single GET."""
    internal_id = account.create(email="a@example.com", phone="1")

    record = account.read("customer", internal_id, "?fields=email,companyName")

    assert record.keys() == {"links", "id", "email", "companyName"} | (record.keys() & {"links"})


def test_a_patch_leaves_what_it_does_not_name_and_null_clears(account: NetsuiteAccount) -> None:
    """section_1545142173."""
    internal_id = account.create(email="a@example.com", phone="123456", comments="x")

    answer = account.request("PATCH", f"{RECORD}/customer/{internal_id}", {"phone": None, "comments": "y"})

    record = account.read("customer", internal_id)
    assert (answer.status_code, id_in(answer)) == (204, internal_id)
    assert (record["email"], record["comments"], record.get("phone")) == ("a@example.com", "y", None)


def test_replace_selected_fields_clears_only_those_named(account: NetsuiteAccount) -> None:
    """section_1545142173: `?replaceSelectedFields=true&replace=f1`."""
    internal_id = account.create(phone="123456", comments="x")
    path = f"{RECORD}/customer/{internal_id}?replaceSelectedFields=true&replace=phone"

    account.request("PATCH", path, {"comments": None})

    record = account.read("customer", internal_id)
    assert (record.get("phone"), record["comments"]) == (None, "x")


def test_an_upsert_creates_and_then_updates_the_same_record(account: NetsuiteAccount) -> None:
    """section_156335203191; Location carries the internal id both times [live]."""
    external_id = unique("pd-org")
    path = f"{RECORD}/customer/eid:{external_id}"

    first = account.request("PUT", path, account.body())
    second = account.request("PUT", path, {"comments": "again"})

    record = account.read("customer", f"eid:{external_id}")
    assert (first.status_code, second.status_code) == (204, 204)
    assert id_in(first) == id_in(second) == record["id"]
    assert (record["comments"], record["externalId"]) == ("again", external_id)


def test_put_needs_an_external_id(account: NetsuiteAccount) -> None:
    """section_156335203191; a live account answered 405."""
    answer = account.request("PUT", f"{RECORD}/customer/{account.create()}", {"comments": "x"})

    assert answer.status_code == 405


def test_a_deleted_record_is_gone(account: NetsuiteAccount) -> None:
    """section_1545142287: 204 without Location; section_156570709583: the 404."""
    internal_id = account.create()

    answer = account.request("DELETE", f"{RECORD}/customer/{internal_id}")
    after = account.request("GET", f"{RECORD}/customer/{internal_id}")

    expected = printed("error_404_nonexistent_id")
    assert (answer.status_code, "location" in answer.headers) == (204, False)
    assert after.status_code == 404
    assert after.json().keys() == expected["body"].keys()
    assert error(after)["o:errorCode"] == "NONEXISTENT_ID"


def test_a_record_with_dependants_stays(account: NetsuiteAccount) -> None:
    """facts/netsuite.md section 13."""
    customer = account.create()
    account.create("contact", company={"id": customer})

    answer = account.request("DELETE", f"{RECORD}/customer/{customer}")

    assert answer.status_code == 400
    assert account.read("customer", customer)["id"] == customer


# -- external ids (section_156334828635, section_N3433806, section_N3436356) ------------------------------------------


def test_an_external_id_is_unique_over_the_group_of_entities(account: NetsuiteAccount) -> None:
    """section_N3436356: customers and contacts share one group."""
    external_id = unique("pd")
    account.create(externalId=external_id)

    answer = account.request("POST", f"{RECORD}/contact", account.body("contact", externalId=external_id))

    assert answer.status_code == 400
    assert "This entity already exists." in error(answer)["detail"]  # [live], facts/netsuite.md section 7


def test_a_transaction_may_have_the_external_id_of_an_entity(account: NetsuiteAccount) -> None:
    """section_N3436356: transactions are a group of their own."""
    external_id = unique("pd")
    customer = account.create(externalId=external_id)

    opportunity = account.create("opportunity", entity={"id": customer}, title="T", externalId=external_id)

    assert account.read("opportunity", f"eid:{external_id}")["id"] == opportunity


def test_external_ids_have_no_case(account: NetsuiteAccount) -> None:
    """section_N3433806."""
    external_id = unique("pd-CASE")
    internal_id = account.create(externalId=external_id)

    assert account.read("customer", f"eid:{external_id.lower()}")["id"] == internal_id


def test_a_pipe_breaks_an_external_id(account: NetsuiteAccount) -> None:
    """section_156334828635: letters, digits, underscore, hyphen."""
    answer = account.request("PUT", f"{RECORD}/customer/eid:pd|1", account.body())

    assert answer.status_code == 400


# -- validation (section_156570709583, section_156570709583) ----------------------------------------------------------


def test_a_misspelt_field_is_dropped_with_a_warning(account: NetsuiteAccount) -> None:
    """The default, and the classic silent loss (facts/netsuite.md section 5)."""
    answer = account.request("POST", f"{RECORD}/customer", account.body(compnayName="x", emial="x"))

    assert answer.status_code == 204
    warned = answer.headers["x-netsuite-propertyvalidation"]
    assert "compnayName" in warned and "emial" in warned


def test_a_misspelt_field_is_an_error_if_one_says_so(account: NetsuiteAccount) -> None:
    answer = account.request("POST", f"{RECORD}/customer", account.body(emial="x"), **STRICT)

    assert (answer.status_code, error(answer)["o:errorPath"]) == (400, "emial")


def test_a_reference_to_nothing_always_fails_as_printed(account: NetsuiteAccount) -> None:
    """section_156570709583: whatever the validation headers say."""
    body = account.body(salesRep={"id": "999999"})

    answer = account.request("POST", f"{RECORD}/customer", body, **{"X-NetSuite-PropertyValueValidation": "ignore"})

    expected = printed("error_400_invalid_content")["body"]
    found = answer.json()
    assert answer.status_code == expected["status"]
    assert {name: found[name] for name in ("type", "title", "status")} == {
        name: expected[name] for name in ("type", "title", "status")
    }
    assert error(answer) == {
        "detail": "Error while accessing resource: You have entered an Invalid Field Value 999999 for the following "
        "field: salesRep",
        "o:errorCode": expected["o:errorDetails"][0]["o:errorCode"],
        "o:errorPath": "salesRep",
    }


def test_a_customer_needs_a_subsidiary(account: NetsuiteAccount) -> None:
    """[live] "Please enter value(s) for: Subsidiary." (facts/netsuite.md section 7)."""
    answer = account.request("POST", f"{RECORD}/customer", {"companyName": unique("C")})

    assert answer.status_code == 400
    assert error(answer)["o:errorCode"] == "USER_ERROR"
    assert "Please enter value(s) for: Subsidiary." in error(answer)["detail"]


def test_a_person_needs_two_names(account: NetsuiteAccount) -> None:
    """[live] "...First Name, Last Name."."""
    body = {"subsidiary": {"id": account.subsidiary}, "isPerson": True}

    answer = account.request("POST", f"{RECORD}/customer", body)

    assert "Please enter value(s) for: First Name, Last Name." in error(answer)["detail"]


def test_an_entity_id_is_unique(account: NetsuiteAccount) -> None:
    """[live] facts/netsuite.md section 7."""
    entity_id = unique("E")
    account.create(entityId=entity_id)

    answer = account.request("POST", f"{RECORD}/customer", account.body(entityId=entity_id.upper()))

    assert answer.status_code == 400
    assert "A customer record with this ID already exists." in error(answer)["detail"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("startDate", "21.07.2017"), ("creditLimit", "many"), ("isInactive", "yes"), ("companyName", 5)],
)
def test_a_value_of_another_type_is_refused(account: NetsuiteAccount, name: str, value: Any) -> None:
    """PropertyValueValidation, default error (section_156570709583)."""
    answer = account.request("POST", f"{RECORD}/customer", account.body(**{name: value}))

    assert answer.status_code == 400


def test_malformed_json_is_the_printed_invalid_request(account: NetsuiteAccount) -> None:
    """section_156570709583."""
    answer = account.http.post(
        f"{account.url}{RECORD}/customer",
        content=b'{"companyName": ',
        headers={"authorization": account.request("GET", f"{RECORD}/currency").request.headers["authorization"]},
    )

    expected = printed("error_400_invalid_request")
    assert (answer.status_code, answer.json()) == (expected["status"], expected["body"])


# -- references and sublists ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["object", "number", "scalar"])
def test_the_written_forms_of_a_reference(account: NetsuiteAccount, form: str) -> None:
    """facts/netsuite.md section 6: {"id": "12"}, {"id": 12}, and a bare scalar [live]."""
    value: Any = {"object": {"id": account.subsidiary}, "number": {"id": int(account.subsidiary)}}.get(
        form, account.subsidiary
    )

    internal_id = account.create(subsidiary=value)

    assert account.read("customer", internal_id)["subsidiary"]["id"] == account.subsidiary


def address(line: str) -> dict[str, Any]:
    return {"items": [{"label": line, "addressBookAddress": {"addr1": line, "country": {"id": "DE"}}}]}


def test_lines_without_a_key_are_appended_and_with_replace_replaced(account: NetsuiteAccount) -> None:
    """section_1545297048."""
    internal_id = account.create(addressBook=address("first"))
    path = f"{RECORD}/customer/{internal_id}"

    account.request("PATCH", path, {"addressBook": address("second")})
    appended = account.read("customer", internal_id, "?expandSubResources=true")["addressBook"]["items"]
    account.request("PATCH", f"{path}?replace=addressBook", {"addressBook": address("third")})
    replaced = account.read("customer", internal_id, "?expandSubResources=true")["addressBook"]["items"]

    assert [line["label"] for line in appended] == ["first", "second"]
    assert [line["label"] for line in replaced] == ["third"]


def test_a_sublist_is_only_a_link_unless_expanded(account: NetsuiteAccount) -> None:
    """REST API Browser: expandSubResources."""
    internal_id = account.create(addressBook=address("first"))

    assert "items" not in account.read("customer", internal_id)["addressBook"]


def test_the_printed_opportunity(account: NetsuiteAccount) -> None:
    """article_0718040350, with this account's customer; every field of the sample is known."""
    body = printed("opportunity_post_request")["request"]["body"]
    body |= {"entity": {"id": account.create()}, "subsidiary": {"id": account.subsidiary}}

    answer = account.request("POST", f"{RECORD}/opportunity", body, **STRICT)

    assert answer.status_code == 204, answer.text
    record = account.read("opportunity", id_in(answer), "?expandSubResources=true&simpleEnumFormat=true")
    assert [line["line"] for line in record["item"]["items"]] == [1, 2]
    assert (record["forecastType"], record["projectedTotal"]) == ("2", 100.0)


def test_existing_lines_are_named_by_their_number(account: NetsuiteAccount) -> None:
    """facts/netsuite.md section 12: new lines without `line`, existing lines with it."""
    lines = {"items": [{"item": {"id": "98"}, "quantity": 1.0, "rate": 2.0, "amount": 2.0}]}
    internal_id = account.create("opportunity", entity={"id": account.create()}, title="T", item=lines)

    account.request("PATCH", f"{RECORD}/opportunity/{internal_id}", {"item": {"items": [{"line": 1, "quantity": 5.0}]}})

    (line,) = account.read("opportunity", internal_id, "?expandSubResources=true")["item"]["items"]
    assert (line["quantity"], line["rate"]) == (5.0, 2.0)
