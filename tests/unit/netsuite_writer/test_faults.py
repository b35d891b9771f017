"""Faults of ours in the rarer places, one at a time: each record goes on by itself, and only who is concerned waits.

tests/support/simulated/faults.py has all places; those that every load meets are scripted in test_model.py.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, MutableMapping
from typing import Any

import httpx2
import pytest
from structlog.testing import capture_logs

from ml_connector.common.wire import Desired
from support.desired import child, desired, observed
from support.office import DOCUMENT, found_rows, written
from support.owned import QUIET_S, Owned, owned
from support.simulated.faults import PLACES

ONE, TWO = desired("organization", "1"), desired("organization", "2")
JOB = "https://netsuite.test/services/rest/async/v1/job/1"
MATCHING: dict[str, Any] = {**DOCUMENT["entities"]["organization"], "match": ["companyName"]}


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[MutableMapping[str, Any]]]:
    """Printing an exception takes a second."""
    with capture_logs() as lines:
        yield lines


class Once:
    """The next call in a place raises what nobody expects."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
        self.met = 0
        owner, name = PLACES[place]
        real = getattr(owner, name)

        def call(*given: Any, **named: Any) -> Any:
            self.met += 1
            if self.met == 1:
                raise ZeroDivisionError(place)
            return real(*given, **named)

        async def awaited(*given: Any, **named: Any) -> Any:
            return await call(*given, **named)

        monkeypatch.setattr(owner, name, awaited if inspect.iscoroutinefunction(real) else call)


async def settled(one: Owned, *states: Desired) -> list[str]:
    """Outcomes, once a while has gone by; less than the quiet time."""
    for _ in range(20):
        await one.pass_time(20)
    return one.outcomes(*states)


def errors(logged: list[MutableMapping[str, Any]]) -> list[str]:
    return [line["event"] for line in logged if line["log_level"] == "error"]


# -- a state that loses ------------------------------------------------------------------------------------------------


async def test_one_that_is_older_than_what_is_settled_is_settled_later(
    monkeypatch: pytest.MonkeyPatch, logged: list[MutableMapping[str, Any]]
) -> None:
    async with owned() as one:
        fault = Once(monkeypatch, "lose")
        newer = desired("organization", "1", version=2)
        one.start({newer.record_key: observed(newer).encode()}, ONE, TWO)
        await one.pass_time(0)
        assert one.outcomes(ONE, TWO) == ["", "written"]

        assert await settled(one, ONE, TWO) == ["superseded", "written"]
        assert (fault.met, errors(logged)) == (2, ["record_fault"])
        assert one.office.calls == ["pd-org-2"]


async def test_one_that_a_newer_state_replaces_is_settled_later_and_the_newer_one_goes(
    monkeypatch: pytest.MonkeyPatch, logged: list[MutableMapping[str, Any]]
) -> None:
    async with owned() as one:
        fault = Once(monkeypatch, "lose")
        newer = desired("organization", "1", version=2)
        one.start({}, ONE, newer, TWO)

        assert await settled(one, ONE, newer, TWO) == ["superseded", "written", "written"]
        assert (fault.met, errors(logged)) == (2, ["record_fault"])


async def test_one_of_an_equal_generation_ends_with_the_one_that_was_written(
    monkeypatch: pytest.MonkeyPatch, logged: list[MutableMapping[str, Any]]
) -> None:
    async with owned() as one:
        fault = Once(monkeypatch, "lose")
        rival = desired("organization", "1", cause="syn:1:organization:1", fields={"companyName": "Other"})
        one.start({}, ONE, rival, TWO)

        assert sorted(await settled(one, ONE, rival)) == ["superseded", "written"]
        assert one.outcomes(TWO) == ["written"]
        assert (fault.met, errors(logged)) == (2, ["record_fault"])


# -- a match -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("states", "told"), [([ONE], "record_fault"), ([ONE, TWO], "match_failed")])
async def test_candidates_that_cannot_be_judged_are_asked_for_again(
    monkeypatch: pytest.MonkeyPatch, logged: list[MutableMapping[str, Any]], states: list[Desired], told: str
) -> None:
    """Several together: each alone then, so that only the one that brings it about has to wait."""

    def vendor(request: httpx2.Request) -> httpx2.Response:
        return found_rows() if request.url.path.endswith("/suiteql") else written("7")

    async with owned(vendor, documents=[{**DOCUMENT, "entities": {"organization": MATCHING}}]) as one:
        fault = Once(monkeypatch, "match")
        one.start({}, *states)

        assert set(await settled(one, *states)) == {"written"}
        assert fault.met == 1 + len(states)
        assert [line["event"] for line in logged if "exc_info" in line] == [told]
        assert [request.method for request in one.office.requests].count("PUT") == len(states)


# -- a batch -----------------------------------------------------------------------------------------------------------


class Batching:
    """Takes batches, has executed them at once, and shows what they wrote but for the third."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        last = request.url.path.rstrip("/").rpartition("/")[2]
        match request.method, last:
            case "PUT", "customer":
                self.sent = json.loads(request.content)["items"]
                return httpx2.Response(202, headers={"location": JOB})
            case "GET", "task":
                links = [[{"rel": "self", "href": f"{JOB}/task/{number}"}] for number in range(1, len(self.sent) + 1)]
                return httpx2.Response(200, json={"items": [{"links": link} for link in links]})
            case "GET", "1":
                return httpx2.Response(200, json={"completed": True})
            case "POST", "suiteql":
                return found_rows(*(row for row in map(_row, self.sent) if row["externalid"] != "pd-org-3"))
        return written(f"10{last[-1]}" if last.startswith("eid") else "103")


def _row(sent: dict[str, Any]) -> dict[str, str]:
    return {"id": f"10{sent['externalId'][-1]}", "externalid": sent["externalId"], "companyname": sent["companyName"]}


SIX = [desired("organization", str(number)) for number in range(1, 7)]
SINGLY = {
    "read back": [one.external_id for one in SIX],
    "result": ["pd-org-3"],
    "doubt": [one.external_id for one in SIX],
}


@pytest.mark.parametrize("place", SINGLY)
async def test_a_batch_that_breaks_off_leaves_those_without_an_ending_to_single_calls(
    monkeypatch: pytest.MonkeyPatch, logged: list[MutableMapping[str, Any]], place: str
) -> None:
    """Where the doubt itself cannot be noted the record waits until it can: nothing else would keep rule 3."""
    async with owned(Batching(), batch_from=5) as one:
        faults = [Once(monkeypatch, place)]
        if place == "doubt":
            faults.append(Once(monkeypatch, "read back"))
        one.start({}, *SIX)

        assert await settled(one, *SIX) == ["written"] * 6
        assert all(fault.met for fault in faults)
        assert sorted(call for call in one.office.calls if call.startswith("pd-")) == SINGLY[place]
        doubted = sorted(attempt.record_key.rpartition("/")[2] for attempt in one.partition.store.attempts())
        assert doubted == SINGLY[place]
        assert errors(logged)[0] == "batch_failed"
        assert one.partition.store.jobs() == []


# -- a question --------------------------------------------------------------------------------------------------------

CONTACTS: dict[str, Any] = {
    **DOCUMENT,
    "entities": {
        **DOCUMENT["entities"],
        "person": {"record": "contact", "parent": "data.org_id", "fields": {"lastName": "data.name"}},
    },
}


async def test_a_parent_that_cannot_be_asked_for_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch, logged: list[MutableMapping[str, Any]]
) -> None:
    async with owned(documents=[CONTACTS]) as one:
        fault = Once(monkeypatch, "hydrate")
        person = child("person", "5", of="1", fields={"lastName": "P"})
        one.start({}, person, TWO)
        await one.pass_time(0)
        assert one.outcomes(person, TWO) == ["", "written"]
        await settled(one, person)

        assert fault.met > 1
        assert {hydrate.source_id for hydrate in one.office.messages.hydrates} == {"1"}
        one.desire(desired("organization", "1", cause="hyd:1"))
        assert await settled(one, person) == ["written"]
        assert errors(logged) == ["record_fault"]


async def test_a_record_in_doubt_that_cannot_be_asked_for_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch, logged: list[MutableMapping[str, Any]]
) -> None:
    async with owned() as one:
        fault = Once(monkeypatch, "hydrate")
        one.start({ONE.record_key: observed(ONE).encode(), f"attempt/{ONE.record_key}": b"{"})
        await one.pass_time(QUIET_S + 1)
        assert one.asked_again == []
        await settled(one)

        assert (fault.met, one.asked_again) == (2, [("1", True)])
        assert errors(logged) == ["stored_entry_unreadable", "record_fault"]
        assert one.partition.store.attempts() == []
