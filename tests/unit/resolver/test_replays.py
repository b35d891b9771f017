"""A dead letter that is replayed: the same event, or the object that a hydrate once read, under headers of its own."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ml_connector.common import headers as h
from ml_connector.common import topics
from ml_connector.common.dead_letters import DeadLetter
from ml_connector.common.generation import Generation
from ml_connector.common.headers import Headers
from ml_connector.common.wire import Desired, Hydrate, Outcome, Received, Resolved
from ml_connector.resolver import emit
from ml_connector.resolver.message import Defer, Message, Output, Read
from support.resolving import Cored, event

ACCOUNT = "1234567_SB1"
AT_MS = 1_795_168_800_123  # 2026-11-20T10:00:00.123Z
ARRIVED_MS = AT_MS + 1_000
READ_MS = ARRIVED_MS + 60_000  # the definitions
REPLAYED_MS = ARRIVED_MS + 3_600_000  # so this is the revision
RANK = "a" * 40
KEY = "1234567_sb1/customer/pd-org-5"


def document(organization: dict[str, str], *, required: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    entities: dict[str, Any] = {
        "organization": {"record": "customer", "fields": organization, "required": list(required)}, **more,
    }  # fmt: skip
    return {
        "flow": "acme", "environment": "sandbox", "pipedrive": {"company": "acme"}, "netsuite": {"account": ACCOUNT},
        "external_ids": "pd", "entities": entities,
    }  # fmt: skip


@pytest.fixture
def acme() -> Cored:
    """Version 1 maps names only, version 2 the field "Rank" and deals too."""
    cored = Cored(now_ms=REPLAYED_MS + 5_000)
    cored.apply(document({"companyName": "data.name"}), version=1)
    deal = {"record": "opportunity", "fields": {"title": "data.title"}}
    cored.apply(document({"companyName": "data.name", "comments": 'custom["Rank"]'}, deal=deal), version=2)
    cored.define("acme", {RANK: "Rank"}, read_at_ms=READ_MS)
    return cored


def message(value: bytes, **more: str) -> Message:
    """As the admin service issues it; `mapping_version="1"` is the header mapping-version."""
    given = {
        h.FLOW: "acme", h.COMPANY: "acme", h.ACCOUNT: ACCOUNT, h.RECEIVED_AT_MS: str(ARRIVED_MS),
        h.CAUSE: "rpl:j1:7", h.REPLAY_OF: "1:a", h.REVISION: str(REPLAYED_MS), h.LANE: "replay",
        **{name.replace("_", "-"): text for name, text in more.items()},
    }  # fmt: skip
    headers: Headers = {name: text.encode() for name, text in given.items()}
    return Message(topics.EVENTS.name, 1, 42, b"acme", value, headers)


def organization(**data: Any) -> bytes:
    return event("a", source_id=5, **data)


def outputs(found: list[Output] | Defer) -> dict[str, bytes]:
    """By topic, audit entries by their step."""
    assert isinstance(found, list), found
    audit = topics.AUDIT
    return {
        output.key.decode().rpartition("/")[2] if output.topic is audit else output.topic.name: output.value or b""
        for output in found
    }


def desired(found: list[Output] | Defer) -> Desired:
    return Desired.decode(outputs(found)[topics.DESIRED.name])


def letter(found: list[Output] | Defer) -> DeadLetter:
    assert isinstance(found, list), found
    [one] = [output for output in found if output.topic is topics.DEAD_LETTERS]
    return DeadLetter.read(one.value, one.headers)


def test_replay_is_a_new_revision_of_the_same_event(acme: Cored) -> None:
    found = acme.core.event(message(organization()))

    wanted = desired(found)
    assert (wanted.cause, wanted.replay_of, wanted.lane) == ("rpl:j1:7", "1:a", "replay")
    assert wanted.generation == Generation(AT_MS, REPLAYED_MS)
    received = Received.decode(outputs(found)["received"])
    assert (received.cause, received.replay_of, received.offset) == ("rpl:j1:7", "1:a", 42)


# -- with which mapping ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("version", "fields"), [("1", {"companyName"}), ("2", {"companyName", "comments"})])
def test_replay_is_mapped_with_the_version_that_it_names(acme: Cored, version: str, fields: set[str]) -> None:
    wanted = desired(acme.core.event(message(organization(), mapping_version=version)))

    assert wanted.mapping_version == int(version)
    assert set(wanted.fields) == fields


def test_entity_that_the_version_does_not_map_is_ignored(acme: Cored) -> None:
    deal = organization().replace(b'"entity": "organization"', b'"entity": "deal"')

    found = outputs(acme.core.event(message(deal, mapping_version="1")))

    assert topics.DESIRED.name not in found
    outcome = Outcome.decode(found["outcome"])
    assert (outcome.outcome, outcome.reason, outcome.lane) == ("ignored", "deal is not mapped", "replay")


@pytest.mark.parametrize("version", ["3", "0", "-1", "two", ""])
def test_unknown_version_is_a_dead_letter_of_its_record(acme: Cored, version: str) -> None:
    found = acme.core.event(message(organization(), mapping_version=version))

    failed = letter(found)
    assert (failed.stage, failed.code, failed.record_key) == ("map", "UNKNOWN_VERSION", KEY)
    assert "version" in failed.message
    assert set(outputs(found)) == {"received", "outcome", topics.DEAD_LETTERS.name}


def test_flow_that_is_gone_has_no_versions_either(acme: Cored) -> None:
    acme.remove("acme")

    failed = letter(acme.core.event(message(organization(), mapping_version="1")))

    assert (failed.stage, failed.code) == ("decode", "UNKNOWN_FLOW")


def test_version_is_compiled_anew_after_a_change(acme: Cored) -> None:
    before = desired(acme.core.event(message(organization(), mapping_version="1")))
    acme.apply(document({"email": "data.email"}), version=1)
    acme.apply(document({"companyName": "data.name"}), version=2)

    after = desired(acme.core.event(message(organization(), mapping_version="1")))

    assert (set(before.fields), set(after.fields)) == ({"companyName"}, {"email"})


def test_active_version_says_whose_company_it_is(acme: Cored) -> None:
    """No version may change it; if one did, the records would go where the flow is now."""
    moved = document({"companyName": "data.name"})
    acme.apply({**moved, "pipedrive": {"company": "elsewhere"}}, version=1)
    acme.apply(moved, version=2)

    wanted = desired(acme.core.event(message(organization(), mapping_version="1")))

    assert (wanted.company, wanted.mapping_version) == ("acme", 1)


# -- what must be known first ----------------------------------------------------------------------------------------


def test_field_unknown_to_definitions_older_than_the_replay_is_asked_for_then_held_back(acme: Cored) -> None:
    replay = message(organization(custom={"b" * 40: {"type": "varchar", "value": "x"}}))

    first = acme.core.event(replay)
    acme.define("acme", {RANK: "Rank"}, read_at_ms=REPLAYED_MS + 1)
    then = acme.core.event(replay)

    assert isinstance(first, Defer)
    assert first.lacking == ("organization",)
    assert Resolved.decode(outputs(then)["resolved"]).held_back == ["b" * 40]


def test_field_that_was_given_the_expected_name_meanwhile_is_found_by_the_replay(acme: Cored) -> None:
    """Required, and called something else: dead letter. Then somebody renames it in Pipedrive, and replays."""
    acme.apply(document({"comments": 'custom["Level"]'}, required=("comments",)), version=3)
    body = organization(custom={RANK: {"type": "varchar", "value": "gold"}})

    failed = letter(acme.core.event(message(body, cause="", revision="0")))
    replayed = acme.core.event(message(body))
    acme.define("acme", {RANK: "Level"}, read_at_ms=REPLAYED_MS + 1)

    assert failed.code == "MAPPING"
    assert isinstance(replayed, Defer)
    assert replayed.lacking == ("organization",)
    assert desired(acme.core.event(message(body))).fields == {"comments": "gold"}


def test_revision_far_ahead_waits_for_nothing(acme: Cored) -> None:
    """No definitions would ever be newer, and all that waits behind it would wait too."""
    body = organization(custom={"b" * 40: {"type": "varchar", "value": "x"}})

    found = acme.core.event(message(body, revision=str(REPLAYED_MS + 86_400_000)))

    assert Resolved.decode(outputs(found)["resolved"]).held_back == ["b" * 40]


@pytest.mark.parametrize("more", [{}, {"object": "organization/5", "generation": f"{AT_MS}.0"}])
def test_replay_that_was_put_aside_says_the_same_as_before(acme: Cored, more: dict[str, str]) -> None:
    value = json.dumps({"id": 5, "name": "A"}).encode() if more else organization()
    replay = message(
        value, mapping_version="1", traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", **more
    )

    aside = emit.deferred(replay, Defer("not now"), kind="event", due_at_ms=1)
    again = Message(topics.DEFERRED.name, 1, 3, aside.key, aside.value or b"", aside.headers)

    assert acme.core.event(again) == acme.core.event(replay)


@pytest.mark.parametrize("revision", ["-1", str(2**70)])
def test_revision_that_is_none_is_malformed(acme: Cored, revision: str) -> None:
    failed = letter(acme.core.event(message(organization(), revision=revision)))

    assert (failed.code, failed.message) == ("MALFORMED", "the header revision is no time")


# -- what REST gave --------------------------------------------------------------------------------------------------

REQUEST = Hydrate(
    request_id="r1", flow="acme", entity="organization", source_id="5", lane="live", reason="a test", at_ms=ARRIVED_MS
)  # fmt: skip


def hydrated(acme: Cored, data: dict[str, Any] | None) -> Desired:
    plan = acme.core.plan("acme")
    assert plan is not None
    asked = Message(topics.PIPEDRIVE_REQUESTS.name, 1, 9, b"acme", REQUEST.encode(), {})
    return desired(acme.core.hydrated(REQUEST, asked, plan, Read(data, date_ms=READ_MS, took_ms=50)))


def replay_of(answer: Desired, **more: str) -> Message:
    """What the writer keeps of an answer, issued again."""
    return message(bytes(answer.origin.body), **{**answer.origin.headers, "lane": "replay", **more})


def test_answer_to_a_hydrate_keeps_what_it_is(acme: Cored) -> None:
    answer = hydrated(acme, {"id": 5, "name": "A"})

    kept = answer.origin.headers
    assert (kept[h.OBJECT], kept[h.GENERATION]) == ("organization/5", str(answer.generation))
    assert {h.OBJECT, h.GENERATION} <= set(h.ORIGINAL)


def test_replayed_object_is_mapped_as_it_was_read(acme: Cored) -> None:
    value = {"id": 5, "name": "A", "custom_fields": {RANK: "gold"}}
    answer = hydrated(acme, value)

    again = desired(acme.core.event(replay_of(answer)))

    assert (again.fields, again.action) == (answer.fields, "upsert")
    assert (again.cause, again.replay_of, again.lane) == ("rpl:j1:7", "1:a", "replay")
    assert again.generation == Generation(answer.generation.source_version, REPLAYED_MS)
    assert again.origin.headers[h.OBJECT] == "organization/5"


def test_replayed_object_that_cannot_be_mapped_answers_no_hydrate_but_fails_again(acme: Cored) -> None:
    acme.apply(document({"companyName": "data.name"}, required=("companyName",)), version=3)
    answer = hydrated(acme, {"id": 5, "name": None})

    failed = letter(acme.core.event(replay_of(answer)))

    assert answer.action == "rejected"
    assert (failed.stage, failed.code, failed.record_key) == ("map", "MAPPING", KEY)
    assert failed.original[h.OBJECT] == b"organization/5"
    assert failed.original[h.GENERATION] == str(answer.generation).encode()


def test_replayed_object_that_was_deleted_is_a_deletion(acme: Cored) -> None:
    answer = hydrated(acme, {"id": 5, "name": "A", "is_deleted": True})

    assert answer.action == "gone"
    assert desired(acme.core.event(replay_of(answer))).action == "inactivate"


def test_object_that_was_gone_is_malformed(acme: Cored) -> None:
    failed = letter(acme.core.event(replay_of(hydrated(acme, None))))

    assert failed.code == "MALFORMED"
    assert failed.message == "the object was gone when it was read: there is nothing to map"


@pytest.mark.parametrize(
    ("value", "more", "problem"),
    [
        (b'{"id":5}', {"object": "organization"}, "header object"),
        (b'{"id":5}', {"object": "lead/5"}, "header object"),
        (b'{"id":5}', {"object": "organization/5/5"}, "header object"),
        (b'{"id":5}', {"object": ""}, "header object"),
        (b'{"id":5}', {"generation": ""}, "header generation"),
        (b'{"id":5}', {"generation": "7"}, "header generation"),
        (b'{"id":5}', {"generation": "0.0"}, "not of this age"),
        (b'{"id":5}', {"generation": f"{REPLAYED_MS + 86_400_000}.0"}, "not of this age"),
        (b'{"id":5}', {"cause": ""}, "header cause"),
        (b'{"id":5}', {"revision": "-3"}, "header revision"),
        (b'{"id":6}', {}, "not the one that was asked for"),
        (b"[5]", {}, "not an object as REST gives it"),
        (b"", {}, "not JSON"),
        (b"\xff", {}, "not UTF-8"),
    ],
)
def test_object_with_broken_headers_or_body_is_malformed(
    acme: Cored, value: bytes, more: dict[str, str], problem: str
) -> None:
    given = {"object": "organization/5", "generation": f"{AT_MS}.0", **more}

    failed = letter(acme.core.event(message(value, **given)))

    assert (failed.stage, failed.code) == ("decode", "MALFORMED")
    assert problem in failed.message
