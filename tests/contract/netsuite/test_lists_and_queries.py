"""Collections (Oracle section_156414087576, section_1545222128) and SuiteQL (section_157909186990)."""

from __future__ import annotations

import pytest

from contract.netsuite.account import RECORD, NetsuiteAccount, printed, unique


def ids(account: NetsuiteAccount, q: str) -> list[str]:
    answer = account.request("GET", f"{RECORD}/customer?q={q}")
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.json()["items"]]


def test_a_page_of_records_has_ids_and_links_only(account: NetsuiteAccount) -> None:
    """section_156414087576, subsect_1544786455."""
    for _ in range(3):
        account.create()

    answer = account.request("GET", f"{RECORD}/customer?limit=2")

    expected, page = printed("collection_page_1")["body"], answer.json()
    assert (answer.status_code, page.keys()) == (200, expected.keys())
    assert (page["count"], page["offset"], page["hasMore"]) == (2, 0, True)
    assert [item.keys() for item in page["items"]] == [expected["items"][0].keys()] * 2
    assert {link["rel"] for link in page["links"]} == {link["rel"] for link in expected["links"]}


def test_pages_together_are_the_whole_list(account: NetsuiteAccount) -> None:
    account.create()
    total = account.request("GET", f"{RECORD}/customer?limit=1").json()["totalResults"]

    seen: list[str] = []
    for offset in range(0, total, 5):
        page = account.request("GET", f"{RECORD}/customer?limit=5&offset={offset}").json()
        seen += [item["id"] for item in page["items"]]

    assert len(seen) == len(set(seen)) == total


@pytest.mark.parametrize("query", ["limit=5&offset=3", "limit=1001", "limit=0", "limit=many"])
def test_offset_is_divisible_by_limit_and_limit_at_most_1000(account: NetsuiteAccount, query: str) -> None:
    """section_156414087576."""
    assert account.request("GET", f"{RECORD}/customer?{query}").status_code == 400


def test_conditions_on_a_list(account: NetsuiteAccount) -> None:
    """section_1545222128: operators, AND, double quotes round what has spaces."""
    name = unique("Filter me")
    first, second = account.create(companyName=name, email="x@example.com"), account.create(companyName=f"{name} too")

    assert ids(account, f'companyName IS "{name}"') == [first]
    assert ids(account, f'companyName START_WITH "{name}"') == [first, second]
    assert ids(account, f'companyName START_WITH "{name}" AND email CONTAIN example') == [first]
    assert ids(account, f'companyName START_WITH "{name}" AND id > {first}') == [second]


def test_single_quotes_are_no_quotes(account: NetsuiteAccount) -> None:
    """[live] INVALID_PARAMETER with o:errorQueryParam (facts/netsuite.md sections 7 and 11)."""
    answer = account.request("GET", f"{RECORD}/customer?q=companyName IS 'x'")

    detail = answer.json()["o:errorDetails"][0]
    assert (answer.status_code, detail["o:errorCode"], detail["o:errorQueryParam"]) == (400, "INVALID_PARAMETER", "q")


# -- SuiteQL ----------------------------------------------------------------------------------------------------------


def test_the_shape_of_an_answer(account: NetsuiteAccount) -> None:
    """section_157909186990: values are texts, every row has its own links."""
    customer = account.create()
    for amount in (1, 2):
        account.create("opportunity", entity={"id": customer}, title="T", projectedTotal=amount)

    answer = account.suiteql(
        f"SELECT entity, COUNT(*) as count FROM transaction WHERE entity = {customer} GROUP BY entity"
    )

    expected, page = printed("suiteql_page")["body"], answer.json()
    assert (answer.status_code, page.keys() - {"hasMore"}) == (200, expected.keys())
    assert page["items"] == [{"links": [], "entity": customer, "count": "2"}]


def test_prefer_transient_is_required(account: NetsuiteAccount) -> None:
    answer = account.request("POST", "/services/rest/query/v1/suiteql", {"q": "SELECT id FROM customer"})

    assert answer.status_code == 400


def test_external_ids_resolve_in_bulk(account: NetsuiteAccount) -> None:
    """facts/netsuite.md section 11: `externalid` is a plain column."""
    external_ids = [unique("pd-org") for _ in range(3)]
    expected = {one: account.create(externalId=one) for one in external_ids}
    listed = ", ".join(f"'{one}'" for one in external_ids)

    rows = account.suiteql(f"SELECT id, externalid FROM customer WHERE externalid IN ({listed})").json()["items"]

    assert {row["externalid"]: row["id"] for row in rows} == expected


def test_texts_compare_with_their_case(account: NetsuiteAccount) -> None:
    """[live] use LOWER()."""
    email = f"{unique('Mixed')}@example.com"
    internal_id = account.create(email=email)

    exact = account.suiteql(f"SELECT id FROM customer WHERE email = '{email.lower()}'").json()
    lower = account.suiteql(f"SELECT id FROM customer WHERE LOWER(email) = '{email.lower()}'").json()

    assert exact["items"] == []
    assert [row["id"] for row in lower["items"]] == [internal_id]


def test_booleans_are_letters_and_names_lower_case(account: NetsuiteAccount) -> None:
    """facts/netsuite.md section 11: 'T' and 'F', lower case even with AS."""
    internal_id = account.create(isInactive=True)

    (row,) = account.suiteql(f"SELECT isInactive AS Gone FROM customer WHERE id = {internal_id}").json()["items"]

    assert row == {"links": [], "gone": "T"}


def test_what_changed_since(account: NetsuiteAccount) -> None:
    """The delta of facts/netsuite.md section 11; TO_CHAR, since a bare date comes in the account's display format."""
    internal_id = account.create()
    since = "TO_TIMESTAMP('2020-01-15 00:00:00', 'YYYY-MM-DD HH24:MI:SS')"

    (row,) = account.suiteql(
        "SELECT TO_CHAR(lastmodifieddate, 'YYYY-MM-DD') AS day, lastmodifieddate FROM customer "
        f"WHERE id = {internal_id} AND lastmodifieddate >= {since}"
    ).json()["items"]

    year, month, day = row["day"].split("-")
    assert row["lastmodifieddate"] == f"{int(month)}/{int(day)}/{year}"


def test_joins_order_and_pages(account: NetsuiteAccount) -> None:
    """1000 rows a page, a unique order (section_158394344595)."""
    customer = account.create()
    made = [account.create("opportunity", entity={"id": customer}, title=f"T{n}") for n in range(3)]
    q = (
        "SELECT t.id AS id, c.companyname FROM transaction t INNER JOIN customer c ON c.id = t.entity "
        f"WHERE c.id = {customer} AND t.type = 'Opprtnty' ORDER BY t.id"
    )

    first, second = account.suiteql(q, "?limit=2").json(), account.suiteql(q, "?limit=2&offset=2").json()

    assert [row["id"] for row in (*first["items"], *second["items"])] == made
    assert (first["hasMore"], second["hasMore"], first["totalResults"]) == (True, False, 3)


def test_parameters(account: NetsuiteAccount) -> None:
    """2026.2 release notes: `params` for `?`."""
    internal_id = account.create(email="it's@example.com")

    rows = account.suiteql(
        "SELECT id FROM customer WHERE id = ? AND email = ?", params=[internal_id, "it's@example.com"]
    )

    assert [row["id"] for row in rows.json()["items"]] == [internal_id]


@pytest.mark.parametrize(
    "q", ["SELECT id FROM no_such_table", "SELEC id", "DELETE FROM customer", "SELECT nope FROM customer"]
)
def test_a_bad_query_is_an_invalid_parameter(account: NetsuiteAccount, q: str) -> None:
    """[live] facts/netsuite.md section 7."""
    answer = account.suiteql(q)

    assert (answer.status_code, answer.json()["o:errorDetails"][0]["o:errorCode"]) == (400, "INVALID_PARAMETER")


@pytest.mark.parametrize("query", ["?limit=1001", "?limit=10&offset=5", "?limit=1000&offset=100000"])
def test_limits_of_a_query(account: NetsuiteAccount, query: str) -> None:
    """section_156414087576: 1000 rows a page, offset divisible by limit, 100,000 rows in all."""
    assert account.suiteql("SELECT id FROM customer", query).status_code == 400


def test_custom_fields_say_whether_they_are_mandatory(account: NetsuiteAccount) -> None:
    """[code] of several clients of live accounts: script ids in capitals, `internalid` instead of `id`."""
    rows = account.suiteql(
        "SELECT internalid, scriptid, name, fieldtype, ismandatory FROM customfield "
        "WHERE fieldtype IN ('ENTITY', 'BODY') AND isstored = 'T'"
    ).json()["items"]

    kinds = {(row["scriptid"][:5], row["fieldtype"]) for row in rows}
    assert kinds <= {("CUSTE", "ENTITY"), ("CUSTB", "BODY")}
    assert {row["ismandatory"] for row in rows} <= {"T", "F"}


def test_currencies_have_a_symbol_and_say_whether_they_are_used(account: NetsuiteAccount) -> None:
    rows = account.suiteql("SELECT id, symbol, isinactive FROM currency WHERE isinactive = 'F'").json()["items"]

    assert all(len(row["symbol"]) == 3 and row["isinactive"] == "F" for row in rows)
    assert "USD" in {row["symbol"] for row in rows}


def test_the_catalog_describes_one_record_type_and_marks_custom_fields(account: NetsuiteAccount) -> None:
    """[code] airbyte-source-netsuite: `title`, `type`, `nullable`, `x-ns-custom-field`; nothing on mandatory fields."""
    answer = account.request("GET", f"{RECORD}/metadata-catalog/customer", Accept="application/schema+json")

    schema = answer.json()
    assert (answer.status_code, schema["type"], "required" in schema) == (200, "object", False)
    assert schema["properties"].keys() >= {"companyName", "email", "subsidiary"}
    custom = {name for name, one in schema["properties"].items() if one.get("x-ns-custom-field")}
    assert all(name.startswith("cust") and name == name.lower() for name in custom)
