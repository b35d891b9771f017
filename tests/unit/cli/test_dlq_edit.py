"""`mlc dlq edit`: what is kept beside a dead letter, and what is never lost on the way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ml_connector.cli import dlq_edit
from ml_connector.cli.dlq_edit import difference, put_at
from ml_connector.common.errors import BadInput
from unit.cli.conftest import EVENT, LETTER, Mlc, Service, detail

ID = LETTER["id"]
PREVIEW: dict[str, Any] = {
    "result": "desired",
    "record_key": LETTER["record_key"],
    "action": "upsert",
    "mapping_version": 3,
    "fields": {"companyName": "Acme GmbH", "isInactive": False},
    "references": {"subsidiary": {"kind": "subsidiary", "value": "EU"}},
    "parent": None,
    "held_back": ["Colour"],
    "reason": "",
}


def test_set_puts_the_whole_event_and_says_what_becomes_of_it(service: Service, mlc: Mlc) -> None:
    service.put(f"GET dead-letters/{ID}", detail())
    service.put(f"PUT dead-letters/{ID}/edited", PREVIEW)

    ran = mlc(
        "dlq", "edit", ID, "--set", "data.name=Acme GmbH", "--set", "data.emails.0.value=null", "--reason", "typo"
    )

    assert service.asked[1].body == {
        "event": {"meta": {"id": "5"}, "data": {"name": "Acme GmbH", "emails": [{"value": None}]}},
        "reason": "typo",
    }
    assert "upsert of 1234567_sb1/customer/pd-org-5" in ran.out
    assert "isInactive   false" in ran.out
    assert "subsidiary EU" in ran.out


def test_edits_add_up(service: Service, mlc: Mlc) -> None:
    service.put(f"GET dead-letters/{ID}", detail(edited={"data": {"name": "first", "city": "x"}}))
    service.put(f"PUT dead-letters/{ID}/edited", PREVIEW)

    mlc("dlq", "edit", ID, "--set", "data.city=Bonn", "--reason", "second")

    assert service.asked[1].body["event"] == {"data": {"name": "first", "city": "Bonn"}}


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("data.nmae", "there is no nmae: data has name, emails"),
        ("date.name", "there is no date: the event has meta, data"),
        ("data.emails.1", "there is no 1: data.emails has 0"),
        ("data.name.x", "there is no x: data.name has no members"),
    ],
)
def test_path_that_does_not_exist_names_what_does(path: str, text: str) -> None:
    with pytest.raises(BadInput, match=text):
        put_at(json.loads(json.dumps(EVENT)), path, 1, add=False)


def test_add_makes_members_on_the_way() -> None:
    event = json.loads(json.dumps(EVENT))

    put_at(event, "data.address.city", "Bonn", add=True)
    put_at(event, "data.emails.1", {"value": "c"}, add=True)

    assert event["data"]["address"] == {"city": "Bonn"}
    assert event["data"]["emails"][1] == {"value": "c"}


def test_text_stays_text_and_nan_is_no_number(service: Service, mlc: Mlc) -> None:
    service.put(f"GET dead-letters/{ID}", detail())
    service.put(f"PUT dead-letters/{ID}/edited", PREVIEW)

    mlc("dlq", "edit", ID, "--set", "data.name=NaN", "--reason", "why")

    assert service.asked[1].body["event"]["data"]["name"] == "NaN"


@pytest.mark.parametrize("text", ["[1]", "{", '{"a": NaN}', "\udcff"])
def test_file_must_be_an_event(service: Service, mlc: Mlc, tmp_path: Path, text: str) -> None:
    (tmp_path / "event.json").write_bytes(text.encode("utf-8", "surrogateescape"))

    ran = mlc("dlq", "edit", ID, "--file", str(tmp_path / "event.json"), "--reason", "why")

    assert (ran.code, service.asked) == (2, [])


def test_without_a_terminal_nothing_is_opened(service: Service, mlc: Mlc) -> None:
    service.put(f"GET dead-letters/{ID}", detail())

    ran = mlc("dlq", "edit", ID, "--reason", "why")

    assert (ran.code, ran.err) == (2, "mlc: there is no terminal to edit in: give --set or --file\n")


def test_editor_is_opened_again_when_the_event_is_not_taken(
    service: Service, mlc: Mlc, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was typed at 03:00 is not lost to a missing comma."""
    service.put(f"GET dead-letters/{ID}", detail())
    service.put(f"PUT dead-letters/{ID}/edited", PREVIEW)
    seen: list[str] = []

    def edited(text: str) -> str:
        seen.append(text)
        return "{" if len(seen) == 1 else '{"data": 1}'

    monkeypatch.setattr(dlq_edit, "_edited", edited)
    monkeypatch.setattr("typer.testing._NamedTextIOWrapper.isatty", lambda _: True, raising=False)

    ran = mlc("dlq", "edit", ID, "--reason", "why", typed="y\n")

    assert (ran.code, seen[1]) == (0, "{")
    assert "not taken: the event is not JSON (line 1)" in ran.err
    assert service.asked[-1].body["event"] == {"data": 1}


def test_order_of_members_is_no_difference() -> None:
    assert [str(line) for line in difference({"a": 1, "b": 2}, {"b": 2, "a": 1})] == ["(as the event)"]
