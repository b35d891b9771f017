"""The limit of an account, from its flows and from what NetSuite grants; and what a former owner left in flight."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from ml_connector.common.clock import ManualClock
from ml_connector.common.credentials import Credential
from ml_connector.common.directory import Directory, LiveFlow
from ml_connector.common.errors import SecretUnreadable
from ml_connector.common.flows import parse_flow
from ml_connector.common.generation import Generation
from ml_connector.common.wire import Attempt, Doubt
from ml_connector.netsuite_writer.accounts import SMALLEST, UNTIL_READ, Accounts
from ml_connector.netsuite_writer.govern import Governor
from ml_connector.netsuite_writer.job import Tools
from ml_connector.netsuite_writer.netsuite.reading import granted_by
from ml_connector.netsuite_writer.settings import WriterSettings
from ml_connector.netsuite_writer.settlement import Settler
from ml_connector.netsuite_writer.store import Store
from support.desired import ACCOUNT, FLOW, attempted, desired
from support.office import DOCUMENT, FakeMessages, Flows

PRINTED = Path(__file__).parents[2] / "data" / "netsuite" / "oracle_docs" / "governance_limits.json"
NAME = ACCOUNT.lower()
HOLD_S = 5.0


@pytest.mark.parametrize(
    ("kind", "limit"), [("integrationSpecific", 2), ("accountLimit", 3), ("internal", 3)]
)  # fmt: skip
def test_each_shape_that_oracle_prints_says_what_is_granted(kind: str, limit: int) -> None:
    body = json.loads(PRINTED.read_text(encoding="utf-8"))["body"][kind]

    assert granted_by(json.dumps(body).encode()) == limit
    assert granted_by(json.dumps({**body, "links": [{"rel": "self"}]}).encode()) == limit


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b"{}", b'{"accountConcurrencyLimit": 0}', b'{"links": []}'])
def test_what_says_nothing_grants_nothing(body: bytes) -> None:
    assert granted_by(body) is None


class FakeDirectory(Flows):
    """No secrets: whoever wants a token is told so, and nothing leaves the process."""

    asked = 0

    def flows_of(self, account: str) -> list[LiveFlow]:
        self.asked += 1
        return [live for live in self.known.values() if live.flow.netsuite.account.lower() == account]

    def secret(self, kind: type[Credential], **_: Any) -> Any:
        raise SecretUnreadable(f"no {kind.NAME}")


class Desk:
    """`Accounts` with one partition."""

    def __init__(self, *sides: dict[str, Any]) -> None:
        self.clock = ManualClock()
        self.store = Store.in_memory()
        self.settings = WriterSettings(
            kafka_bootstrap_servers="nowhere:1", store_dir=Path("unused"), hold_s=HOLD_S, jobs_at_once=0
        )
        documents = [
            {**DOCUMENT, "flow": f"{FLOW}-{number}", "netsuite": {**DOCUMENT["netsuite"], **side}}
            for number, side in enumerate(sides)
        ]
        self.directory = FakeDirectory(*documents)
        self.accounts = Accounts(self.settings, cast(Directory, self.directory), self.clock)
        self.tools = Tools(
            settings=self.settings,
            clock=self.clock,
            flows=self.directory,
            store=self.store,
            settler=cast(Settler, None),
            messages=FakeMessages(),
            owner="me",
            chance=random.Random(1),
        )

    def governor(self) -> Governor:
        """Of the account, once its partition is ours."""
        assert self.accounts.make(NAME, f"{FLOW}-0", self.tools) is not None
        return self.accounts._doors[NAME].gate.governor

    def change(self, document: dict[str, Any]) -> None:
        flow = parse_flow(document)
        self.directory.known[flow.flow] = LiveFlow(flow, 2, paused=False)
        self.accounts.flow_changed(flow)

    def free(self, governor: Governor) -> int:
        return governor.free(self.clock.monotonic_s())


@pytest.mark.parametrize(
    ("sides", "limit"),
    [
        pytest.param([{"concurrency": 7}], 7, id="configured"),
        pytest.param([{}], 5, id="by default"),
        pytest.param(
            [{"concurrency": 15}, {"concurrency": 7}, {"concurrency": 20}], 7, id="the least of several flows"
        ),
        pytest.param([{"concurrency": 7, "reserve": 2}], 5, id="less what others need"),
        pytest.param(
            [{"concurrency": 7, "reserve": 2}, {"concurrency": 9, "reserve": 4}], 3, id="the greatest reserve"
        ),
        pytest.param([{"concurrency": 3, "reserve": 9}], 1, id="one at least"),
        pytest.param([{"concurrency": "auto"}], UNTIL_READ, id="not read yet"),
    ],
)
async def test_the_limit_is_the_least_that_the_flows_allow(sides: list[dict[str, Any]], limit: int) -> None:
    desk = Desk(*sides)

    assert desk.governor().ceiling == limit
    await desk.accounts.close()


async def test_to_open_an_account_nobody_looks_at_the_others() -> None:
    """A thousand accounts of one process are opened one by one, when work comes (benchmarks/writer.py isolation)."""
    names = [f"{number}_SB1" for number in range(40)]
    desk = Desk(*({"account": name, "concurrency": "auto"} for name in names))
    asked: list[int] = []

    for number, name in enumerate(names):
        before = desk.directory.asked
        assert desk.accounts.make(name.lower(), f"{FLOW}-{number}", desk.tools) is not None
        asked.append(desk.directory.asked - before)

    assert set(asked[1:]) == {asked[0]}
    await desk.accounts.close()


async def test_a_flow_that_is_changed_changes_the_limit_at_once() -> None:
    desk = Desk({"concurrency": 7})
    governor = desk.governor()
    document = {**DOCUMENT, "flow": f"{FLOW}-0", "netsuite": {**DOCUMENT["netsuite"], "concurrency": 2}}

    desk.change(document)

    assert governor.ceiling == 2
    await desk.accounts.close()


async def test_a_flow_that_is_changed_logs_in_by_its_new_way_at_once() -> None:
    desk = Desk({"auth": "tba"})
    desk.governor()
    logins = desk.accounts._doors[NAME].logins
    with pytest.raises(SecretUnreadable, match="tba"):
        await logins.authorization("GET", "https://netsuite.test/")

    desk.change({**DOCUMENT, "flow": f"{FLOW}-0"})

    with pytest.raises(SecretUnreadable, match="oauth2-m2m"):
        await logins.authorization("GET", "https://netsuite.test/")
    await desk.accounts.close()


async def test_a_limit_that_cannot_be_read_is_what_every_account_grants() -> None:
    desk = Desk({"concurrency": "auto", "reserve": 1})
    governor = desk.governor()

    (reading,) = desk.accounts._tasks
    await reading

    assert governor.ceiling == SMALLEST - 1
    await desk.accounts.close()


def attempt(number: int, *, at_ms: int, account: str = ACCOUNT) -> Attempt:
    state = desired("organization", str(number), account=account)
    return attempted(state, at_ms=at_ms, owner="another", open=False, doubts=(Doubt(Generation(1), at_ms),))


async def test_what_a_former_owner_left_in_flight_occupies_its_slots_for_the_hold_only() -> None:
    """Not for rule 3's quarter of an hour, after which a late call cannot be executed any more."""
    desk = Desk({"concurrency": 5})
    now_ms = desk.clock.now_ms()
    others = "7654321_SB1"
    for made in (
        attempt(1, at_ms=now_ms),
        attempt(2, at_ms=now_ms - 2_000),
        attempt(3, at_ms=now_ms - int(HOLD_S * 1000)),
        msgspec.structs.replace(attempt(4, at_ms=now_ms), record_key=f"{others.lower()}/customer/pd-org-4"),
    ):
        desk.store.put_attempt(made.record_key, made)

    governor = desk.governor()

    assert desk.free(governor) == 3
    desk.clock.advance(HOLD_S - 2.0)
    assert desk.free(governor) == 4
    desk.clock.advance(2.0)
    assert desk.free(governor) == 5
    await desk.accounts.close()


async def test_what_others_have_in_flight_is_not_looked_at() -> None:
    """At a takeover a thousand accounts are opened, each with what its former owner left."""
    desk = Desk({"concurrency": 5})
    desk.store.put_attempt("7654321_sb1/customer/pd-org-1", cast(Attempt, object()))

    assert desk.free(desk.governor()) == 5
    await desk.accounts.close()


def test_attempts_are_found_by_account_also_in_a_file_that_is_opened_again(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "p0", identity="c", now_ms=0)
    one, other = attempt(1, at_ms=0), attempt(2, at_ms=0)
    for made in (one, other):
        store.put_attempt(made.record_key, made)
    store.put_attempt(other.record_key, None)
    store.close(now_ms=0)

    again = Store.open(tmp_path / "p0", identity="c", now_ms=1)

    assert again.attempts_of(NAME) == again.attempts() == [one]
    assert again.attempts_of("7654321_sb1") == []
