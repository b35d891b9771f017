"""`mlc sync`, `mlc syncs`, `mlc record refresh`: what it costs is said before it starts; how it ended is an exit code."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from ml_connector.cli.syncs import exit_code, now
from unit.cli.conftest import BEHIND, Mlc, Service

ID = "41c7d09ab2f5"
COST: dict[str, Any] = {
    "entity": "organization",
    "objects": 1001,
    "bound": "at_least",
    "calls": 3,
    "tokens": 30,
    "netsuite_requests": 1001,
    "unchanged": 1000,
    "netsuite_s": 2.0,
    "netsuite_s_at_most": 400.0,
}
PLAN: dict[str, Any] = {
    "entities": [COST],
    "tokens": 30,
    "tokens_a_day": 12000,
    "seconds": 3.0,
    "seconds_at_most": 400.0,
    "rests_on": ["a page takes 1 s (assumed)"],
    "warnings": ["the flow is paused: it waits"],
}
WALK: dict[str, Any] = {
    "entity": "organization",
    "state": "done",
    "pages": 3,
    "read": 1200,
    "desired": 1190,
    "rejected": 0,
    "tokens": 30,
    "restarts": 0,
    "faults": {},
    "started_at": "2026-07-28T03:00:00Z",
    "ended_at": "2026-07-28T03:01:00Z",
    "rate_per_s": 20.0,
    "waits": "",
    "waits_until": None,
}
SYNC: dict[str, Any] = {
    "id": ID,
    "flow": "acme-eu",
    "state": "done",
    "why": "",
    "reason": "a new mapping",
    "actor": "mlc:ann",
    "created_at": "2026-07-28T03:00:00Z",
    "changed_at": "2026-07-28T03:01:00Z",
    "mode": "full",
    "since": "",
    "until": "",
    "ids": [],
    "token_share": 0.5,
    "force": False,
    "stop_after": 0,
    "plan": PLAN,
    "walks": [WALK],
    "seconds_left": None,
    "rests_on": "it is done",
    "outcomes": {"written": 1200, "waiting": 0, "behind_letters": 0},
    "settled": True,
}


def begins(service: Service) -> None:
    """Asked for twice: the cost, then the sync."""
    service.put("POST syncs", {"plan": PLAN, "sync": None}, {"plan": PLAN, "sync": {**SYNC, "state": "running"}})


def test_cost_is_said_and_asked_about_before_it_starts(service: Service, mlc: Mlc) -> None:
    begins(service)

    ran = mlc("sync", "acme-eu", "--full", "--share", "0.3", "--reason", "a new mapping", typed="y\n")

    assert ran.code == 0
    assert "at least 1001" in ran.out and "at most 1001" in ran.out and "1000 written before" in ran.out
    assert "together: 30 tokens (up to 12000 may be spent in a day), about 3 s, 7 min if all has changed" in ran.out
    assert "rests on: a page takes 1 s (assumed)" in ran.err and "careful: the flow is paused" in ran.err
    assert ran.out.endswith(f"sync {ID} is running\n") and f"mlc syncs watch {ID}" in ran.err
    asked, started = (one.body for one in service.asked)
    assert asked == {**started, "dry_run": True}
    assert (started["mode"], started["token_share"], started["reason"]) == ("full", 0.3, "a new mapping")


@pytest.mark.parametrize("typed", ["n\n", ""])
def test_without_a_yes_nothing_is_started(service: Service, mlc: Mlc, typed: str) -> None:
    begins(service)

    ran = mlc("sync", "acme-eu", "--full", typed=typed)

    assert ran.code == 1 and "nothing was started" in ran.err
    assert [one.body["dry_run"] for one in service.asked] == [True]


def test_dry_run_only_says_the_cost(service: Service, mlc: Mlc) -> None:
    begins(service)

    ran = mlc("sync", "acme-eu", "--since", "2h", "--until", "1h", "--entity", "deal", "--dry-run", "--json")

    (asked,) = service.asked
    assert (ran.code, ran.json) == (0, {"plan": PLAN, "sync": None})
    assert (asked.body["since"], asked.body["until"], asked.body["entities"]) == ("2h", "1h", ["deal"])


@pytest.mark.parametrize("options", [[], ["--full", "--since", "2h"], ["--full", "--ids", "1"]])
def test_what_to_sync_is_said_in_one_way(service: Service, mlc: Mlc, options: list[str]) -> None:
    ran = mlc("sync", "acme-eu", *options)

    assert (ran.code, service.asked) == (2, [])
    assert "one of --full, --since TIME and --ids IDS" in ran.err


def test_unknown_entity_is_refused_with_those_that_there_are(service: Service, mlc: Mlc) -> None:
    ran = mlc("sync", "acme-eu", "--full", "--entity", "invoice")

    assert (ran.code, service.asked) == (2, [])
    assert "'invoice' is not one of" in ran.err and "'organization'" in ran.err


def test_window_without_a_beginning_is_refused(service: Service, mlc: Mlc) -> None:
    ran = mlc("sync", "acme-eu", "--full", "--until", "2h")

    assert (ran.code, service.asked) == (2, [])
    assert "say where it begins by --since" in ran.err


def test_followed_sync_ends_when_nothing_moves_any_more(service: Service, mlc: Mlc) -> None:
    begins(service)
    reading = {**SYNC, "state": "running", "settled": False}
    waits = {**SYNC, "settled": False, "outcomes": {"written": 3, "waiting": 5}}
    gone = httpx2.ConnectError("gone")
    service.put(f"GET syncs/{ID}", reading, gone, waits, SYNC)

    ran = mlc("sync", "acme-eu", "--ids", "7, 8", "--ids", "9", "--entity", "deal", "--yes", "--follow")

    assert ran.code == 0
    assert service.asked[0].body["ids"] == ["7", "8", "9"]
    assert f"sync {ID} is done: 1200 read, 1200 written" in ran.out


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({}, 0),
        ({"settled": False}, 1),
        ({"state": "paused"}, 1),
        ({"state": "failed"}, 1),
        ({"state": "cancelled"}, 1),
        ({"walks": [{**WALK, "rejected": 1}]}, 1),
        ({"outcomes": {"written": 1, "dead_lettered": 1}}, 1),
        ({"outcomes": {"written": 1, "behind_letters": 1}}, 1),
        ({"outcomes": {"written": 1, "superseded": 1, "ignored": 1}}, 0),
    ],
)
def test_exit_codes(more: dict[str, Any], code: int) -> None:
    assert exit_code({**SYNC, **more}) == code


def test_show_says_what_was_rejected_and_what_to_do(service: Service, mlc: Mlc) -> None:
    faulty = {**WALK, "state": "failed", "rejected": 7, "faults": {"companyName: no such member": 7}}
    failed = {**SYNC, "state": "failed", "why": "Pipedrive answers 403", "walks": [faulty]}
    service.put(f"GET syncs/{ID}", failed)

    ran = mlc("syncs", "show", ID)

    assert ran.out.startswith(f"sync {ID} is failed (Pipedrive answers 403): 1200 read, 1200 written\n")
    assert "7 organizations rejected: companyName: no such member" in ran.out
    assert "mlc dlq groups --flow acme-eu" in ran.err and f"mlc syncs resume {ID}" in ran.err


def test_what_it_waits_for_is_said() -> None:
    waits = {**WALK, "state": "running", "waits": "400 tokens: spent", "waits_until": "2026-07-29T00:00:00Z"}

    assert (
        now({**SYNC, "walks": [waits]})
        == "organization: 1200 read, waits until 2026-07-29 00:00:00Z: 400 tokens: spent"
    )
    running = {**WALK, "state": "running"}
    assert now({**SYNC, "walks": [running], "seconds_left": 200}) == "organization: 1200 read, about 3 min left"


def test_list_names_what_was_asked_for(service: Service, mlc: Mlc) -> None:
    window = {**SYNC, "mode": "since", "since": "2026-07-28T01:00:00Z", "state": "running"}
    service.put("GET syncs", {"syncs": [window, {**SYNC, "mode": "ids", "ids": ["7"]}], "next": None, "behind": BEHIND})

    ran = mlc("syncs", "list", "--flow", "acme-eu")

    assert service.asked[0].query["flow"] == "acme-eu"
    assert "since 2026-07-28T01:00:00Z" in ran.out and "1 id " in ran.out and "2 syncs" in ran.err


@pytest.mark.parametrize("act", ["pause", "resume", "cancel"])
def test_acts_say_how_it_stands(service: Service, mlc: Mlc, act: str) -> None:
    service.put(f"POST syncs/{ID}/{act}", {**SYNC, "state": "paused"})

    ran = mlc("syncs", act, ID, "--reason", "lunch")

    assert ran.out == f"sync {ID} is paused: 1200 read, 1200 written\n"
    assert service.asked[0].body == {"reason": "lunch"}


# -- one record --------------------------------------------------------------------------------------------------------

SUBJECT = {"entity": "organization", "source_id": "5", "flows": ["acme-eu"], "records": []}


def test_record_is_read_anew_by_its_id(service: Service, mlc: Mlc) -> None:
    service.put("GET records", {"records": [SUBJECT], "behind": BEHIND})
    begins(service)

    ran = mlc("record", "refresh", "Acme", "GmbH", "--yes")

    body = service.asked[-1].body
    assert ran.code == 0 and service.asked[0].query == {"q": "Acme GmbH"}
    assert (body["flow"], body["mode"], body["ids"], body["entities"]) == ("acme-eu", "ids", ["5"], ["organization"])


@pytest.mark.parametrize(
    ("subjects", "problem"),
    [
        ([], "no object is like this"),
        ([SUBJECT, {**SUBJECT, "source_id": "6"}], "2 objects may be meant"),
        ([{**SUBJECT, "flows": ["acme-eu", "acme-us"]}], "2 flows keep it (acme-eu, acme-us): say which by --flow"),
    ],
)
def test_record_that_is_not_the_only_one_is_not_guessed(
    service: Service, mlc: Mlc, subjects: list[Any], problem: str
) -> None:
    service.put("GET records", {"records": subjects, "behind": BEHIND})

    ran = mlc("record", "refresh", "Acme", "--yes")

    assert ran.code == 2 and problem in ran.err and len(service.asked) == 1
