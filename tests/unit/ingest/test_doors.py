"""When a flow has an address, and when what it needs there is opened anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from ml_connector.common.clock import ManualClock
from ml_connector.common.credentials import HmacKey, WebhookHmac
from ml_connector.common.directory import Directory, LiveFlow
from ml_connector.common.errors import KeyMissing, SecretUnreadable
from ml_connector.common.flows import Flow, parse_flow
from ml_connector.ingest.summary import Summary
from ml_connector.ingest.webhook_doors import WebhookDoors
from support.office import DOCUMENT


class _Flows:
    """One flow; its secrets cannot be read, which would close its door."""

    error = SecretUnreadable("there is none")

    def __init__(self, events: str) -> None:
        pipedrive = {**DOCUMENT["pipedrive"], "events": events}
        document = {**DOCUMENT, "flow": "f", "pipedrive": pipedrive, "schedule": {"sync": "*/15 * * * *"}}
        self._live = LiveFlow(parse_flow(document), 1, paused=False)

    def flow(self, name: str) -> LiveFlow:
        return self._live

    def flows(self) -> list[LiveFlow]:
        return [self._live]

    def secret(self, *_: Any, **__: Any) -> Any:
        raise self.error

    def on_flow(self, listener: Callable[[Flow], None]) -> None:
        self.change_flow = listener

    def on_secret(self, listener: Callable[[str], None]) -> None:
        self.change_secret = listener


def test_flow_without_webhooks_has_no_address_and_is_no_problem() -> None:
    """A delivery for it is answered as one for a flow that nobody knows."""
    doors = WebhookDoors(cast(Directory, _Flows("none")))

    assert (doors.find("f"), doors.problems(), doors.rotating()) == (None, [], {})


@pytest.mark.parametrize(
    ("error", "problems"),
    [(SecretUnreadable("not set"), []), (KeyMissing("no key k2"), ["no key k2"])],
    ids=["secret", "key"],
)
def test_flow_without_its_secret_is_closed_alone_and_without_a_key_the_process_is_not_ready(
    error: SecretUnreadable, problems: list[str]
) -> None:
    """One of thousands would close the others, in every replica; a key may be in another one."""
    flows = _Flows("webhooks")
    flows.error = error
    doors = WebhookDoors(cast(Directory, flows))

    door = doors.find("f")

    assert door is not None and door.problem == str(error) and doors.problems() == problems


@pytest.mark.parametrize(
    ("owner", "anew"),
    [("flow/f", True), ("", True), ("flow/other", False), ("pipedrive/acme", False), ("netsuite/1234567_SB1", False)],
)
def test_door_is_made_anew_when_a_secret_of_its_flow_changes(owner: str, anew: bool) -> None:
    flows = _Flows("webhooks")
    doors = WebhookDoors(cast(Directory, flows))
    before = doors.find("f")

    flows.change_secret(owner)

    assert (doors.find("f") is not before) == anew


def test_door_is_made_anew_when_its_flow_changes() -> None:
    flows = _Flows("webhooks")
    doors = WebhookDoors(cast(Directory, flows))
    before = doors.find("f")
    live = flows.flow("f")

    flows.change_flow(live.flow.model_copy(update={"flow": "other"}))
    assert doors.find("f") is before
    flows.change_flow(live.flow.model_copy(update={"flow": "f"}))
    assert doors.find("f") is not before


class _Many(_Flows):
    """Many flows, each with as many keys as `keys` says; `opened`: whose were asked for."""

    def __init__(self, count: int) -> None:
        super().__init__("webhooks")
        self.keys = {f"f{number}": 1 for number in range(count)}
        self.opened: list[str] = []
        flow = self._live.flow
        self._lives = {name: LiveFlow(flow.model_copy(update={"flow": name}), 1, paused=False) for name in self.keys}

    def flow(self, name: str) -> LiveFlow:
        return self._lives[name]

    def flows(self) -> list[LiveFlow]:
        return list(self._lives.values())

    def secret(self, kind: Any, *, owner: str, **_: Any) -> Any:
        name = owner.removeprefix("flow/")
        self.opened.append(name)
        return WebhookHmac(keys=tuple(HmacKey(f"k{number}", "s") for number in range(self.keys[name])))


def test_after_a_change_only_what_has_changed_is_looked_at() -> None:
    """Thousands of flows are applied one after the other."""
    flows = _Many(50)
    doors = WebhookDoors(cast(Directory, flows))
    assert doors.rotating() == {} and len(flows.opened) == 50
    flows.opened.clear()

    flows.keys["f7"] = 2
    flows.change_secret("flow/f7")
    flows.change_secret("pipedrive/acme")
    rotated = doors.rotating()
    flows.keys["f7"] = 1
    flows.change_flow(flows.flow("f7").flow)

    assert (rotated, doors.rotating()) == ({"f7": ("hmac-sha256:k0", "hmac-sha256:k1")}, {})
    assert flows.opened == ["f7", "f7"]


def test_keys_that_could_not_be_opened_are_looked_at_again_with_a_new_vault_key() -> None:
    flows = _Many(5)
    doors = WebhookDoors(cast(Directory, flows))
    doors.rotating()

    flows.keys["f3"] = 2
    flows.change_secret("")

    assert list(doors.rotating()) == ["f3"]


async def test_flow_to_which_nothing_came_has_no_line_and_no_series() -> None:
    doors = WebhookDoors(cast(Directory, _Many(50)))
    for live in cast(_Many, doors._directory).flows():
        doors.find(live.flow.flow)
    summary = Summary(doors.counts, ManualClock())
    doors.counts()["f7"].accepted = 2

    with capture_logs() as first:
        await summary.tell()
    with capture_logs() as second:
        await summary.tell()

    assert [(line["event"], line["flow"], line["count"]) for line in first] == [("deliveries", "f7", 2)]
    assert second == []
    told = [(number, reading["result"]) for number, reading in doors.readings() if reading["flow"] == "f7"]
    assert told == [(2, "accepted"), (0, "refused"), (0, "unavailable")] and len(doors.readings()) == 3
