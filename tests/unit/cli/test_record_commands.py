"""`mlc record list`, `mlc record show` and `mlc token`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jwt
import pytest

from ml_connector.cli.records import headline
from ml_connector.cli.tokens import new_signing_key
from unit.cli.conftest import BEHIND, LETTER, Mlc, Service

TRY = {"at_ms": 1_785_207_600_000, "took_ms": 120, "method": "PUT", "path": "/customer/eid:pd-org-5"}
OUTCOME: dict[str, Any] = {
    "at": "2026-07-28T03:00:00.123Z",
    "kind": "outcome",
    "cause": "w:1",
    "record_key": LETTER["record_key"],
    "entry": {
        "outcome": "written",
        "internal_id": "44",
        "request": {"companyName": "Acme [b] GmbH"},
        "tries": [{**TRY, "code": "TIMEOUT"}, {**TRY, "status": 204}],
    },
}
RECORD: dict[str, Any] = {
    "flow": "acme-eu",
    "account": "1234567_SB1",
    "record_key": LETTER["record_key"],
    "external_id": "pd-org-5",
    "netsuite_id": "44",
    "outcome": "written",
    "settled_at": "2026-07-28T03:00:00Z",
    "settled_by": "w:1",
    "waiting": 2,
    "open_letters": 1,
    "stopped": ["paused by Ann"],
}
SUBJECT: dict[str, Any] = {
    "company": "acme-eu",
    "entity": "organization",
    "source_id": "5",
    "name": "Acme GmbH",
    "earlier_names": ["Acme"],
    "flows": ["acme-eu"],
    "records": [RECORD],
    "cause": "",
}
TIMELINE: dict[str, Any] = {
    "subject": SUBJECT,
    "entries": [OUTCOME],
    "older": None,
    "newer": None,
    "behind": BEHIND,
}


def test_list_says_how_to_call_each(service: Service, mlc: Mlc) -> None:
    twice = {**SUBJECT, "records": [RECORD, {**RECORD, "netsuite_id": "45", "outcome": "dead_lettered", "stopped": []}]}
    new = {**SUBJECT, "source_id": "9", "name": "Acme [b] AG", "records": []}
    cause = {**SUBJECT, "entity": "", "source_id": "", "company": "", "name": "", "records": [], "cause": "w:7"}
    service.put("GET records", {"records": [twice, new, cause], "behind": BEHIND})

    ran = mlc("record", "list", "Acme", "G")

    assert service.asked[0].query == {"q": "Acme G"}
    assert ran.out.splitlines() == [
        "record  company  NetSuite  state                             open letters  waiting  name",
        "org 5   acme-eu  44, 45    written (stopped), dead-lettered  2             4        Acme GmbH",
        "org 9   acme-eu                                                                     Acme [b] AG",
        "w:7",
    ]
    assert ran.err == "3 records\n"


def test_objects_of_two_companies_are_called_by_their_external_ids(service: Service, mlc: Mlc) -> None:
    us = {**SUBJECT, "company": "acme-us", "records": [{**RECORD, "external_id": "us-org-5"}]}
    service.put("GET records", {"records": [SUBJECT, us], "behind": BEHIND})

    lines = mlc("record", "list", "org 5").out.splitlines()

    assert [line.split()[0] for line in lines[1:]] == ["pd-org-5", "us-org-5"]


@pytest.mark.parametrize(
    ("records", "hint"),
    [([], "0 records\n"), ([SUBJECT] * 50, "50 records; there may be more: give more of the name\n")],
)
def test_list_says_whether_it_is_all(service: Service, mlc: Mlc, records: list[Any], hint: str) -> None:
    service.put("GET records", {"records": records, "behind": BEHIND})

    ran = mlc("record", "list", "a")

    assert (ran.code, bool(ran.out), ran.err) == (0, bool(records), hint)


def test_list_for_programs_is_the_answer_as_it_is(service: Service, mlc: Mlc) -> None:
    answer = {"records": [SUBJECT], "behind": {"messages": 3, "age_s": 1.5}}
    service.put("GET records", answer)

    ran = mlc("record", "list", "Acme", "--json")

    assert (ran.json, ran.err) == (answer, "")


def test_story_is_told_with_its_attempts(service: Service, mlc: Mlc) -> None:
    service.put("GET timeline", TIMELINE)

    ran = mlc("record", "show", "Acme", "GmbH")

    assert service.asked[0].query == {"q": "Acme GmbH", "limit": "100"}
    assert ran.out.splitlines() == [
        'org 5 "Acme GmbH", once "Acme", company acme-eu',
        "1234567_sb1/customer/pd-org-5: in NetSuite as 44, written 2026-07-28 03:00:00Z, 2 waiting, "
        "1 open dead letter, flow acme-eu, stopped: paused by Ann",
        "2026-07-28 03:00:00Z  outcome      written as 44",
        "    cause w:1",
        "    2026-07-28 03:00:00Z PUT /customer/eid:pd-org-5 no answer in 120 ms TIMEOUT",
        "    2026-07-28 03:00:00Z PUT /customer/eid:pd-org-5 204 in 120 ms",
    ]


def test_older_pages_come_before(service: Service, mlc: Mlc) -> None:
    pages = [{**TIMELINE, "entries": [{"kind": n}], "older": older} for n, older in (("b", "c1"), ("a", "c0"))]
    service.put("GET timeline", *pages)

    ran = mlc("record", "show", "x", "--limit", "2", "--json")

    assert [entry["kind"] for entry in ran.json["entries"]] == ["a", "b"]
    assert ran.json["older"] == "c0"
    assert service.asked[1].query == {"q": "x", "limit": "1", "before": "c1"}


def test_full_has_the_bodies(service: Service, mlc: Mlc) -> None:
    service.put("GET timeline", TIMELINE)

    assert (
        '    request:\n    {\n      "companyName": "Acme [b] GmbH"\n    }\n' in mlc("record", "show", "x", "--full").out
    )


@pytest.mark.parametrize(
    ("kind", "more", "entry", "expected"),
    [
        (
            "received",
            {},
            {"action": "change", "entity": "person", "source_id": "7", "name": "Ann", "verified_by": "hmac"},
            'change person 7 "Ann" verified by hmac',
        ),
        (
            "resolved",
            {},
            {"action": "upsert", "record_key": "a/customer/x", "mapping_version": 3, "fields": ["a", "b"]},
            "upsert a/customer/x by mapping 3: a, b",
        ),
        ("outcome", {}, {"outcome": "dead_lettered", "stage": "map", "reason": "no"}, "dead-lettered at map: no"),
        ("outcome", {}, {"outcome": "superseded", "superseded_by": {"cause": "w:2"}}, "superseded by w:2"),
        (
            "dead_letter",
            {"id": "5f0c1e9a77d2", "state": "open"},
            {"stage": "vendor", "code": "USER_ERROR", "field": "subsidiary", "message": "Please."},
            "5f0c1e9a77d2 (open) vendor/USER_ERROR field subsidiary: Please.",
        ),
        (
            "replay",
            {"id": "9d2f77a01c3e", "state": "skipped"},
            {"letter": "5f0c1e9a77d2", "why": "discarded", "dry_run": True, "actor": "ann", "reason": "mapped now"},
            "9d2f77a01c3e (dry run) of 5f0c1e9a77d2 by ann: mapped now -> skipped: discarded",
        ),
        ("act", {}, {"act": "dead_letters.edit", "actor": "ann", "reason": "old"}, "dead_letters.edit by ann: old"),
        ("waiting", {"state": "parked"}, {}, "parked"),
        ("new", {}, {}, ""),
    ],
)
def test_each_kind_says_what_happened(kind: str, more: dict[str, Any], entry: dict[str, Any], expected: str) -> None:
    line = str(headline({"at": None, "kind": kind, "entry": entry, **more}))

    assert line == f"-  {kind.replace('_', ' '):<11}  {expected}"


@pytest.mark.parametrize("entry", [{}, {"kind": "outcome"}, {"at": 5, "kind": "act", "entry": None, "title": "t"}])
def test_missing_members_are_no_matter(service: Service, mlc: Mlc, entry: dict[str, Any]) -> None:
    service.put("GET timeline", {"entries": [entry]})

    assert mlc("record", "show", "x", "--full").code == 0


def test_several_candidates_are_listed(service: Service, mlc: Mlc) -> None:
    details = [{"path": "org 5", "problem": "Acme GmbH"}, {"path": "org 9", "problem": "ACME gmbh"}]
    service.put("GET timeline", {"problem": "2 records are called that", "details": details}, status=409)

    ran, machine = mlc("record", "show", "acme gmbh"), mlc("record", "show", "acme gmbh", "--json")

    assert (ran.code, ran.out) == (2, "org 5  Acme GmbH\norg 9  ACME gmbh\n")
    assert ran.err == "mlc: 2 records are called that; choose one, as: mlc record show org 5\n"
    assert machine.json["details"] == details


def test_unknown_record_is_exit_code_2(service: Service, mlc: Mlc) -> None:
    service.put("GET timeline", {"problem": "nothing is called that", "details": []}, status=404)

    ran = mlc("record", "show", "x")

    assert (ran.code, ran.err.startswith("mlc: nothing is called that: `mlc record list` finds")) == (2, True)


def test_token_has_the_role_and_the_lifetime(mlc: Mlc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key.pem").write_text(new_signing_key())
    monkeypatch.setenv("MLC_ADMIN_SIGNING_KEY_FILE", str(tmp_path / "key.pem"))

    ran = mlc("token", "--role", "viewer", "--minutes", "10")

    claims = jwt.decode(ran.out.strip(), options={"verify_signature": False})
    assert (claims["roles"], claims["exp"] - claims["iat"]) == (["viewer"], 600)


def test_token_without_a_key_names_the_variable(mlc: Mlc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLC_ADMIN_SIGNING_KEY_FILE", raising=False)

    ran = mlc("token", "--role", "viewer")

    assert (ran.code, ran.err.startswith("mlc: set MLC_ADMIN_SIGNING_KEY_FILE")) == (2, True)
