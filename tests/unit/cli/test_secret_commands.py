"""`mlc secrets` over the admin service: where a value may come from, what is sent, what a person reads."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Any

import pytest

from unit.cli.conftest import Mlc, Service

KEY = "pipedrive/acme/api-token"
STORED: dict[str, Any] = {
    "key": KEY,
    "owner": "pipedrive/acme",
    "name": "api-token",
    "environment": "sandbox",
    "version": 3,
    "kek": "k1",
    "used_by": ["acme-eu", "acme-us"],
}
VALUE = {"token": "CANARY"}
TEXT = '{"token": "CANARY"}'
SET = ("secrets", "set", "pipedrive/acme", "api-token")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "token.json"
    made.write_text(TEXT)
    made.chmod(0o600)
    return made


def test_file_is_sent_with_what_is_expected(service: Service, mlc: Mlc, file: Path) -> None:
    service.put(f"PUT secrets/{KEY}", STORED)

    ran = mlc(*SET, "--file", str(file), "--expect", "2", "--reason", "a new user")

    assert (ran.code, ran.out, ran.err) == (0, f"{KEY}: version 3 stored for sandbox\n", "")
    assert service.asked[0].body == {"value": VALUE, "environment": None, "expect": 2, "reason": "a new user"}


def test_stdin_is_sent(service: Service, mlc: Mlc) -> None:
    service.put(f"PUT secrets/{KEY}", STORED)

    assert mlc(*SET, "--file", "-", typed=TEXT).code == 0
    assert service.asked[0].body["value"] == VALUE


def test_prompt_is_sent(service: Service, mlc: Mlc, monkeypatch: pytest.MonkeyPatch) -> None:
    service.put(f"PUT secrets/{KEY}", STORED)
    monkeypatch.setattr(getpass, "getpass", lambda _: TEXT)

    assert "CANARY" not in mlc(*SET).out
    assert service.asked[0].body["value"] == VALUE


def test_file_that_others_can_read_is_warned_about(service: Service, mlc: Mlc, file: Path) -> None:
    service.put(f"PUT secrets/{KEY}", STORED)
    file.chmod(0o644)

    ran = mlc(*SET, "--file", str(file))

    assert ran.code == 0 and "can be read by others" in ran.err and "CANARY" not in ran.err


@pytest.mark.parametrize("text", ["CANARY", '"CANARY"', '{"token": "CANARY"'])
def test_what_is_no_object_is_refused_without_quoting_it(service: Service, mlc: Mlc, file: Path, text: str) -> None:
    file.write_text(text)

    ran = mlc(*SET, "--file", str(file))

    assert ran.code == 2 and "the secret is n" in ran.err
    assert "CANARY" not in ran.out + ran.err and service.asked == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("set", "pipedrive/../x", "api-token", "--file", "-"),
        ("set", "acme", "api-token", "--file", "-"),
        ("set", "pipedrive/acme", "api/token", "--file", "-"),
        ("set", "pipedrive/acme", "api-token", "--file", "-", "--environment", "test"),
        ("set", "pipedrive/acme", "api-token", "--file", "/"),
        ("delete", "pipedrive/acme?x", "api-token"),
    ],
)
def test_what_is_written_wrongly_is_not_sent(service: Service, mlc: Mlc, arguments: tuple[str, ...]) -> None:
    assert mlc("secrets", *arguments, typed=TEXT).code == 2
    assert service.asked == []


def test_list_names_the_flows(service: Service, mlc: Mlc) -> None:
    service.put("GET secrets", {"secrets": [STORED]})

    line = mlc("secrets", "list").out.splitlines()[1]

    assert line.split() == [KEY, "3", "sandbox", "k1", "acme-eu,", "acme-us"]


def test_delete_asks_once_more_what_is_needed(service: Service, mlc: Mlc) -> None:
    service.put(f"DELETE secrets/{KEY}", {"problem": "it is needed by flow acme-eu", "details": []}, status=409)
    assert mlc("secrets", "delete", "pipedrive/acme", "api-token").err == "mlc: it is needed by flow acme-eu\n"

    service.put(f"DELETE secrets/{KEY}", STORED)
    ran = mlc("secrets", "delete", "pipedrive/acme", "api-token", "--force", "--expect", "3")

    assert ran.out == f"{KEY}: version 3 deleted\n"
    assert [one.query for one in service.asked] == [{}, {"force": "true", "expect": "3"}]


def test_vault_status_says_which_key_may_go(service: Service, mlc: Mlc) -> None:
    def key(name: str, entries: int, *, here: bool = True, removable: bool = False) -> dict[str, Any]:
        return {"id": name, "entries": entries, "tokens": 0, "here": here, "removable": removable}

    keys = [key("k3", 4), key("k2", 1), key("k1", 0, removable=True), key("k0", 2, here=False)]
    service.put("GET vault", {"active": "k3", "keys": keys, "untold": 1})

    ran = mlc("vault", "status")

    lines = [line.split(maxsplit=3) for line in ran.out.splitlines()[1:]]
    assert lines == [
        ["k3", "4", "0", "active"],
        ["k2", "1", "0", "needed"],
        ["k1", "0", "0", "may be removed"],
        ["k0", "2", "0", "not in MLC_VAULT_KEYS of the admin service"],
    ]
    assert "1 change not told" in ran.err


def test_vault_rotate_says_how_many(service: Service, mlc: Mlc) -> None:
    service.put("POST vault/rotate", {"active": "k2", "rewrapped": 3, "unreadable": []})

    ran = mlc("vault", "rotate", "--reason", "the yearly one")

    assert (ran.code, ran.out) == (0, "3 credentials now under key k2\n")
    assert service.asked[0].body == {"reason": "the yearly one"}


def test_vault_rotate_fails_by_name_for_what_no_key_opens(service: Service, mlc: Mlc) -> None:
    service.put("POST vault/rotate", {"active": "k2", "rewrapped": 3, "unreadable": [KEY]})

    ran = mlc("vault", "rotate")

    assert ran.code != 0 and ran.out.startswith("3 credentials") and KEY in ran.err
