"""The Pipedrive stand-in's webhooks: as printed, and as unreliable as the documents say (facts/pipedrive.md 1 to 6)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from contract.pipedrive.company import PipedriveCompany, printed
from support.listener import Heard, Listener
from support.pipedrive_standin import PipedriveProcess

SPEED = 100.0  # 3 s, 30 s and 150 s pass in under 2 s
# Members that later real deliveries add to the printed ones.
LATER = {
    "organization": {"website", "linkedin", "industry", "annual_revenue", "employee_count"},
    "person": {"label_ids"},
    "deal": {"is_archived", "archive_time"},
    "stage": set(),
    "pipeline": set(),
}


@pytest.fixture(scope="module")
def pipedrive() -> Iterator[PipedriveProcess]:
    with PipedriveProcess(clock_speed=SPEED, permitted_users=300) as process:
        yield process


def open_company(pipedrive: PipedriveProcess, name: str, **terms: Any) -> PipedriveCompany:
    return PipedriveCompany(pipedrive.url, pipedrive.company(name, **terms))


def subscribe(company: PipedriveCompany, url: str, **more: Any) -> int:
    body = {"subscription_url": url, "event_action": "*", "event_object": "*", "name": "test", **more}
    number: int = company.data("POST", "/v1/webhooks", body)["id"]
    return number


def until(condition: Callable[[], bool], within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def play(company: PipedriveCompany, entity: str, action: str) -> None:
    """Cause one webhook of this kind after whatever must come first."""
    if entity in {"stage", "pipeline"}:
        body = {"name": "N", "pipeline_id": 1} if entity == "stage" else {"name": "N"}
        path, change = f"/api/v2/{entity}s", {"name": "M"}
    else:
        body = {"title": "N", "value": 1} if entity == "deal" else {"name": "N"}
        path, change = f"/api/v2/{entity}s", {"title": "M"} if entity == "deal" else {"name": "M"}
    number = company.data("POST", path, body)["id"]
    if action == "change":
        company.data("PATCH", f"{path}/{number}", change)
    if action == "delete":
        company.data("DELETE", f"{path}/{number}")


@pytest.mark.parametrize(
    "name",
    [
        *(
            f"{entity}.{action}"
            for entity in ("organization", "person", "deal")
            for action in ("create", "change", "delete")
        ),
        *("stage.create", "stage.change", "stage.delete", "pipeline.create", "pipeline.change", "pipeline.delete"),
    ],
)
def test_a_body_has_the_printed_members_in_the_printed_order(pipedrive: PipedriveProcess, name: str) -> None:
    """Webhooks v2 migration guide; real bodies are compact JSON, with permitted_user_ids."""
    entity, action = name.split(".")
    example = printed(f"webhook-v2-official/{name}")
    company = open_company(pipedrive, f"printed-{entity}-{action}")
    with Listener() as listener:
        subscribe(company, listener.url, event_object=entity, event_action=action)
        play(company, entity, action)
        (heard,) = listener.wait_for(1)
    body = heard.json()

    assert list(body) == list(example)
    meta = list(body["meta"])
    assert [member for member in meta if member != "permitted_user_ids"] == list(example["meta"])
    shown, expected = body["data"] or body["previous"], example["data"] or example["previous"]
    if action != "change" or body["data"]:
        members = [member for member in shown if member not in LATER[entity]]
        assert members == list(expected)
    for member, value in expected.items():
        if value is not None and shown.get(member) is not None:
            assert type(shown[member]) in {type(value), *_NUMBERS.get(type(value), ())}, member
    assert (body["data"] is None) is (example["data"] is None)
    assert (body["previous"] is None) is (example["previous"] is None)
    for member in ("entity_id", "company_id", "user_id", "webhook_id", "timestamp", "version", "attempt"):
        assert type(body["meta"][member]) is type(example["meta"][member])
    assert len(body["meta"]["permitted_user_ids"]) == 300
    assert b'": ' not in heard.body and b", " not in heard.body
    assert heard.headers["user-agent"] == "Pipedrive Webhooks"


_NUMBERS: dict[type, tuple[type, ...]] = {int: (float,), float: (int,)}


def test_a_deal_is_created_without_an_update_time(pipedrive: PipedriveProcess) -> None:
    """[live]"""
    company = open_company(pipedrive, "update-time")
    with Listener() as listener:
        subscribe(company, listener.url)
        company.create("deal")
        (heard,) = listener.wait_for(1)

    assert heard.json()["data"]["update_time"] is None


@pytest.mark.parametrize("kind", sorted(printed("custom-fields/webhook-v2-typed-values")))
def test_custom_values_are_typed_as_printed(pipedrive: PipedriveProcess, kind: str) -> None:
    """Webhooks v2 migration guide: the same members for each type."""
    example = printed("custom-fields/webhook-v2-typed-values")[kind]
    company = open_company(pipedrive, f"typed-{kind}")
    code = company.field("organization", kind)
    values = printed("custom-fields/api-v2-values")
    value = (
        next(value for names, value in values.items() if kind in names.split("/")) if kind != "phone" else "1234-5678"
    )
    if kind in {"enum", "set"}:
        ids = [one["id"] for one in company.data("GET", f"/api/v2/organizationFields/{code}")["options"]]
        value = ids[0] if kind == "enum" else ids[:2]
    with Listener() as listener:
        subscribe(company, listener.url)
        company.create("organization", custom_fields={code: value})
        (heard,) = listener.wait_for(1)

    found = heard.json()["data"]["custom_fields"][code]
    assert found.keys() == example.keys()
    assert found["type"] == example["type"]
    assert {name: type(part) for name, part in found.items()} == {name: type(part) for name, part in example.items()}


def test_a_merge_is_a_delete_and_a_change(pipedrive: PipedriveProcess) -> None:
    """`merged_to_id` and `merged_from_id`; own texts are joined [live]."""
    company = open_company(pipedrive, "merge")
    code = company.field("organization", "varchar")
    loser = company.create("organization", name="L", custom_fields={code: "123"})
    winner = company.create("organization", name="W", custom_fields={code: "456"})
    with Listener() as listener:
        subscribe(company, listener.url)
        company.data("PUT", f"/v1/organizations/{loser['id']}/merge", {"merge_with_id": winner["id"]})
        bodies = {heard.json()["meta"]["action"]: heard.json() for heard in listener.wait_for(2)}

    assert bodies["delete"]["meta"]["merged_to_id"] == str(winner["id"])
    assert bodies["delete"]["meta"]["entity_id"] == str(loser["id"])
    assert bodies["change"]["meta"]["merged_from_id"] == str(loser["id"])
    assert bodies["change"]["data"]["custom_fields"][code]["value"] == "456, 123"


def test_deliveries_are_authenticated_as_configured(pipedrive: PipedriveProcess) -> None:
    """HTTP Basic is what Pipedrive offers; the signature is this product's relay."""
    company = open_company(pipedrive, "signed")
    with Listener() as listener:
        number = subscribe(company, listener.url, http_auth_user="u", http_auth_password="p:w")
        pipedrive.admin("POST", f"webhooks/{number}/signing", {"secret": "s"})
        company.create("person")
        (heard,) = listener.wait_for(1)
    shown = company.data("GET", "/v1/webhooks")[0]

    assert heard.headers["authorization"] == "Basic " + base64.b64encode(b"u:p:w").decode()
    assert heard.headers["x-pipedrive-signature"] == hmac.new(b"s", heard.body, hashlib.sha256).hexdigest()
    assert shown["http_auth_password"].startswith("v1u:") and "secret" not in shown


def test_a_failed_delivery_is_tried_four_times(pipedrive: PipedriveProcess) -> None:
    """After 3, 30 and 150 s; meta.id stays, attempt counts."""
    company = open_company(pipedrive, "retries")
    with Listener(lambda _: 500) as listener:
        subscribe(company, listener.url)
        company.create("organization")
        bodies = [heard.json()["meta"] for heard in listener.wait_for(4)]
    deliveries = [d for d in pipedrive.admin("GET", "deliveries") if d["event_id"] == bodies[0]["id"]]
    waits_s = [
        (after["sent_at_ms"] - before["answered_at_ms"]) / 1000 * SPEED
        for before, after in itertools.pairwise(deliveries)
    ]

    assert [meta["attempt"] for meta in bodies] == [1, 2, 3, 4]
    assert len({meta["id"] for meta in bodies}) == 1
    for waited_s, expected_s in zip(waits_s, (3, 30, 150), strict=True):
        assert waited_s >= 0.99 * expected_s  # two clocks of the machine: the one that waits, the one that tells


def test_redirects_are_not_followed(pipedrive: PipedriveProcess) -> None:
    company = open_company(pipedrive, "redirects")
    with Listener(lambda heard: 302 if heard.json()["meta"]["attempt"] == 1 else 200) as listener:
        subscribe(company, listener.url)
        company.create("organization")
        attempts = [heard.json()["meta"]["attempt"] for heard in listener.wait_for(2)]

    assert attempts == [1, 2], "a redirect is a failure"


def test_ten_failed_first_attempts_ban_for_half_an_hour(pipedrive: PipedriveProcess) -> None:
    """Events during the ban are lost for good."""
    company = open_company(pipedrive, "ban")
    broken = True

    def answer(_: Heard) -> int:
        return 500 if broken else 200

    with Listener(answer) as listener:
        subscribe(company, listener.url)
        for _ in range(10):
            company.create("organization")
        until(lambda: len({heard.json()["meta"]["id"] for heard in listener.heard}) == 10)
        until(lambda: all(d["status"] == 500 for d in pipedrive.admin("GET", "deliveries")[-10:]))
        broken = False
        during = company.create("person", name="during the ban")
        lost = pipedrive.admin("GET", "companies/ban")["lost"]
        pipedrive.admin("POST", "clock", {"advance_s": 1800})
        after = company.create("person", name="after the ban")
        until(lambda: any(heard.json()["meta"]["entity"] == "person" for heard in listener.heard))

    persons = {h.json()["meta"]["entity_id"] for h in listener.heard if h.json()["meta"]["entity"] == "person"}
    assert persons == {str(after["id"])}
    assert str(during["id"]) not in persons
    assert lost == 1


def test_after_three_days_without_success_the_webhook_is_deleted(pipedrive: PipedriveProcess) -> None:
    company = open_company(pipedrive, "deleted")
    with Listener(lambda _: 500) as listener:
        subscribe(company, listener.url)
        pipedrive.admin("POST", "clock", {"advance_s": 3 * 24 * 3600 + 1})
        company.create("organization")
        listener.wait_for(1)
        until(lambda: company.data("GET", "/v1/webhooks") == [])


def test_only_what_was_subscribed(pipedrive: PipedriveProcess) -> None:
    company = open_company(pipedrive, "subscribed")
    with Listener() as listener:
        subscribe(company, listener.url, event_action="delete", event_object="deal")
        company.create("organization")
        company.data("DELETE", f"/api/v2/deals/{company.create('deal')['id']}")
        pipedrive.admin("GET", "quiet?timeout_s=10")

    assert [(h.json()["meta"]["entity"], h.json()["meta"]["action"]) for h in listener.heard] == [("deal", "delete")]


def test_open_questions_are_switches(pipedrive: PipedriveProcess) -> None:
    company = open_company(
        pipedrive, "switches", organization_address="text", event_id_per_subscription=True, field_events="entityField"
    )
    with Listener() as listener:
        for _ in range(2):
            subscribe(company, listener.url)
        company.create("organization", address={"value": "Main St"})
        company.data("POST", "/api/v2/dealFields", {"field_name": "F", "field_type": "varchar"})
        pipedrive.admin("GET", "quiet?timeout_s=10")
        bodies = [heard.json() for heard in listener.heard]

    organizations = [body for body in bodies if body["meta"]["entity"] == "organization"]
    assert {body["data"]["address"] for body in organizations} == {"Main St"}
    assert len({body["meta"]["id"] for body in organizations}) == 2
    assert [body["data"]["field_name"] for body in bodies if body["meta"]["entity"] == "dealField"] == ["F", "F"]
