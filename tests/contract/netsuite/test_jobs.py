"""Asynchronous requests (Oracle chapter_161251386312) and batches (article_0127092747)."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from contract.netsuite.account import ASYNC, BATCH, RECORD, NetsuiteAccount, id_in, printed, unique


def named(answer: Any) -> str:
    found: str = answer.headers["location"].partition("/services/rest/")[2]
    return found


def test_any_record_request_can_be_asynchronous(account: NetsuiteAccount) -> None:
    """subsect_161278579295, subsect_161252896355, subsect_161252889998: submit, job, task, result."""
    submitted = account.request("POST", f"{RECORD}/customer", account.body(), **ASYNC)
    (result,) = account.finish(submitted)
    job = submitted.headers["location"]

    example = printed("async_submit_202")
    assert (submitted.status_code, submitted.content) == (example["status"], b"")
    assert submitted.headers["preference-applied"] == example["headers"]["Preference-Applied"]
    assert named(submitted).rpartition("/")[0] == "async/v1/job"
    assert account.request("GET", job).json().keys() == printed("async_job_pending")["body"].keys()
    task = account.request("GET", f"{job}/task/1").json()
    assert task.keys() == printed("async_task_succeeded")["body"].keys()
    assert (task["completed"], task["progress"]) == (True, "succeeded")
    assert {link["rel"] for link in task["links"]} == {"related", "self"}
    assert (result.status_code, result.content) == (204, b"")
    assert account.read("customer", id_in(result))["id"] == id_in(result)


def test_the_result_of_a_read_is_the_record(account: NetsuiteAccount) -> None:
    """subsect_161252889998."""
    internal_id = account.create(email="alan.smith@example.com")

    (result,) = account.finish(account.request("GET", f"{RECORD}/customer/{internal_id}", **ASYNC))

    assert (result.status_code, result.json()["email"]) == (200, "alan.smith@example.com")


def test_an_idempotency_key_is_taken_once(account: NetsuiteAccount) -> None:
    """subsect_164494900632: 400 titled Conflict, with the Location of the first job."""
    headers = {**ASYNC, "X-NetSuite-Idempotency-Key": str(uuid.uuid4())}
    body = account.body()
    first = account.request("POST", f"{RECORD}/customer", body, **headers)

    second = account.request("POST", f"{RECORD}/customer", body, **headers)

    example = printed("error_400_idempotency_conflict")
    assert (second.status_code, second.json()) == (example["status"], example["body"])
    assert named(second) == named(first)
    assert len(account.finish(first)) == 1


def test_the_key_means_nothing_to_a_synchronous_request(account: NetsuiteAccount) -> None:
    """REST API Browser: only honoured with respond-async."""
    headers = {"X-NetSuite-Idempotency-Key": str(uuid.uuid4())}

    answers = [account.request("POST", f"{RECORD}/customer", account.body(), **headers) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [204, 204]
    assert id_in(answers[0]) != id_in(answers[1])


def test_a_batch_of_upserts(account: NetsuiteAccount) -> None:
    """PUT: items carry externalId only; one task per record."""
    external_ids = [unique("pd-org") for _ in range(3)]
    items = [account.body(externalId=one, comments="1") for one in external_ids]

    created = account.finish(account.request("PUT", f"{RECORD}/customer", {"items": items}, **BATCH))
    changed = [{"externalId": one, "comments": "2"} for one in external_ids]
    updated = account.finish(account.request("PUT", f"{RECORD}/customer", {"items": changed}, **BATCH))

    assert [answer.status_code for answer in (*created, *updated)] == [204] * 6
    assert [id_in(answer) for answer in created] == [id_in(answer) for answer in updated]
    assert {account.read("customer", f"eid:{one}")["comments"] for one in external_ids} == {"2"}


def test_a_batch_of_creates_and_one_of_changes(account: NetsuiteAccount) -> None:
    """POST creates; PATCH names records by id or externalId."""
    external_id = unique("pd-org")
    items = [account.body(), account.body(externalId=external_id)]

    first, _ = account.finish(account.request("POST", f"{RECORD}/customer", {"items": items}, **BATCH))
    changes = [{"id": id_in(first), "comments": "a"}, {"externalId": external_id, "comments": "b"}]
    account.finish(account.request("PATCH", f"{RECORD}/customer", {"items": changes}, **BATCH))

    assert account.read("customer", id_in(first))["comments"] == "a"
    assert account.read("customer", f"eid:{external_id}")["comments"] == "b"


def test_a_batch_of_reads_and_one_of_deletes(account: NetsuiteAccount) -> None:
    """GET ?expandRecords=true&ids=..., DELETE ?ids=..."""
    external_id = unique("pd-org")
    first, second = account.create(), account.create(externalId=external_id)
    listed = f"ids={first},eid:{external_id}"

    read = account.finish(account.request("GET", f"{RECORD}/customer?expandRecords=true&{listed}", **BATCH))
    deleted = account.finish(account.request("DELETE", f"{RECORD}/customer?{listed}", **BATCH))

    assert [answer.json()["id"] for answer in read] == [first, second]
    assert [answer.status_code for answer in deleted] == [204, 204]
    assert account.request("GET", f"{RECORD}/customer/{first}").status_code == 404


def test_one_bad_record_does_not_spoil_the_others(account: NetsuiteAccount) -> None:
    """article_0127092747: one task per record; results are collected task by task."""
    items = [account.body(), account.body(salesRep={"id": "999999"}), account.body()]

    results = account.finish(account.request("POST", f"{RECORD}/customer", {"items": items}, **BATCH))

    assert results[0].status_code == results[2].status_code == 204
    assert results[1].json()["o:errorDetails"][0]["o:errorCode"] == "INVALID_CONTENT"


@pytest.mark.parametrize("count", [0, 101])
def test_a_batch_has_1_to_100_records(account: NetsuiteAccount, count: int) -> None:
    answer = account.request("POST", f"{RECORD}/customer", {"items": [account.body()] * count}, **BATCH)

    assert answer.status_code == 400


def test_a_batch_as_plain_json_is_invalid_content(account: NetsuiteAccount) -> None:
    """[live] facts/netsuite.md section 8."""
    answer = account.request("POST", f"{RECORD}/customer", {"items": [account.body()]})

    assert (answer.status_code, answer.json()["o:errorDetails"][0]["o:errorCode"]) == (400, "INVALID_CONTENT")


def test_an_unknown_job_does_not_exist(account: NetsuiteAccount) -> None:
    assert account.request("GET", "/services/rest/async/v1/job/99999999").status_code == 404


def test_governance_limits(account: NetsuiteAccount) -> None:
    """article_0625010817: one of three shapes, told apart by integrationLimitType."""
    answer = account.request("GET", "/services/rest/system/v1/governanceLimits")

    shapes = printed("governance_limits")["body"]
    found = answer.json()
    assert answer.status_code == 200
    assert found.keys() == shapes[found["integrationLimitType"]].keys()
    assert found["accountConcurrencyLimit"] >= found["accountUnallocatedConcurrencyLimit"]
