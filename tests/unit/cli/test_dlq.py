"""`mlc dlq`: what is asked of the admin service, and what is shown."""

from __future__ import annotations

from typing import Any

import pytest

from unit.cli.conftest import BEHIND, LETTER, REPLAY, Mlc, Service, detail

ID = LETTER["id"]
GROUP: dict[str, Any] = {
    **{name: LETTER[name] for name in ("group", "stage", "code", "field", "flow", "message", "suggested_fix")},
    "letters": 52,
    "records": 38,
    "open": 40,
    "resolved": 12,
    "discarded": 0,
    "waiting_behind": 112,
    "first_failed_at": None,
    "last_failed_at": None,
    "expires_at": None,
}


# -- looking -----------------------------------------------------------------------------------------------------------


def test_list_fits_a_pipe_with_ids_whole(service: Service, mlc: Mlc) -> None:
    letter = {**LETTER, "source_id": "1234567890123456789", "message": "much [bold] text " * 20}
    service.put("GET dead-letters", {"letters": [letter], "next": "c", "behind": {"messages": 3, "age_s": 1.5}})

    ran = mlc("dlq", "list", "--limit", "1")

    head, line = ran.out.splitlines()
    assert (max(len(head), len(line)) <= 100, head.split()[0]) == (True, "dead")
    assert ID in line
    assert "org 1234567890123456789" in line
    assert "vendor/USER_ERROR" in line
    assert "much [bold] te" in line
    assert ran.err.splitlines() == [
        "1 open dead letter; there are more: --limit 2, or filters",
        "3 messages behind the topics",
    ]


def test_very_long_id_makes_the_table_wider_rather_than_being_cut(service: Service, mlc: Mlc) -> None:
    letter = {**LETTER, "entity": "", "record_key": "1234567_sb1/customer/" + "x" * 150}
    service.put("GET dead-letters", {"letters": [letter], "next": None, "behind": BEHIND})

    assert letter["record_key"] in mlc("dlq", "list").out


def test_filters_are_asked_as_the_service_calls_them(service: Service, mlc: Mlc) -> None:
    service.put("GET dead-letters", {"letters": [], "next": None, "behind": {"messages": 0, "age_s": None}})

    ran = mlc(
        "dlq",
        "list",
        *["--state", "all", "--entity", "person", "--stage", "map", "--since", "2026-07-01", "--group", "7be1b0a4c3"],
    )

    assert service.asked[0].query == {
        "state": "all",
        "entity": "person",
        "stage": "map",
        "failed_from": "2026-07-01T00:00:00Z",
        "group": "7be1b0a4c3",
        "limit": "50",
    }
    assert ran.out == ""
    assert ran.err.startswith("0 dead letters\n")
    assert "this is not all" in ran.err


def test_json_is_the_answer_as_it_is(service: Service, mlc: Mlc) -> None:
    answer = {"letters": [LETTER], "next": None, "behind": {"messages": 3, "age_s": 1.5}}
    service.put("GET dead-letters", answer)

    ran = mlc("dlq", "list", "--json")

    assert (ran.json, ran.err) == (answer, "")


def test_groups_with_nothing_open_are_left_out(service: Service, mlc: Mlc) -> None:
    closed = {**GROUP, "group": "0000000000", "open": 0}
    service.put("GET dead-letters/groups", {"groups": [closed, GROUP], "behind": BEHIND})

    ran = mlc("dlq", "groups")

    assert service.asked[0].query["state"] == "all"
    assert ran.out.splitlines() == [
        "group       open/total  records  waiting  stage/code         field",
        "7be1b0a4c3  40/52       38       112      vendor/USER_ERROR  subsidiary",
        "  Please enter value(s) for: Subsidiary.",
        "  fix: Map Subsidiary in the flow, then replay.",
    ]


def test_letter_is_shown_with_its_three_documents(service: Service, mlc: Mlc) -> None:
    replays = [{"replay": REPLAY["id"], "state": "dead_lettered", "why": ""}]
    edited = {"data": {"emails": [{"value": "a@b.de"}], "name": "Acme GmbH"}, "meta": {"id": "5"}}
    service.put(f"GET dead-letters/{ID}", detail(edited=edited, response=None, replays=replays))

    text = mlc("dlq", "show", ID).out

    assert "suggested fix   Map Subsidiary in the flow, then replay." in text
    assert "kept until      2026-08-28 03:00:00Z" in text
    assert "waiting behind  12 records" in text
    assert '"companyName": "Acme"' in text
    assert "NetSuite's answer:\n(no answer)" in text
    assert '-    "name": "Acme"\n+    "name": "Acme GmbH"\n' in text
    assert f"{REPLAY['id']}  dead_lettered" in text


def test_event_that_is_no_json_is_shown_as_text(service: Service, mlc: Mlc) -> None:
    service.put(f"GET dead-letters/{ID}", detail(event="not \x1b[2J json"))

    assert "event:\nnot \N{REPLACEMENT CHARACTER}[2J json\n" in mlc("dlq", "show", ID).out


def test_unknown_letter_is_exit_code_2(service: Service, mlc: Mlc) -> None:
    service.put(f"GET dead-letters/{ID}", {"problem": f"there is no dead letter {ID}", "details": []}, status=404)

    ran = mlc("dlq", "show", ID)

    assert (ran.code, ran.err) == (2, f"mlc: there is no dead letter {ID}\n")


# -- acting ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "selection"),
    [
        ([ID, ID.upper()], {"ids": [ID]}),
        (["--group", "7be1b0a4c3"], {"group": "7be1b0a4c3"}),
        (["--group", "7be1b0a4c3", "--flow", "f"], {"filter": {"group": "7be1b0a4c3", "flow": "f"}}),
        (["--state", "open"], {"filter": {"state": "open"}}),
        (["--state", "all", "--code", "X"], {"filter": {"state": "all", "code": "X"}}),
    ],
)
def test_selections(service: Service, mlc: Mlc, arguments: list[str], selection: dict[str, Any]) -> None:
    service.put("POST replays", REPLAY, status=201)

    mlc("dlq", "replay", *arguments, "--reason", "mapped now", "--no-wait")

    assert service.asked[0].body["selection"] == selection


@pytest.mark.parametrize(
    ("arguments", "text"), [([], "say which"), ([ID, "--flow", "f"], "not both"), (["nonsense"], "is no id")]
)
def test_unclear_selection_is_refused_before_anything_happens(
    service: Service, mlc: Mlc, arguments: list[str], text: str
) -> None:
    ran = mlc("dlq", "replay", *arguments, "--reason", "mapped now")

    assert (ran.code, service.asked) == (2, [])
    assert text in ran.err


def test_options_of_a_replay(service: Service, mlc: Mlc) -> None:
    service.put("POST replays", {**REPLAY, "state": "draft"}, status=201)

    options = ["--dry-run", "--mapping", "original", "--rate", "50", "--stop-after", "5", "--force", "--draft"]
    ran = mlc("dlq", "replay", ID, "--reason", "mapped now", *options)

    assert service.asked[0].body == {
        "selection": {"ids": [ID]},
        "reason": "mapped now",
        "dry_run": True,
        "mapping": "original",
        "rate_per_s": 50.0,
        "stop_after": 5,
        "force": True,
        "draft": True,
    }
    assert ran.code == 0
    assert f"mlc replay start {REPLAY['id']}" in ran.err


def test_replay_is_watched_to_its_end(service: Service, mlc: Mlc) -> None:
    running = {**REPLAY, "state": "running", "items": {"waiting": 2}}
    service.put("POST replays", running, status=201)
    service.put(f"GET replays/{REPLAY['id']}", {**running, "items": {"written": 1, "issued": 1}}, REPLAY)

    ran = mlc("dlq", "replay", "--group", "7be1b0a4c3", "--reason", "mapped now")

    assert (ran.code, ran.out) == (0, f"replay {REPLAY['id']} is done: 2 written\n")


def test_discard_says_how_many_and_asks(service: Service, mlc: Mlc) -> None:
    service.put("GET dead-letters/groups", {"groups": [GROUP], "behind": BEHIND})
    service.put("POST dead-letters/discard", {"discarded": 40})

    refused = mlc("dlq", "discard", "--group", "7be1b0a4c3", "--reason", "test data", typed="n\n")
    nobody = mlc("dlq", "discard", "--group", "7be1b0a4c3", "--reason", "test data")

    assert "discard 40 dead letters?" in refused.err
    assert (refused.code, nobody.code) == (1, 1)
    assert "nobody answered" in nobody.err
    assert all(one.method == "GET" for one in service.asked)
    assert service.asked[0].query == {"group": "7be1b0a4c3", "state": "open", "limit": "500"}

    agreed = mlc("dlq", "discard", "--group", "7be1b0a4c3", "--reason", "test data", typed="y\n")

    assert (agreed.code, agreed.out.splitlines()[-1]) == (0, "40 dead letters discarded")
    assert service.asked[-1].body == {"selection": {"group": "7be1b0a4c3"}, "reason": "test data"}


def test_yes_does_not_ask(service: Service, mlc: Mlc) -> None:
    service.put("POST dead-letters/discard", {"discarded": 1})

    ran = mlc("dlq", "discard", ID, "--reason", "test data", "--yes", "--json")

    assert (ran.json, len(service.asked)) == ({"discarded": 1}, 1)


def test_only_open_letters_are_discarded(service: Service, mlc: Mlc) -> None:
    assert mlc("dlq", "discard", "--state", "all", "--reason", "test data", "--yes").code == 2
    assert service.asked == []


def test_reason_is_required(service: Service, mlc: Mlc) -> None:
    assert mlc("dlq", "discard", ID, "--yes").code == 2
    assert service.asked == []
