"""The stand-in's log is enough for the judge: what a good client did passes, what a bad one did is found."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import msgspec
import pytest

from contract.netsuite.account import ASYNC, BATCH, RECORD, NetsuiteAccount, id_in, unique
from ml_connector.common.wire import Desired, Outcome
from support.desired import RECORD_TYPES, child, desired
from support.judging import Evidence, judge
from support.netsuite_standin import NetsuiteProcess

SUBSIDIARY = {"subsidiary": {"id": "2"}}


class Client:
    """A writer of a few lines: what it sends it also emits, and gives an outcome."""

    def __init__(self, netsuite: NetsuiteProcess) -> None:
        self.netsuite = netsuite
        self.name = unique("1")
        self.account: NetsuiteAccount = netsuite.account(self.name)
        self.states: list[Desired] = []
        self.outcomes: list[Outcome] = []

    def write(self, state: Desired, **headers: str) -> httpx2.Response:
        method = "PUT" if state.action == "upsert" else "PATCH"
        return self.account.request(method, self._path(state), _body(state), **headers)

    def submit(self, states: list[Desired], **headers: str) -> httpx2.Response:
        items = [{"externalId": state.external_id, **_body(state)} for state in states]
        return self.account.request("PUT", f"{RECORD}/{states[0].record_type}", {"items": items}, **BATCH, **headers)

    def settle(self, *states: Desired) -> None:
        for state in states:
            self.states.append(msgspec.structs.replace(state, account=self.name))
            self.outcomes.append(_written(self.states[-1]))

    def evidence(self) -> Evidence:
        dumps: dict[str, Any] = {
            kind: self.netsuite.admin("GET", f"records/{self.name}/{kind}") for kind in RECORD_TYPES.values()
        }
        return Evidence(self.lines(), {self.name: dumps}, self.states, self.outcomes, slots=5)

    def lines(self) -> list[dict[str, Any]]:
        return [line for line in self.netsuite.log() if line["account"] == self.name]

    def _path(self, state: Desired) -> str:
        return f"{RECORD}/{state.record_type}/eid:{state.external_id}"


def _body(state: Desired) -> dict[str, Any]:
    return dict(state.fields) if state.action == "upsert" else {"isInactive": True}


def _written(state: Desired) -> Outcome:
    return Outcome(
        cause=state.cause,
        flow=state.flow,
        company=state.company,
        account=state.account,
        record_key=state.record_key,
        outcome="written",
        received_at_ms=0,
        at_ms=int(time.time() * 1000),
    )


def org(source_id: str, *, version: int = 1) -> Desired:
    fields = {"companyName": f"Org {source_id} v{version}", **SUBSIDIARY}
    return desired("organization", source_id, version=version, fields=fields)


@pytest.fixture
def client(netsuite: NetsuiteProcess) -> Iterator[Client]:
    netsuite.admin("POST", "settings", {"keep_bodies": True})
    yield Client(netsuite)
    netsuite.admin("DELETE", "faults")
    netsuite.admin("POST", "settings", {"latency_ms": 0, "keep_bodies": False})


def test_a_good_client_passes(netsuite: NetsuiteProcess, client: Client) -> None:
    """Single calls, a batch whose 202 was lost and that was found again by its key, an adoption, a child, a deletion."""
    members = [org(str(number)) for number in range(10, 14)]
    netsuite.admin("POST", "faults", {"kind": "lost_answer", "account": client.name, "match": {"path": "customer$"}})
    with pytest.raises(httpx2.TransportError):
        client.submit(members, **{"X-NetSuite-Idempotency-Key": "k"})
    client.account.finish(_found_again(client.submit(members, **{"X-NetSuite-Idempotency-Key": "k"})))
    client.settle(*members)
    newer, deleted = org("10", version=2), desired("organization", "10", version=3, action="inactivate", fields={})
    for state in (newer, deleted):
        assert client.write(state).status_code == 204
        client.settle(state)
    there = id_in(
        client.account.request(
            "POST", f"{RECORD}/customer", {"companyName": "There v1", "externalId": "pd-org-20", **SUBSIDIARY}
        )
    )
    client.settle(desired("organization", "20", fields={"companyName": "There v1"}))
    deal = child("deal", "20", of="20", fields={"title": "D v1", "entity": {"id": there}})
    deal = _of_account(deal, client.name)
    client.account.finish(client.write(deal, **ASYNC))
    client.settle(deal)

    assert judge(client.evidence()) == []


def _found_again(refused: httpx2.Response) -> httpx2.Response:
    """As if it had been the first answer."""
    return httpx2.Response(202, headers={"location": refused.headers["location"]})


def _of_account(state: Desired, account: str) -> Desired:
    parent = state.parent
    assert parent is not None
    moved = msgspec.structs.replace(
        parent, record_key=parent.record_key.replace(state.account.lower(), account.lower())
    )
    return msgspec.structs.replace(state, account=account, parent=moved)


def test_two_calls_of_one_record_at_once_are_found(netsuite: NetsuiteProcess, client: Client) -> None:
    client.write(org("30"))
    netsuite.admin("POST", "settings", {"latency_ms": 200})

    with ThreadPoolExecutor() as pool:
        list(pool.map(client.write, [org("30")] * 2))
    client.settle(org("30"))

    assert [violation.rule for violation in judge(client.evidence())] == ["one in flight"]


def test_a_call_beside_a_running_batch_is_found(netsuite: NetsuiteProcess, client: Client) -> None:
    members = [org(str(number)) for number in range(10, 14)]
    client.write(members[3])
    netsuite.admin("POST", "settings", {"latency_ms": 50})

    submitted = client.submit(members)
    client.write(members[3])
    client.account.finish(submitted)
    client.settle(*members)

    assert {violation.rule for violation in judge(client.evidence())} == {"one in flight"}


def test_a_call_that_lands_late_is_found(netsuite: NetsuiteProcess, client: Client) -> None:
    """The newer state is overwritten after its outcome; the log keeps the end that the client saw."""
    older, newer = org("40"), org("40", version=2)
    client.write(older)
    client.settle(older, newer)
    netsuite.admin("POST", "faults", {"kind": "late_commit", "delay_s": 0.4, "account": client.name})
    with pytest.raises(httpx2.TransportError):
        client.write(older)
    client.write(newer)
    client.outcomes[-1] = _written(client.states[-1])
    deadline = time.monotonic() + 5
    while not (late := next(line for line in client.lines() if line["code"] == "late_commit"))["commit_seq"]:
        assert time.monotonic() < deadline
        time.sleep(0.02)

    assert [violation.rule for violation in judge(client.evidence())] == ["final state"]
    assert late["end_ms"] + 300 < late["commit_ms"]


def test_bodies_are_kept_on_request_only_and_never_those_of_logins(netsuite: NetsuiteProcess, client: Client) -> None:
    client.account.finish(client.submit([org("10"), org("11")], **{"X-NetSuite-Idempotency-Key": "k"}))
    netsuite.admin("POST", "settings", {"keep_bodies": False})
    client.write(org("10"))

    submit, first, second, *_, last = [line for line in client.lines() if line["method"] == "PUT"]
    assert submit["body"].startswith('{"items": [') and (submit["key"], submit["job"]) == ("k", "")
    assert submit["submitted"] == first["job"] == second["job"] != ""
    assert msgspec.json.decode(second["body"]) == org("11").fields
    assert last["body"] == ""
    assert not any(line["body"] for line in netsuite.log() if not line["account"])
