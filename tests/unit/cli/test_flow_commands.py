"""`mlc flows` over the admin service: what is sent, what a person reads."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from unit.cli.conftest import Mlc, Service

FLOW: dict[str, Any] = {
    "flow": "acme-eu",
    "version": 3,
    "paused": False,
    "company": "acme",
    "account": "1234567_SB1",
    "environment": "sandbox",
    "applied_at": "2026-07-28T03:00:00Z",
    "applied_by": "ann",
    "changed": True,
    "unchecked": "",
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "flow.yaml"
    made.write_text(resources.files("ml_connector.cli.demo").joinpath("flow.yaml").read_text())
    return made


def test_apply_sends_the_document_and_what_is_expected(service: Service, mlc: Mlc, file: Path) -> None:
    service.put("POST flows", FLOW)

    ran = mlc("flows", "apply", str(file), "--expect", "2", "--reason", "a new status")

    body = service.asked[0].body
    assert (ran.code, ran.out) == (0, "flow acme-eu: version 3 is active\n")
    assert (body["expect"], body["reason"], body["document"]["flow"]) == (2, "a new status", "acme-eu")


def test_apply_says_when_the_company_was_not_looked_at(service: Service, mlc: Mlc, file: Path) -> None:
    service.put("POST flows", {**FLOW, "unchecked": "the resolver did not answer within 15 s"})

    asked, unasked = mlc("flows", "apply", str(file)), mlc("flows", "apply", str(file), "--no-check")

    assert (asked.code, asked.err) == (0, "not checked against Pipedrive: the resolver did not answer within 15 s\n")
    assert (unasked.err, [one.body["check"] for one in service.asked]) == ("", [True, False])


def test_apply_of_what_is_active_says_so(service: Service, mlc: Mlc, file: Path) -> None:
    service.put("POST flows", {**FLOW, "changed": False})

    assert "nothing is changed" in mlc("flows", "apply", str(file)).out


def test_problems_are_told_with_their_lines(service: Service, mlc: Mlc, file: Path) -> None:
    details = [
        {"path": "external_ids", "problem": "flow 'x' of the same account uses 'pd' already"},
        {"path": "netsuite.account", "problem": "was '1' and never changes in a flow's life"},
    ]
    service.put("POST flows", {"problem": "the flow does not hold", "details": details}, status=422)
    lines = file.read_text().splitlines()
    prefix = 1 + next(n for n, line in enumerate(lines) if line.startswith("external_ids:"))

    ran = mlc("flows", "apply", str(file))

    told = ran.err.splitlines()
    assert (ran.code, len(told)) == (2, 2)
    assert told[0] == f"mlc: {file}:{prefix}: external_ids: flow 'x' of the same account uses 'pd' already"


def test_conflict_says_what_is_active(service: Service, mlc: Mlc, file: Path) -> None:
    service.put("POST flows", {"problem": "version 3 is active, not 2: look", "details": []}, status=409)

    assert mlc("flows", "apply", str(file), "--expect", "2").err == "mlc: version 3 is active, not 2: look\n"


def test_list_shows_each_flow(service: Service, mlc: Mlc) -> None:
    service.put("GET flows", {"flows": [FLOW, {**FLOW, "flow": "acme-us", "paused": True}]})

    lines = mlc("flows", "list").out.splitlines()

    assert lines[1].split()[:6] == ["acme-eu", "3", "acme", "1234567_SB1", "sandbox", "active"]
    assert lines[2].split()[5] == "paused"


def test_list_says_what_stops_a_flow_and_what_to_ask(service: Service, mlc: Mlc) -> None:
    stop = {
        "subject": "company/acme", "state": "suspended", "reason": "the grant\x1b was revoked",
        "since": "2026-07-28T03:00:00Z",
    }  # fmt: skip
    service.put("GET flows", {"flows": [{**FLOW, "stopped": [stop]}, {**FLOW, "stopped": [stop], "paused": True}]})

    ran = mlc("flows", "list")

    assert [line.split()[5] for line in ran.out.splitlines()[1:]] == ["stopped", "paused"]
    assert ran.err.splitlines()[0] == (
        "flow acme-eu: company acme is suspended since 2026-07-28 03:00:00Z: the grant\ufffd was revoked; "
        "see `mlc doctor acme-eu`"
    )


def test_show_prints_yaml_that_can_be_applied_again(service: Service, mlc: Mlc, tmp_path: Path) -> None:
    document = {"flow": "acme-eu", "entities": {"deal": {"match": [], "fields": {"title": "data.title"}}}}
    service.put("GET flows/acme-eu/versions/2", {**FLOW, "version": 2, "document": document})

    ran = mlc("flows", "show", "acme-eu", "--version", "2")

    assert ran.out.startswith("flow: acme-eu\nentities:\n  deal:\n")


def test_history_marks_the_active_version(service: Service, mlc: Mlc) -> None:
    versions = [
        {"version": number, "active": number == 1, "applied_at": "2026-07-28T03:00:00Z", "applied_by": "ann"}
        for number in (2, 1)
    ]
    service.put("GET flows/acme-eu", {**FLOW, "versions": versions, "document": {}})

    lines = mlc("flows", "history", "acme-eu").out.splitlines()

    assert lines[1].split()[0] == "2" and "active" not in lines[1]
    assert lines[2].split()[:2] == ["1", "active"]


@pytest.mark.parametrize(
    ("arguments", "asked", "sent", "told"),
    [
        (["rollback", "acme-eu", "1"], "activate", {"version": 1, "expect": None, "reason": ""}, "is active"),
        (["pause", "acme-eu", "--reason", "closing"], "pause", {"reason": "closing"}, "is paused"),
        (["resume", "acme-eu"], "resume", {"reason": ""}, "goes on"),
    ],
)
def test_changes(service: Service, mlc: Mlc, arguments: list[str], asked: str, sent: dict[str, Any], told: str) -> None:
    service.put(f"POST flows/acme-eu/{asked}", FLOW)

    ran = mlc("flows", *arguments)

    assert (ran.code, ran.out) == (0, f"flow acme-eu: version 3 {told}\n")
    assert service.asked[0].body == sent


def test_name_that_could_be_another_path_is_refused(service: Service, mlc: Mlc) -> None:
    assert mlc("flows", "pause", "../replays").code == 2
    assert service.asked == []


PREVIEWED: dict[str, Any] = {
    "result": "desired",
    "record_key": "1234567_sb1/customer/pd-org-5",
    "action": "upsert",
    "mapping_version": 3,
    "fields": {"companyName": "Acme", "email": None},
    "references": {"subsidiary": {"kind": "id", "value": "2"}},
    "parent": None,
    "held_back": ["b" * 8],
    "reason": "",
    "sources": {
        "companyName": {"expression": "data.name", "steps": []},
        "email": {
            "expression": 'custom["Billing"]',
            "steps": [
                {"kind": "field", "id": "a" * 40, "name": "Billing", "type": "enum"},
                {"kind": "option", "id": "12", "name": "EMEA", "type": ""},
            ],
        },
        "subsidiary": {"expression": 'defaults.subsidiary: "2"', "steps": []},
    },
}


def test_preview_tells_each_value_and_what_gives_it(service: Service, mlc: Mlc, tmp_path: Path) -> None:
    event = tmp_path / "event.json"
    event.write_text('{"meta": {}, "data": {"name": "Acme"}}')
    service.put("POST flows/acme-eu/preview", PREVIEWED)

    ran = mlc("flows", "preview", "acme-eu", "--event", str(event), "--version", "3")

    assert (ran.code, service.asked[0].body) == (0, {"event": {"meta": {}, "data": {"name": "Acme"}}, "version": 3})
    told = {line.split()[0]: line for line in ran.out.splitlines()}
    assert told["companyName"].endswith("Acme <- data.name")
    assert (
        'email null <- custom["Billing"] -> field "Billing" (aaaaaaaa..., enum) -> option 12 = "EMEA" subsidiary'
    ) in " ".join(ran.out.split())
    assert "<- defaults.subsidiary" in told["subsidiary"]
    assert "upsert of 1234567_sb1/customer/pd-org-5" in told["becomes"]


@pytest.mark.parametrize(
    ("step", "told"),
    [
        ({"kind": "field", "id": "", "name": "Regoin", "type": ""}, 'field "Regoin", which does not exist'),
        ({"kind": "option", "id": "9", "name": "", "type": ""}, "option 9, which is not known"),
        ({"kind": "stage", "id": "5", "name": "Sales/Lead", "type": ""}, 'stage 5 = "Sales/Lead"'),
        ({"kind": "status", "id": "won", "name": "", "type": ""}, "status won"),
    ],
)
def test_preview_tells_each_step(service: Service, mlc: Mlc, tmp_path: Path, step: dict[str, str], told: str) -> None:
    event = tmp_path / "event.json"
    event.write_text("{}")
    sources = {"companyName": {"expression": "x", "steps": [step]}}
    service.put("POST flows/acme-eu/preview", {**PREVIEWED, "sources": sources})

    lines = mlc("flows", "preview", "acme-eu", "--event", str(event)).out.splitlines()

    assert any(line.endswith(f"Acme <- x -> {told}") for line in lines), lines


def test_preview_of_a_file_sends_its_document(service: Service, mlc: Mlc, file: Path, tmp_path: Path) -> None:
    event = tmp_path / "event.json"
    event.write_text("{}")
    service.put("POST flows/preview", {**PREVIEWED, "mapping_version": 0})

    ran = mlc("flows", "preview", str(file), "--event", str(event))

    assert (ran.code, service.asked[0].body["document"]["flow"], service.asked[0].body["event"]) == (0, "acme-eu", {})
    assert "mapping" not in {line.split()[0] for line in ran.out.splitlines()}
    assert mlc("flows", "preview", str(file), "--event", str(event), "--version", "2").err == (
        "mlc: --version: a file has none\n"
    )


def test_preview_of_a_file_that_does_not_hold_names_the_lines(
    service: Service, mlc: Mlc, file: Path, tmp_path: Path
) -> None:
    event = tmp_path / "event.json"
    event.write_text("{}")
    problem = {"path": "entities.deal.fields.title", "problem": "no such function"}
    answer = {"problem": "the flow does not hold", "details": [problem]}
    service.put("POST flows/preview", answer, status=422)

    ran = mlc("flows", "preview", str(file), "--event", str(event))

    assert ran.code == 2
    assert f"{file}:" in ran.err and "entities.deal.fields.title: no such function" in ran.err


def test_preview_of_a_file_that_is_not_there_asks_nobody(service: Service, mlc: Mlc, tmp_path: Path) -> None:
    event = tmp_path / "event.json"
    event.write_text("{}")

    assert mlc("flows", "preview", str(tmp_path / "no.yaml"), "--event", str(event)).code == 2
    assert service.asked == []


def test_preview_of_what_would_be_a_dead_letter_says_why_and_fails(service: Service, mlc: Mlc, tmp_path: Path) -> None:
    event = tmp_path / "event.json"
    event.write_text("{}")
    why = "stage 7 has no NetSuite status; the company's stages are 'Sales/Lead'"
    service.put("POST flows/acme-eu/preview", {**PREVIEWED, "result": "dead_lettered", "reason": why, "fields": {}})

    ran = mlc("flows", "preview", "acme-eu", "--event", str(event))

    assert ran.code == 1
    assert "a dead letter" in ran.out and "'Sales/Lead'" in ran.out


def test_preview_of_a_file_that_is_no_json_asks_nobody(service: Service, mlc: Mlc, tmp_path: Path) -> None:
    event = tmp_path / "event.json"
    event.write_text("{\n,")

    ran = mlc("flows", "preview", "acme-eu", "--event", str(event))

    assert (ran.code, service.asked) == (2, [])
    assert "is not JSON (line 2)" in ran.err
