"""An event may come before its flow: it waits for it some seconds, and then is a dead letter."""

from __future__ import annotations

from typing import Any

import pytest

from ml_connector.common import headers as h
from ml_connector.common import topics
from ml_connector.common.dead_letters import DeadLetter
from ml_connector.common.wire import Desired
from ml_connector.resolver import emit
from ml_connector.resolver.core import FLOW_COMES_WITHIN_MS
from ml_connector.resolver.message import Defer, Message, Output
from support.resolving import Cored, event

ACCOUNT = "1234567_SB1"
ARRIVED_MS = 1_795_168_800_123  # 2026-11-20T10:00:00.123Z
FLOW: dict[str, Any] = {
    "flow": "acme", "environment": "sandbox", "pipedrive": {"company": "acme"}, "netsuite": {"account": ACCOUNT},
    "external_ids": "pd", "entities": {"organization": {"record": "customer", "fields": {"companyName": "data.name"}}},
}  # fmt: skip


@pytest.fixture
def acme() -> Cored:
    """The flow is not there yet."""
    return Cored(now_ms=ARRIVED_MS)


def delivery(**more: str) -> Message:
    given = {
        h.FLOW: "acme", h.COMPANY: "acme", h.ACCOUNT: ACCOUNT, h.RECEIVED_AT_MS: str(ARRIVED_MS),
        **{name.replace("_", "-"): text for name, text in more.items()},
    }  # fmt: skip
    headers = {name: text.encode() for name, text in given.items()}
    return Message(topics.EVENTS.name, 1, 42, b"acme", event("a"), headers)


def letter(found: list[Output] | Defer) -> DeadLetter:
    assert isinstance(found, list), found
    (one,) = [output for output in found if output.topic is topics.DEAD_LETTERS]
    return DeadLetter.read(one.value, one.headers)


def put_aside(message: Message, found: Defer) -> Message:
    """As it is read again."""
    output = emit.deferred(message, found, kind="event", due_at_ms=ARRIVED_MS + 1000)
    return Message(topics.DEFERRED.name, 3, 7, output.key, output.value or b"", output.headers)


def test_event_waits_for_its_flow_and_becomes_its_record(acme: Cored) -> None:
    message = delivery()
    found = acme.core.event(message)
    assert isinstance(found, Defer)
    assert (found.after_s, found.lacking) == (1.0, ())

    acme.clock.advance(found.after_s or 0.0)
    acme.apply(FLOW, version=1)
    resolved = acme.core.event(put_aside(message, found))

    assert isinstance(resolved, list)
    (wanted,) = [Desired.decode(one.value or b"") for one in resolved if one.topic is topics.DESIRED]
    assert (wanted.cause, wanted.fields) == ("1:a", {"companyName": "a"})


def test_event_of_no_flow_is_a_dead_letter_after_some_seconds(acme: Cored) -> None:
    message = delivery()
    found = acme.core.event(message)
    tries = 0
    while isinstance(found, Defer):
        acme.clock.advance(found.after_s or 0.0)
        found = acme.core.event(put_aside(message, found))
        tries += 1

    assert tries == FLOW_COMES_WITHIN_MS / 1000
    failed = letter(found)
    assert (failed.stage, failed.code, failed.cause) == ("decode", "UNKNOWN_FLOW", "1:a")
    assert (failed.topic, failed.partition, failed.offset, failed.body) == ("pipedrive.events", 1, 42, event("a"))


@pytest.mark.parametrize("ahead_ms", [-FLOW_COMES_WITHIN_MS, FLOW_COMES_WITHIN_MS, 3_600_000])
def test_event_that_is_older_or_from_another_clock_does_not_wait(acme: Cored, ahead_ms: int) -> None:
    """Else it would wait until then."""
    message = delivery(**{h.RECEIVED_AT_MS.replace("-", "_"): str(ARRIVED_MS + ahead_ms)})

    assert letter(acme.core.event(message)).code == "UNKNOWN_FLOW"


@pytest.mark.parametrize(
    "more", [{h.CAUSE: "rpl:j1:7", h.REPLAY_OF: "1:a", h.REVISION: "1"}, {h.KIND: "preview", h.REQUEST_ID: "q1"}]
)
def test_replays_and_previews_do_not_wait(acme: Cored, more: dict[str, str]) -> None:
    message = delivery()
    message = message._replace(headers={**message.headers, **{name: text.encode() for name, text in more.items()}})

    assert letter(acme.core.event(message)).code == "UNKNOWN_FLOW"


def test_other_flows_stay_compiled_when_one_changes(acme: Cored) -> None:
    """A compilation takes milliseconds, and there are thousands of flows."""
    other = {**FLOW, "flow": "other", "pipedrive": {"company": "other"}}
    acme.apply(FLOW, version=1)
    acme.apply(other, version=1)
    mine, others = acme.core.plan("acme"), acme.core.plan("other")

    acme.apply(FLOW, version=2)

    assert acme.core.plan("other") is others
    assert mine is not None and (changed := acme.core.plan("acme")) is not None
    assert (mine.version, changed.version) == (1, 2)
