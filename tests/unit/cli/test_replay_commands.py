"""`mlc replay`: how a replay ended, and what is still to do."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from ml_connector.cli import following
from ml_connector.cli.replays import exit_code
from unit.cli.conftest import BEHIND, LETTER, REPLAY, Mlc, Service

ID = REPLAY["id"]
PATH = f"GET replays/{ID}"


def item(number: int, state: str, why: str = "", **more: Any) -> dict[str, Any]:
    letter, record = LETTER["id"], LETTER["record_key"]
    known = {"number": number, "letter": letter, "record_key": record, "cause": f"rpl:{ID}:{number}", "at": None}
    return {**known, "state": state, "why": why, "failed_as": "", "found": None, **more}


@pytest.mark.parametrize(
    ("state", "items", "code"),
    [
        ("done", {"written": 2, "superseded": 1}, 0),
        ("done", {"written": 2, "ignored": 1, "skipped": 0}, 0),
        ("done", {"would_be_written": 2}, 0),
        ("done", {"written": 2, "skipped": 1}, 1),
        ("done", {"written": 2, "dead_lettered": 1}, 1),
        ("done", {"would_fail": 1}, 1),
        ("done", {"unresolved": 1}, 1),
        ("done", {"something_new": 1}, 1),
        ("paused", {"written": 2}, 1),
        ("cancelled", {"written": 2}, 1),
        ("draft", {"waiting": 2}, 1),
    ],
)
def test_exit_codes(state: str, items: dict[str, int], code: int) -> None:
    assert exit_code({**REPLAY, "state": state, "items": items}) == code


def test_what_failed_again_is_named_with_its_new_reason(service: Service, mlc: Mlc) -> None:
    service.put(PATH, {**REPLAY, "items": {"written": 1, "dead_lettered": 1, "skipped": 1}})
    failed = item(0, "dead_lettered", "No such subsidiary.", failed_as="aaaaaaaaaaaa")
    skipped = item(1, "skipped", "another replay is at it")
    service.put(
        f"GET replays/{ID}/items",
        *({"items": [one], "next": None, "behind": BEHIND} for one in (failed, skipped)),
    )

    ran = mlc("replay", "watch", ID)

    assert ran.code == 1
    assert ran.out.startswith(f"replay {ID} is done: 1 written, 1 dead-lettered, 1 skipped\n")
    assert "now aaaaaaaaaaaa: No such" in ran.out
    assert "another replay is at it" in ran.out
    assert [one.query.get("state") for one in service.asked] == [None, "dead_lettered", "skipped"]


def test_only_the_first_failures_are_named(service: Service, mlc: Mlc) -> None:
    service.put(PATH, {**REPLAY, "total": 45, "items": {"skipped": 45}})
    items = [item(number, "skipped", "discarded") for number in range(20)]
    service.put(f"GET replays/{ID}/items", {"items": items, "next": 19, "behind": BEHIND})

    ran = mlc("replay", "watch", ID)

    assert service.asked[-1].query == {"state": "skipped", "limit": "20"}
    assert f"25 more: mlc replay items {ID}" in ran.err


def test_paused_replay_says_why_and_how_to_go_on(service: Service, mlc: Mlc) -> None:
    paused = {**REPLAY, "state": "paused", "why": "5 records failed again", "items": {"waiting": 2}}
    service.put(PATH, {**paused, "state": "running"}, paused)

    ran = mlc("replay", "watch", ID)

    assert (ran.code, ran.out) == (1, f"replay {ID} is paused (5 records failed again): 2 waiting\n")
    assert f"mlc replay start {ID}" in ran.err


def test_service_that_is_started_again_meanwhile_is_waited_for(service: Service, mlc: Mlc) -> None:
    running = {**REPLAY, "state": "running"}
    service.put(PATH, running, httpx2.ConnectError("gone"), httpx2.Response(503, json={"problem": "no"}), REPLAY)

    assert mlc("replay", "watch", ID).code == 0


def test_service_that_stays_away_is_given_up(service: Service, mlc: Mlc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "PATIENCE_S", 0.0)
    service.put(PATH, {**REPLAY, "state": "running"}, httpx2.ConnectError("gone"))

    ran = mlc("replay", "watch", ID)

    assert ran.code == 1
    assert "is the admin service running there?" in ran.err


def test_interrupted_watching_says_that_the_replay_goes_on(service: Service, mlc: Mlc) -> None:
    service.put(PATH, {**REPLAY, "state": "running"}, KeyboardInterrupt())

    ran = mlc("replay", "watch", ID)

    assert ran.code == 130
    assert ran.err.endswith(f"mlc: the replay goes on; to watch it: mlc replay watch {ID}\n")


def test_watch_prints_one_object(service: Service, mlc: Mlc) -> None:
    ended = {**REPLAY, "items": {"skipped": 2}}
    service.put(PATH, {**REPLAY, "state": "running"}, ended)

    ran = mlc("replay", "watch", ID, "--json")

    assert (ran.code, ran.json) == (1, ended)


@pytest.mark.parametrize("act", ["start", "pause", "cancel"])
def test_acts_need_a_reason(service: Service, mlc: Mlc, act: str) -> None:
    service.put(f"POST replays/{ID}/{act}", {**REPLAY, "state": "running"})

    assert mlc("replay", act, ID).code == 2
    assert service.asked == []
    assert mlc("replay", act, ID, "--reason", "by Ann").code == 0
    assert service.asked[0].body == {"reason": "by Ann"}


def test_act_in_the_wrong_state_is_exit_code_2(service: Service, mlc: Mlc) -> None:
    problem = f"replay {ID} is done: pause is not possible now"
    service.put(f"POST replays/{ID}/pause", {"problem": problem, "details": []}, status=409)

    ran = mlc("replay", "pause", ID, "--reason", "by Ann")

    assert (ran.code, ran.err) == (2, f"mlc: {problem}\n")


def test_list_and_show(service: Service, mlc: Mlc) -> None:
    service.put("GET replays", {"replays": [{**REPLAY, "dry_run": True}], "next": None, "behind": BEHIND})
    service.put(PATH, {**REPLAY, "rate_per_s": 50.0, "selection": {"ids": ["a"] * 7}})

    listed, shown = mlc("replay", "list", "--state", "done"), mlc("replay", "show", ID)

    assert service.asked[0].query == {"state": "done", "limit": "20"}
    assert f"{ID}  " in listed.out
    assert "done (dry run)  2/2   0       mlc:ann  mapped now" in listed.out
    assert "how        50.0 per second" in shown.out
    assert "selection  a, a, a, a, a and 2 more" in shown.out


def test_items_follow_the_numbers(service: Service, mlc: Mlc) -> None:
    found = {"result": "desired", "action": "upsert", "fields": {"companyName": "x", "email": "y"}, "reason": ""}
    one, two = item(0, "would_be_written", found=found), item(1, "would_fail", "no such currency")
    service.put(
        f"GET replays/{ID}/items",
        {"items": [one], "next": 0, "behind": BEHIND},
        {"items": [two], "next": None, "behind": BEHIND},
    )

    ran = mlc("replay", "items", ID)

    assert service.asked[1].query == {"limit": "99", "after": "0"}
    assert "upsert companyName, " in ran.out
    assert "no such currency" in ran.out
    assert all(len(line) <= 100 for line in ran.out.splitlines())
