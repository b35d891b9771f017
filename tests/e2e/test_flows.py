"""A new version of a flow, or of a credential, reaches the services that are running, and nothing else has to be done."""

from __future__ import annotations

import asyncio
import copy
import hashlib
import hmac
import itertools
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from ml_connector.cli.stack import ADMIN, FLOW
from support.operating import Api, Operating, RefusedError, webhook
from support.writing import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

TAKEN_S = 2.0  # issue 8: services take a new version within this


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def operating() -> AsyncIterator[Operating]:
    async with Operating() as one:
        yield one


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def admin(operating: Operating) -> AsyncIterator[Api]:
    api = operating.api_of(ADMIN, role="admin")
    yield api
    await api.close()


def mapped_anew(operating: Operating, expression: str) -> dict[str, Any]:
    document = copy.deepcopy(operating.stack.flow_document())
    document["entities"]["organization"]["fields"]["comments"] = expression
    return {"document": document, "reason": "a test's reason"}


async def mapped_with(operating: Operating, number: int) -> int:
    """Send an event; the version of the mapping that the audit names."""
    await operating.events([webhook(number, operating.stack.company_id)])
    found: list[dict[str, Any]] = []

    async def resolved() -> bool:
        try:
            entries = (await operating.api.get("/timeline", q=f"org {number}"))["entries"]
        except RefusedError:  # nothing is known of it yet
            return False
        found[:] = [one["entry"] for one in entries if one["kind"] == "resolved"]
        return bool(found)

    await until(resolved, within_s=30)
    return int(found[0]["mapping_version"])


async def test_running_services_take_a_new_version_in_time(operating: Operating, admin: Api) -> None:
    before = (await admin.get(f"/flows/{FLOW}"))["version"]
    assert await mapped_with(operating, 501) == before

    applied = await admin.post("/flows", mapped_anew(operating, "data.name"))
    at_s, number = time.monotonic(), 502
    while True:
        sent_s = time.monotonic()
        if await mapped_with(operating, number) == applied["version"]:
            break
        assert sent_s - at_s <= TAKEN_S
        number += 1

    assert applied["version"] == before + 1


async def test_rolled_back_flow_maps_as_before(operating: Operating, admin: Api) -> None:
    await admin.post(f"/flows/{FLOW}/activate", {"version": 1, "reason": "it was better"})
    numbers = itertools.count(600)

    async def mapped_as_before() -> bool:
        return await mapped_with(operating, next(numbers)) == 1

    await until(mapped_as_before, within_s=30)


async def test_acts_name_who_changed_what(operating: Operating, admin: Api) -> None:
    await admin.post(f"/flows/{FLOW}/pause", {"reason": "closing the year"})
    await admin.post(f"/flows/{FLOW}/resume", {})

    acts = (await admin.get("/acts", target=FLOW))["acts"]

    assert [one["act"] for one in acts[:2]] == ["flow.resume", "flow.pause"]
    assert acts[1]["reason"] == "closing the year"


async def test_two_who_apply_at_once_get_different_versions(operating: Operating, admin: Api) -> None:
    active = (await admin.get(f"/flows/{FLOW}"))["version"]
    bodies = [mapped_anew(operating, f"data.{name}") for name in ("id", "name", "owner_id")]

    answers = await asyncio.gather(*(admin.http.post("/flows", json={**body, "expect": active}) for body in bodies))

    assert sorted(one.status_code for one in answers) == [200, 409, 409]


async def test_ingest_takes_a_new_webhook_key_without_a_restart(operating: Operating, admin: Api) -> None:
    body = webhook(700, operating.stack.company_id)
    signature = hmac.new(b"a new key", body, hashlib.sha256).hexdigest()
    keys = [{"id": "dev", "secret": operating.stack.signing_key}, {"id": "new", "secret": "a new key"}]

    async with httpx2.AsyncClient(base_url=operating.stack.urls["ingest"]) as sender:

        async def taken() -> bool:
            headers = {"content-type": "application/json", "x-pipedrive-signature": signature}
            answer = await sender.post(f"/webhooks/pipedrive/{FLOW}", content=body, headers=headers)
            return answer.status_code == 204

        assert not await taken()
        stored = await admin.put(f"/secrets/flow/{FLOW}/webhook-hmac", {"value": {"keys": keys}, "expect": 1})
        await until(taken, within_s=10)

    assert (stored["version"], stored["environment"], stored["used_by"]) == (2, "sandbox", [FLOW])


def of_a_deal(operating: Operating, **data: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(webhook(77, operating.stack.company_id))
    body["meta"]["entity"] = "deal"
    body["data"] = {"id": 77, "title": "Big", "status": "open", "custom_fields": {}, **data}
    return {"event": body}


async def test_preview_says_which_expression_gives_what(operating: Operating, admin: Api) -> None:
    event = {"event": json.loads(webhook(78, operating.stack.company_id))}
    before = await admin.get("/records", source_id="78", entity="organization")

    found = await admin.post(f"/flows/{FLOW}/preview", {**event, "version": 1})

    assert (found["result"], found["mapping_version"]) == ("desired", 1)
    assert found["fields"]["companyName"] == "Company 78"
    assert found["sources"]["companyName"] == {"expression": "data.name", "steps": []}
    assert before["records"] == (await admin.get("/records", source_id="78", entity="organization"))["records"] == []


async def test_preview_of_a_flow_that_is_not_applied(operating: Operating, admin: Api) -> None:
    """Its custom fields are those of the company; nothing is applied by it."""
    event = json.loads(webhook(79, operating.stack.company_id))
    document = mapped_anew(operating, 'custom["Billing email"]')["document"]
    document["flow"] = "acme-new"

    found = await admin.post("/flows/preview", {"document": document, "event": event})
    document["entities"]["organization"]["fields"]["comments"] = "data."
    with pytest.raises(RefusedError) as refused:
        await admin.post("/flows/preview", {"document": document, "event": event})

    assert (found["result"], found["fields"]["companyName"]) == ("desired", "Company 79")
    (step,) = found["sources"]["comments"]["steps"]
    assert (step["kind"], step["name"], len(step["id"])) == ("field", "Billing email", 40)
    assert [one["path"] for one in refused.value.details] == ["entities.organization.fields.comments"]
    assert "acme-new" not in [one["flow"] for one in (await admin.get("/flows"))["flows"]]


async def test_preview_of_an_unmapped_stage_names_the_companys_own(operating: Operating, admin: Api) -> None:
    found = await admin.post(f"/flows/{FLOW}/preview", of_a_deal(operating, stage_id=999_999))

    assert found["result"] == "dead_lettered"
    assert "has no NetSuite status" in found["reason"] and "'Sales/Qualified'" in found["reason"]


async def test_flow_that_does_not_fit_the_company_is_refused_with_what_was_meant(
    operating: Operating, admin: Api
) -> None:
    body = mapped_anew(operating, 'custom["Biling email"]')
    body["document"]["stages"]["Sales/Qualifed"] = "8"

    with pytest.raises(RefusedError) as refused:
        await admin.post("/flows", body)

    told = {one["path"]: one["problem"] for one in refused.value.details}
    assert "Biling email" in told["entities"] and "'Billing email'" in told["entities"]
    assert "'Sales/Qualifed'" in told["stages"] and "'Sales/Qualified'" in told["stages"]


async def test_company_that_refuses_its_credential_is_told_until_another_is_set(
    operating: Operating, admin: Api
) -> None:
    flow = operating.stack.flow_document()
    company, environment = flow["pipedrive"]["company"], flow["environment"]
    path = f"/secrets/pipedrive/{company}/api-token"

    async def stops() -> list[str]:
        return [one["subject"] for one in (await admin.get("/status"))["stopped"]]

    async def is_stopped() -> bool:
        return await stops() == [f"company/{company}"]

    async def goes_on() -> bool:
        return await stops() == []

    async def is_refused() -> bool:
        """The resolver has the wrong one by now."""
        findings = (await admin.post(f"/flows/{FLOW}/check"))["findings"]
        return any(one["check"] == "pipedrive.authentication" and "HTTP 401" in one["says"] for one in findings)

    await admin.put(path, {"value": {"token": "wrong"}, "environment": environment})
    await until(is_refused, within_s=30)
    await until(is_stopped)
    (stop,) = next(one for one in (await admin.get("/flows"))["flows"] if one["flow"] == FLOW)["stopped"]
    running = next(
        one for one in (await admin.post(f"/flows/{FLOW}/check"))["findings"] if one["check"] == "flow.running"
    )

    await admin.put(path, {"value": {"token": operating.stack.api_token}, "environment": environment})
    await until(goes_on)  # nothing is asked of the company by anybody

    assert (stop["state"], stop["reason"]) == ("suspended", "Pipedrive does not accept the credential")
    assert running["result"] == "failed"
    assert f"mlc secrets set pipedrive/{company} api-token" in running["fix"]
