"""`mlc schedule`: what comes next, what ran, and what did not and why, in one look."""

from __future__ import annotations

from typing import Any

from unit.cli.conftest import Mlc, Service

STARTED: dict[str, Any] = {
    "due_at": "2026-07-28T03:15:00Z",
    "looked_at": "2026-07-28T03:15:01Z",
    "fate": "started",
    "why": "",
    "job": "41c7d09ab2f5",
    "state": "running",
    "missed_since": "2026-07-28T01:00:00Z",
    "times": 1,
}
SKIPPED: dict[str, Any] = {
    **STARTED,
    "due_at": "2026-07-28T03:45:00Z",
    "fate": "skipped",
    "why": "sync 41c7d09ab2f5 is running",
    "job": "",
    "state": "",
    "missed_since": None,
    "times": 2,
}
SCHEDULE: dict[str, Any] = {
    "flow": "acme-eu",
    "kind": "sync",
    "cron": "*/15 * * * *",
    "time_zone": "Europe/Berlin",
    "jitter_s": 60,
    "paused": False,
    "next_at": "2026-07-28T04:00:07Z",
    "last": STARTED,
    "not_begun": SKIPPED,
}


def test_list_says_what_comes_next_and_what_was_left_out(service: Service, mlc: Mlc) -> None:
    service.put("GET schedules", {"schedules": [SCHEDULE]})

    ran = mlc("schedule", "list", "--kind", "sync")

    assert ran.code == 0 and service.asked[0].query == {"kind": "sync"}
    for text in ("2026-07-28 04:00", "41c7d09ab2f5", "running", "2 times skipped"):
        assert text in ran.out
    assert mlc("schedule", "list", "--json").json == {"schedules": [SCHEDULE]}


def test_show_tells_each_due_time_and_why_it_came_to_nothing(service: Service, mlc: Mlc) -> None:
    service.put("GET schedules/acme-eu", {"schedules": [{**SCHEDULE, "turns": [SKIPPED, STARTED]}]})

    ran = mlc("schedule", "show", "acme-eu")

    assert ran.code == 0 and ran.out.startswith("sync: */15 * * * * (Europe/Berlin)")
    assert "skipped 2 times" in ran.out and "for all since" in ran.out


def test_paused_flow_and_one_without_a_schedule_say_so(service: Service, mlc: Mlc) -> None:
    service.put("GET schedules", {"schedules": [{**SCHEDULE, "paused": True, "last": None, "not_begun": None}]})
    service.put("GET schedules/acme-eu", {"schedules": []})

    assert "flow is paused" in mlc("schedule", "list").out
    assert mlc("schedule", "show", "acme-eu").out == "flow acme-eu has no schedule: nothing begins by itself\n"


def test_gaps_say_when_events_may_have_got_lost_and_what_was_done(service: Service, mlc: Mlc) -> None:
    gap = {"since": "2026-07-28T05:00:00Z", "until": "2026-07-28T05:30:00Z", "open": False, "why": "no ingest ran"}
    run = {
        "id": "9d2f77a01c3e",
        "since": "2026-07-28T03:00:00Z",
        "until": "2026-07-28T03:40:00Z",
        "phase": "gone",
        "problem": "",
        "why": "the last delivery got 503",
        "changes": "41c7d09ab2f5",
        "gone": "51c7d09ab2f5",
        "known": 40,
        "missing": 2,
    }
    service.put("GET catch-ups", {"catch_ups": [{"flow": "acme-eu", "gap": gap, "runs": [run]}]})

    ran = mlc("schedule", "gaps", "--flow", "acme-eu")

    assert ran.code == 0 and service.asked[0].query == {"flow": "acme-eu"} and "2 gaps" in ran.err
    for text in ("to come", "2 of 40", "51c7d09ab2f5", "no ingest"):
        assert text in ran.out


def test_where_there_is_none_it_says_how_one_is_made(service: Service, mlc: Mlc) -> None:
    service.put("GET schedules", {"schedules": []})
    service.put("GET schedules/acme-eu", {"schedules": []})

    listed, shown = mlc("schedule", "list"), mlc("schedule", "show", "acme-eu")

    assert (listed.code, shown.code) == (0, 0)
    assert "set in a flow's file, as schedule: {sync:" in listed.err
    assert "has no schedule" in shown.out and "set in a flow's file" in shown.err
