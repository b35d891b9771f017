"""`mlc webhooks`: what a person reads, and what is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unit.cli.conftest import Mlc, Service

PATH = "flows/acme-eu/webhooks"
ADDRESS = "https://in.example/webhooks/pipedrive/acme-eu"
OURS: dict[str, Any] = {
    "id": 7, "entity": "deal", "action": "*", "url": ADDRESS, "ours": True, "active": True,
    "last_delivery": "2026-11-20 10:00:00", "last_status": 204,
}  # fmt: skip
OTHER = {
    **OURS,
    "id": 8,
    "url": "https://hooks.example\x1b[2J",
    "ours": False,
    "last_delivery": "",
    "last_status": None,
}


def answer(*rows: dict[str, Any], created: int = 0) -> dict[str, Any]:
    made = list(rows[:created])
    return {"flow": "acme-eu", "address": ADDRESS, "subscriptions": list(rows), "created": made, "removed": []}


def test_status_is_a_line_for_each(service: Service, mlc: Mlc) -> None:
    service.put(f"GET {PATH}", answer(OURS, OTHER))

    ran = mlc("webhooks", "status", "acme-eu")

    lines = [line.split() for line in ran.out.splitlines()]
    assert ran.code == 0 and "\x1b" not in ran.out
    assert lines[1][:8] == ["7", "yes", "deal", "*", "yes", "2026-11-20", "10:00:00", "204"]
    assert lines[2][:6] == ["8", "no", "deal", "*", "yes", "-"]


def test_status_without_any_says_so(service: Service, mlc: Mlc) -> None:
    service.put(f"GET {PATH}", answer())

    assert mlc("webhooks", "status", "acme-eu").out == "the company has no webhooks\n"


def test_install_sends_the_url_and_counts(service: Service, mlc: Mlc) -> None:
    service.put(f"POST {PATH}", answer(OURS, OTHER, created=1), answer(OURS, OTHER))

    first = mlc("webhooks", "install", "acme-eu", "--url", "https://in.example")
    again = mlc("webhooks", "install", "acme-eu", "--url", "https://in.example", "--relay")

    assert [one.body for one in service.asked] == [
        {"url": "https://in.example", "relay": False},
        {"url": "https://in.example", "relay": True},
    ]
    assert first.out.splitlines()[-1] == f"made 1, removed 0: 1 webhook to {ADDRESS}"
    assert again.out.splitlines()[-1] == f"nothing to do: 1 webhook to {ADDRESS}"


def test_refusal_is_the_sentence(service: Service, mlc: Mlc) -> None:
    service.put(f"POST {PATH}", {"problem": "Pipedrive does not sign", "details": []}, status=409)

    ran = mlc("webhooks", "install", "acme-eu", "--url", "https://in.example")

    assert (ran.code, ran.err) == (2, "mlc: Pipedrive does not sign\n")


def test_json_is_the_services_answer(service: Service, mlc: Mlc) -> None:
    service.put(f"POST {PATH}", answer(OURS))

    assert mlc("webhooks", "install", "acme-eu", "--url", "https://x", "--json").json == answer(OURS)


def test_install_needs_a_url(mlc: Mlc) -> None:
    assert mlc("webhooks", "install", "acme-eu").code == 2


ROTATED: dict[str, Any] = {
    "flow": "acme-eu", "proof": "basic", "step": "overlapping", "key": "k-new", "old_key": "k-old",
    "finish_at": "2026-11-20T10:05:00Z", "ingests": ["a", "b"], "created": [OURS], "removed": [OURS],
}  # fmt: skip


def test_rotation_says_what_is_done_and_what_is_next(service: Service, mlc: Mlc) -> None:
    service.put(f"POST {PATH}/rotate", ROTATED, {**ROTATED, "step": "finished", "finish_at": None})

    first = mlc("webhooks", "rotate", "acme-eu", "--reason", "it leaked")
    last = mlc("webhooks", "rotate", "acme-eu", "--finish")

    assert first.out.splitlines() == [
        "2 ingests took key k-new; k-old is still good",
        "webhooks: made 1, removed 1",
        "then, from 2026-11-20T10:05:00Z on: mlc webhooks rotate acme-eu --finish",
    ]
    assert last.out == "key k-old is removed, k-new stays\n"
    nothing = {"proof": None, "secret": None, "url": "", "relay": False, "finish": False, "reason": ""}
    assert [one.body for one in service.asked] == [{**nothing, "reason": "it leaked"}, {**nothing, "finish": True}]


def test_signing_key_comes_from_a_file_and_is_not_printed(service: Service, mlc: Mlc, tmp_path: Path) -> None:
    service.put(f"POST {PATH}/rotate", {**ROTATED, "proof": "hmac-sha256", "created": [], "removed": []})
    file = tmp_path / "new.key"
    file.write_text("CANARY-of-a-signing-key\n")
    file.chmod(0o600)

    ran = mlc("webhooks", "rotate", "acme-eu", "--proof", "hmac-sha256", "--key", str(file))

    asked = service.asked[0].body
    assert (asked["proof"], asked["secret"]) == ("hmac-sha256", "CANARY-of-a-signing-key")
    assert "give the relay key k-new" in ran.out and "CANARY" not in ran.out + ran.err


def test_key_is_given_in_one_way(mlc: Mlc) -> None:
    assert mlc("webhooks", "rotate", "acme-eu", "--key", "-", "--ask").code == 2
