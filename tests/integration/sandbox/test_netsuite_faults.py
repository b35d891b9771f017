"""What the NetSuite stand-in can do wrong on command, and what it grants: what no client can ask of a real account."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from contract.netsuite.account import ASYNC, BATCH, RECORD, STRICT, NetsuiteAccount, printed, unique
from support.netsuite_standin import NetsuiteProcess


@pytest.fixture
def account(netsuite: NetsuiteProcess, request: pytest.FixtureRequest) -> Iterator[NetsuiteAccount]:
    yield netsuite.account(unique("1"))
    netsuite.admin("DELETE", "faults")
    netsuite.admin("POST", "settings", {"latency_ms": 0})


def upsert(account: NetsuiteAccount, external_id: str = "pd-org-1", **fields: Any) -> httpx2.Response:
    return account.request("PUT", f"{RECORD}/customer/eid:{external_id}", account.body(**fields))


def there(account: NetsuiteAccount, external_id: str = "pd-org-1") -> bool:
    return account.request("GET", f"{RECORD}/customer/eid:{external_id}").status_code == 200


def until(condition: Any, within_s: float = 5.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("kind", "status", "code", "written"),
    [
        ("error_before_commit", 500, "UNEXPECTED_ERROR", False),
        ("error_after_commit", 500, "UNEXPECTED_ERROR", True),
        ("status_5xx", 500, "UNEXPECTED_ERROR", False),
        ("status_429", 429, "CONCURRENCY_LIMIT_EXCEEDED", False),
        ("status_400_concurrency", 400, "CONCURRENCY_LIMIT_EXCEEDED", False),
        ("masked_login", 401, "INVALID_LOGIN", False),
        ("locked_record", 400, "USER_ERROR", False),
        ("optimistic_lock", 400, "RCRD_HAS_BEEN_CHANGED", False),
        ("maintenance", 503, "SERVICE_UNAVAILABLE", False),
    ],
)
def test_an_error_before_or_after_the_commit(
    netsuite: NetsuiteProcess, account: NetsuiteAccount, kind: str, status: int, code: str, written: bool
) -> None:
    netsuite.admin("POST", "faults", {"kind": kind, "match": {"method": "PUT"}})

    answer = upsert(account)

    assert (answer.status_code, answer.json()["o:errorDetails"][0]["o:errorCode"]) == (status, code)
    assert there(account) is written
    assert upsert(account).status_code == 204, "a fault strikes as often as was said"


@pytest.mark.parametrize("name", ["error_429_concurrency", "error_500_unexpected", "error_401_invalid_login"])
def test_errors_look_as_printed(netsuite: NetsuiteProcess, account: NetsuiteAccount, name: str) -> None:
    """Oracle section_156570709583."""
    kind = {"error_429_concurrency": "status_429", "error_500_unexpected": "status_5xx"}.get(name, "masked_login")
    netsuite.admin("POST", "faults", {"kind": kind, "match": {"method": "PUT"}})

    answer = upsert(account)

    assert (answer.status_code, answer.json()) == (printed(name)["status"], printed(name)["body"])


@pytest.mark.parametrize(("kind", "written"), [("reset", False), ("lost_answer", True), ("timeout_after_commit", True)])
def test_a_lost_answer(netsuite: NetsuiteProcess, account: NetsuiteAccount, kind: str, written: bool) -> None:
    netsuite.admin("POST", "faults", {"kind": kind, "delay_s": 0.1, "match": {"method": "PUT"}})

    with pytest.raises(httpx2.TransportError):
        upsert(account)

    assert there(account) is written


def test_a_late_commit_overtakes(netsuite: NetsuiteProcess, account: NetsuiteAccount) -> None:
    """The answer is lost at once, the write happens later, over what was written meanwhile."""
    upsert(account, comments="0")
    netsuite.admin("POST", "faults", {"kind": "late_commit", "delay_s": 0.5, "match": {"method": "PUT"}})
    with pytest.raises(httpx2.TransportError):
        upsert(account, comments="late")
    upsert(account, comments="2")
    assert account.read("customer", "eid:pd-org-1")["comments"] == "2"

    until(lambda: account.read("customer", "eid:pd-org-1")["comments"] == "late")

    line = next(line for line in netsuite.log() if line["code"] == "late_commit")
    assert line["commit_seq"] is not None and line["status"] == 0


def test_a_body_that_is_cut_slow_or_no_json(netsuite: NetsuiteProcess, account: NetsuiteAccount) -> None:
    upsert(account)
    path = f"{RECORD}/customer/eid:pd-org-1"
    netsuite.admin("POST", "faults", {"kind": "truncated_body", "match": {"method": "GET"}})
    with pytest.raises(httpx2.TransportError):
        account.request("GET", path)

    netsuite.admin("POST", "faults", {"kind": "wrong_content_type", "match": {"method": "GET"}})
    answer = account.request("GET", path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html")

    netsuite.admin("POST", "faults", {"kind": "slow_body", "delay_s": 0.3, "match": {"method": "GET"}})
    started_s = time.monotonic()
    assert account.request("GET", path).json()["externalId"] == "pd-org-1"
    assert time.monotonic() - started_s >= 0.3


def test_a_revoked_token_needs_a_new_login(netsuite: NetsuiteProcess, account: NetsuiteAccount) -> None:
    upsert(account)
    netsuite.admin("POST", "faults", {"kind": "token_revoked", "match": {"method": "PUT"}})

    assert upsert(account).status_code == 401
    assert upsert(account).status_code == 401, "the old token stays dead"


def test_tokens_end_after_an_hour(netsuite: NetsuiteProcess, account: NetsuiteAccount) -> None:
    upsert(account)

    netsuite.admin("POST", "clock", {"advance_s": 3601})

    try:
        assert upsert(account).status_code == 401
    finally:
        netsuite.admin("POST", "clock", {"advance_s": -3601})


def test_faults_have_a_seed_and_are_counted(netsuite: NetsuiteProcess, account: NetsuiteAccount) -> None:
    """The same seed strikes the same requests."""
    struck = []
    for _ in range(2):
        netsuite.admin("DELETE", "faults")
        match = {"method": "PUT"}
        fault = {"kind": "status_5xx", "probability": 0.5, "seed": 7, "count": None, "match": match}
        netsuite.admin("POST", "faults", fault)
        struck.append([upsert(account).status_code for _ in range(20)])

    assert struck[0] == struck[1]
    assert set(struck[0]) == {204, 500}
    assert netsuite.admin("GET", "faults")[0]["hits"] == struck[0].count(500)


def test_an_unknown_fault_says_what_there_is(netsuite: NetsuiteProcess) -> None:
    answer = netsuite.http.post(f"{netsuite.url}/_sandbox/faults", json={"kind": "gremlins"})

    assert answer.status_code == 400
    assert "late_commit" in answer.json()["error"]


def test_the_lost_202_of_a_batch_is_found_again_by_its_key(netsuite: NetsuiteProcess, account: NetsuiteAccount) -> None:
    headers = {**BATCH, "X-NetSuite-Idempotency-Key": unique("key")}
    items = {"items": [account.body(externalId="pd-org-1")]}
    netsuite.admin("POST", "faults", {"kind": "lost_answer", "match": {"method": "PUT"}})
    with pytest.raises(httpx2.TransportError):
        account.request("PUT", f"{RECORD}/customer", items, **headers)

    again = account.request("PUT", f"{RECORD}/customer", items, **headers)

    assert again.status_code == 400
    job = again.headers["location"]
    until(lambda: account.request("GET", job).json()["completed"])
    assert there(account)


def test_a_record_of_a_job_can_fail(netsuite: NetsuiteProcess, account: NetsuiteAccount) -> None:
    match = {"in_job": True, "path": "pd-org-2$"}
    netsuite.admin("POST", "faults", {"kind": "error_before_commit", "match": match})
    items = {"items": [account.body(externalId=f"pd-org-{n}") for n in (1, 2, 3)]}

    results = account.finish(account.request("PUT", f"{RECORD}/customer", items, **BATCH))

    assert [result.status_code for result in results] == [204, 500, 204]


# -- governance -------------------------------------------------------------------------------------------------------


def at_once(account: NetsuiteAccount, count: int) -> list[int]:
    """Statuses of as many requests at the same time, by a client that has logged in."""
    statuses: list[int] = []

    def ask(number: int) -> None:
        statuses.append(upsert(account, f"pd-org-{number}").status_code)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(statuses)


@pytest.mark.parametrize(
    ("switches", "slots"),
    [
        ({}, 5),
        ({"tier": "premium"}, 15),
        ({"tier": "enterprise", "licences": 1}, 30),
        ({"others_in_flight": 3}, 2),
        ({"concurrency_limit": 1}, 1),
    ],
)
def test_only_so_many_requests_in_flight(netsuite: NetsuiteProcess, switches: dict[str, Any], slots: int) -> None:
    """Oracle bridgehead_1500275603: 5, 15, 20, and 10 more for each licence, shared by all integrations."""
    account = netsuite.account(account_name := unique("2"), **switches)
    upsert(account)
    netsuite.admin("POST", "settings", {"latency_ms": 1000})

    statuses = at_once(account, slots + 10)

    netsuite.admin("POST", "settings", {"latency_ms": 0})
    ours = [line for line in netsuite.log() if line["account"] == account_name]
    full = [line for line in ours if line["in_flight_at_start"] == slots]
    assert max(line["in_flight_at_start"] for line in ours) == slots
    assert {line["status"] for line in full} == {429}
    assert statuses.count(429) == len(full) and statuses.count(204) == slots + 10 - len(full)


def test_overload_can_look_like_a_failed_login(netsuite: NetsuiteProcess) -> None:
    """julbrs/netsuite-api-client#26."""
    account = netsuite.account(unique("3"), concurrency_limit=1, overload_answer="masked_login")
    upsert(account)
    netsuite.admin("POST", "settings", {"latency_ms": 1000})

    statuses = at_once(account, 3)

    netsuite.admin("POST", "settings", {"latency_ms": 0})
    assert statuses == [204, 401, 401]


def test_latency_by_kind_of_request(netsuite: NetsuiteProcess, account: NetsuiteAccount) -> None:
    upsert(account)
    latency = {"write": {"median_ms": 200, "sigma": 0}, "other": {"fixed_ms": 0}}
    netsuite.admin("POST", "settings", {"latency": latency, "seed": 1})

    started_s = time.monotonic()
    account.read("customer", "eid:pd-org-1")
    read_s = time.monotonic() - started_s
    upsert(account)
    write_s = time.monotonic() - started_s - read_s

    assert read_s < 0.15
    assert write_s >= 0.2


# -- switches ---------------------------------------------------------------------------------------------------------


def test_open_questions_are_switches(netsuite: NetsuiteProcess) -> None:
    account = netsuite.account(
        unique("4"),
        job_location="relative",
        task_list="one_item",
        failed_result="ok_status",
        opportunity_upsert=False,
        null_columns="null",
        retry_after_s=7,
        overload_answer="400",
    )
    customer = account.create()
    submitted = account.request(
        "POST", f"{RECORD}/customer", {"items": [account.body(salesRep={"id": "999999"})]}, **BATCH
    )
    (result,) = account.finish(submitted)
    tasks = account.request("GET", f"{submitted.headers['location']}/task").json()
    deal = account.request("PUT", f"{RECORD}/opportunity/eid:pd-deal-1", {"entity": {"id": customer}})
    (row,) = account.suiteql(f"SELECT id, phone FROM customer WHERE id = {customer}").json()["items"]

    assert submitted.headers["location"].startswith("/services/rest/async/v1/job/")
    assert tasks["items"][0]["links"][0]["rel"] == "self" and len(tasks["items"]) == 1
    assert (result.status_code, result.json()["status"]) == (200, 400)
    assert deal.status_code == 405
    assert row["phone"] is None


def test_a_mandatory_custom_field_is_demanded_of_every_record_that_has_it(netsuite: NetsuiteProcess) -> None:
    """[live] the text of facts/netsuite.md section 7; customfield tells of it beforehand."""
    account = netsuite.account(unique("1"), mandatory_custom_fields=["custentity_annual_value", "custbody_source"])
    told = account.suiteql("SELECT scriptid, name FROM customfield WHERE ismandatory = 'T' ORDER BY scriptid").json()

    refused = account.request("POST", f"{RECORD}/customer", account.body())
    customer = account.create(custentity_annual_value=1)
    cleared = account.request("PATCH", f"{RECORD}/customer/{customer}", {"custentity_annual_value": None})

    assert [(row["scriptid"], row["name"]) for row in told["items"]] == [
        ("CUSTBODY_SOURCE", "Source"),
        ("CUSTENTITY_ANNUAL_VALUE", "Annual Value"),
    ]
    account.create("contact")
    for answer in (refused, cleared):
        detail = answer.json()["o:errorDetails"][0]
        assert (answer.status_code, detail["o:errorCode"]) == (400, "USER_ERROR")
        assert detail["detail"].endswith("Please enter value(s) for: Annual Value.")


def test_without_the_feature_nothing_has_a_currency(netsuite: NetsuiteProcess) -> None:
    account = netsuite.account(unique("1"), multi_currency=False)

    assert account.suiteql("SELECT id FROM currency").status_code == 400
    assert account.suiteql("SELECT id FROM customer").status_code == 200
    assert "currency" not in account.request("GET", f"{RECORD}/metadata-catalog/opportunity").json()["properties"]
    sent = account.request("POST", f"{RECORD}/customer", account.body(currency={"id": "1"}), **STRICT)
    assert (sent.status_code, sent.json()["o:errorDetails"][0]["o:errorPath"]) == (400, "currency")


def test_an_unknown_switch_is_refused(netsuite: NetsuiteProcess) -> None:
    answer = netsuite.http.post(f"{netsuite.url}/_sandbox/accounts", json={"account": "9", "tire": "premium"})

    assert (answer.status_code, "tire" in answer.json()["error"]) == (400, True)


def test_jobs_are_forgotten_after_a_while(netsuite: NetsuiteProcess) -> None:
    account = netsuite.account(unique("5"), job_retention_s=60)
    submitted = account.request("POST", f"{RECORD}/customer", account.body(), **ASYNC)
    account.finish(submitted)

    netsuite.admin("POST", "clock", {"advance_s": 61})

    try:
        assert account.request("GET", submitted.headers["location"]).status_code == 404
    finally:
        netsuite.admin("POST", "clock", {"advance_s": -61})


def test_one_account_may_be_slower_than_the_others(netsuite: NetsuiteProcess) -> None:
    slow, other = (unique("1") for _ in range(2))
    for name in (slow, other):
        upsert(netsuite.account(name))  # there is a token after this
    netsuite.admin("POST", "settings", {"latency": {"other": {"fixed_ms": 300}}, "account": slow})
    for name in (slow, other):
        upsert(netsuite.account(name), "pd-org-2")
    netsuite.admin("POST", "settings", {"latency": {}, "account": slow})
    upsert(netsuite.account(slow), "pd-org-3")

    took_ms = {
        (line["account"], line["external_id"]): line["end_ms"] - line["start_ms"]
        for line in netsuite.log()
        if line["account"] in {slow, other} and line["external_id"] != "pd-org-1"
    }
    assert took_ms.pop((slow, "pd-org-2")) >= 299
    assert max(took_ms.values()) < 299
