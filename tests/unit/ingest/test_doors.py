"""When a flow has an address, and when what it needs there is opened anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from ml_connector.common.directory import Directory, LiveFlow
from ml_connector.common.errors import SecretUnreadable
from ml_connector.common.flows import Flow, parse_flow
from ml_connector.ingest.webhook_doors import WebhookDoors
from support.office import DOCUMENT


class _Flows:
    """One flow; its secrets cannot be read, which would close its door."""

    def __init__(self, events: str) -> None:
        pipedrive = {**DOCUMENT["pipedrive"], "events": events}
        document = {**DOCUMENT, "pipedrive": pipedrive, "schedule": {"sync": "*/15 * * * *"}}
        self._live = LiveFlow(parse_flow(document), 1, paused=False)

    def flow(self, name: str) -> LiveFlow:
        return self._live

    def flows(self) -> list[LiveFlow]:
        return [self._live]

    def secret(self, *_: Any, **__: Any) -> Any:
        raise SecretUnreadable("there is none")

    def on_flow(self, listener: Callable[[Flow], None]) -> None:
        self.change_flow = listener

    def on_secret(self, listener: Callable[[str], None]) -> None:
        self.change_secret = listener


def test_flow_without_webhooks_has_no_address_and_is_no_problem() -> None:
    """A delivery for it is answered as one for a flow that nobody knows."""
    none, some = WebhookDoors(cast(Directory, _Flows("none"))), WebhookDoors(cast(Directory, _Flows("webhooks")))

    assert (none.find("f"), none.problems(), none.rotating()) == (None, [], {})
    assert some.find("f") is not None and some.problems() == ["there is none"]


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
