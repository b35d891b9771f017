"""`mlc reconcile`, `mlc reconciles`: what differs in words, JSON and CSV; what is mended is shown and asked about."""

from __future__ import annotations

import csv
import io
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_connector.cli.reconcile_files import cell
from unit.cli.conftest import Mlc, Service
from unit.cli.test_sync_commands import PLAN, SYNC, WALK

ID = "9f2c7d09ab41"
MISSED = {"cause": "missed_event", "certain": True, "text": ""}
FIELD = {"field": "companyName", "should": "Acme", "holds": "=cmd()", "cut": False}
RESULT: dict[str, Any] = {
    "entity": "organization",
    "source_id": "5",
    "external_id": "pd-org-5",
    "netsuite_id": "101",
    "found": "different",
    "causes": [MISSED],
    "fields": [FIELD],
    "reason": "",
    "modified": "2026-07-28 03:00:00",
    "written_at": "2026-07-28T03:00:00Z",
    "dead_letter": "",
}
DONE: dict[str, Any] = {
    "id": ID,
    "flow": "acme-eu",
    "state": "done",
    "why": "",
    "reason": "",
    "actor": "mlc:ann",
    "created_at": "2026-07-28T03:00:00Z",
    "changed_at": "2026-07-28T03:01:00Z",
    "mode": "full",
    "ids": [],
    "token_share": 0.5,
    "plan": PLAN,
    "walks": [WALK],
    "seconds_left": None,
    "rests_on": "it is done",
    "waits": "",
    "results": [
        {
            "entity": "organization",
            "records": 1200,
            "equal": 1199,
            "found": {"different": 1, "extra": 2},
            "held": 1202,
            "failed": {},
            "not_comparable": {"terms": "no column"},
        }
    ],
    "causes": [
        {"entity": "organization", "found": "extra", "cause": "missed_event", "certain": False, "records": 2},
        {"entity": "organization", "found": "different", "cause": "missed_event", "certain": True, "records": 1},
    ],
    "causes_of": 3,
    "clean": False,
    "forgotten": False,
    "mended_by": "",
}
CLEAN = {**DONE, "clean": True, "causes": [], "results": [{**DONE["results"][0], "equal": 1200, "found": {}}]}
FIX = {"mends": {"organization": 1}, "left": [], "plan": PLAN, "sync": ""}


def finds(service: Service, ended: dict[str, Any], *results: dict[str, Any]) -> None:
    running = {**ended, "state": "running", "clean": None}
    service.put("POST reconciles", {"plan": PLAN, "reconcile": running})
    service.put(f"GET reconciles/{ID}", ended)
    service.put(f"GET reconciles/{ID}/results", {"results": list(results), "next": None})


def test_what_differs_is_told_with_both_values_and_why(service: Service, mlc: Mlc) -> None:
    finds(service, DONE, RESULT)

    told = mlc("reconcile", "acme-eu", "--yes")

    assert told.code == 1
    lines = told.out.splitlines()
    assert f"reconcile {ID} of acme-eu is done: 1200 records compared, 1199 as they should be, 1 not, 2 in NetSuite only" in lines  # fmt: skip
    assert "2 organizations: in NetSuite, not in Pipedrive: probably deleted in Pipedrive, and no event of that came" in lines  # fmt: skip
    assert "org 5 (NetSuite 101): differs: Pipedrive changed it, and no event of that came" in lines
    assert '  companyName: should be "Acme", is "=cmd()"' in lines


def test_clean_one_ends_with_0(service: Service, mlc: Mlc) -> None:
    finds(service, CLEAN)

    assert mlc("reconcile", "acme-eu", "--yes").code == 0


def test_json_is_one_object(service: Service, mlc: Mlc) -> None:
    finds(service, DONE, RESULT, RESULT)

    told = json.loads(mlc("reconcile", "acme-eu", "--yes", "--format", "json").out)

    assert (told["reconcile"]["id"], len(told["results"])) == (ID, 2)


def test_csv_goes_into_a_file_of_its_owner_alone(service: Service, mlc: Mlc, tmp_path: Path) -> None:
    finds(service, DONE, RESULT, {**RESULT, "found": "missing", "fields": []})
    file = tmp_path / "report.csv"

    mlc("reconcile", "acme-eu", "--yes", "--format", "csv", "--output", str(file))

    rows = list(csv.DictReader(io.StringIO(file.read_text())))
    assert [(row["found"], row["field"], row["is"]) for row in rows] == [
        ("different", "companyName", "'=cmd()"),
        ("missing", "", ""),
    ]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--output", "{taken}"), "is there already"),
        (("--output", "/nowhere/report.csv"), "there is no folder /nowhere"),
        (("--detach", "--fix"), "leave out --fix and --output"),
        (("--fix", "--format", "csv"), "give the report a file"),
        (("--ids", " , "), "--ids: say which"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_begins(
    service: Service, mlc: Mlc, tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    taken = tmp_path / "taken"
    taken.touch()

    told = mlc("reconcile", "acme-eu", "--yes", *(one.format(taken=taken) for one in arguments))

    assert told.code == 2
    assert says in told.err
    assert service.asked == []


def test_fix_is_shown_and_asked_about(service: Service, mlc: Mlc) -> None:
    left = [{"why": "extra", "records": 2, "helps": "look at each"}]
    service.put(f"POST reconciles/{ID}/fix", {**FIX, "left": left})

    told = mlc("reconciles", "fix", ID)

    assert told.code == 1
    assert "to be re-issued, past what was last sent: 1 organization" in told.out
    assert "not by this: 2 records (extra): look at each" in told.out
    assert "nothing was started" in told.err


def test_fix_is_followed_to_its_end(service: Service, mlc: Mlc) -> None:
    finds(service, DONE, RESULT)
    service.put(f"POST reconciles/{ID}/fix", FIX, {**FIX, "sync": SYNC["id"]})
    service.put(f"GET syncs/{SYNC['id']}", SYNC)

    told = mlc("reconcile", "acme-eu", "--yes", "--fix")

    assert told.code == 0
    assert f"sync {SYNC['id']} is done" in told.out


@given(st.text())
def test_no_cell_is_a_formula(text: str) -> None:
    told = cell(text)

    assert told.removeprefix("'") == text or told == text
    assert not told.lstrip(" ").startswith(("=", "@", "\t", "\r", "\n"))


@pytest.mark.parametrize("number", ["-5", "+3.25", "-1,5"])
def test_numbers_stay_numbers(number: str) -> None:
    assert cell(number) == number
    assert cell(f"{number}+cmd|x!A1") == f"'{number}+cmd|x!A1"
