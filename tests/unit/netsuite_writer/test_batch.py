"""A batch that breaks off by a fault of ours: whoever has not ended goes again, nobody stays locked, the rest goes on."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator, MutableMapping
from typing import Any

import httpx2
import pytest
from structlog.testing import capture_logs

from ml_connector.common.logs import FIELDS
from ml_connector.common.wire import BatchJob, Desired, Member
from ml_connector.netsuite_writer.call import Caller
from ml_connector.netsuite_writer.job import Ready
from ml_connector.netsuite_writer.together import together
from support.desired import ACCOUNT, COMPANY, desired, key_of
from support.office import Office, found_rows, written

JOB = "https://netsuite.test/services/rest/async/v1/job/1"
NOT_SHOWN = "pd-org-3"  # the read-back does not show it: its task's result is asked for
BATCH: Any = {"batch_from": 5, "quiet_s": 900}
FAULT = ZeroDivisionError("of ours")


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[MutableMapping[str, Any]]]:
    """Printing an exception takes a second."""
    with capture_logs() as lines:
        yield lines


class Vendor:
    """Takes batches, has executed them at once, and shows what they wrote but for one. `odd`: answers by last segment."""

    def __init__(self, **odd: httpx2.Response | Exception) -> None:
        self.odd = odd
        self.sent: list[dict[str, Any]] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        last = request.url.path.rstrip("/").rpartition("/")[2]
        odd = self.odd.get(last)
        if isinstance(odd, Exception):
            raise odd
        if odd is not None:
            return odd
        match request.method, last:
            case "PUT", "customer":
                self.sent = json.loads(request.content)["items"]
                return httpx2.Response(202, headers={"location": JOB})
            case "GET", "task":
                numbers = range(1, len(self.sent) + 1)
                return httpx2.Response(200, json={"items": [{"links": [_link(number)]} for number in numbers]})
            case "GET", "1":
                return httpx2.Response(200, json={"completed": True})
            case "GET", "result":
                return written("103")
            case "POST", "suiteql":
                return found_rows(*(_row(one) for one in self.sent if one["externalId"] != NOT_SHOWN))
        return written(f"10{last[-1]}")


def _link(number: int, **more: str) -> dict[str, str]:
    return {"rel": "self", "href": f"{JOB}/task/{number}", **more}


def _row(sent: dict[str, Any]) -> dict[str, str]:
    return {"id": f"10{sent['externalId'][-1]}", "externalid": sent["externalId"], "companyname": sent["companyName"]}


def states_of(*, version: int = 1) -> list[Desired]:
    return [
        desired("organization", str(number), version=version, fields={"companyName": f"O {number} v{version}"})
        for number in range(1, 7)
    ]


async def settled(office: Office, *states: Desired) -> dict[str, str]:
    """Outcomes by external id, once a while has gone by."""
    for _ in range(20):
        await office.pass_time(30)
    return {state.external_id: office.outcome(state) for state in states}


def calls(office: Office) -> Counter[str]:
    """Of single writes: the external id; of others the last segment."""
    return Counter(request.url.path.rstrip("/").rpartition("/")[2].removeprefix("eid:") for request in office.requests)


def in_doubt(office: Office, *states: Desired) -> list[str]:
    return [state.external_id for state in states if office.store.in_doubt(state.record_key)]


async def test_task_links_without_a_relation_are_passed_over() -> None:
    odd = {"links": [{"href": f"{JOB}/elsewhere"}, _link(1)]}
    tasks = [odd, *({"links": [_link(number)]} for number in range(2, 7))]
    office = Office(Vendor(task=httpx2.Response(200, json={"items": tasks})), **BATCH)
    states = states_of()

    office.accept(*states)

    assert set((await settled(office, *states)).values()) == {"written"}
    assert calls(office) == {"customer": 1, "1": 1, "suiteql": 1, "task": 1, "result": 1}
    assert in_doubt(office, *states) == []
    await office.close()


async def test_those_that_ended_before_the_fault_are_left_alone(logged: list[MutableMapping[str, Any]]) -> None:
    office = Office(Vendor(task=FAULT), **BATCH)
    states = states_of()

    office.accept(*states)

    assert set((await settled(office, *states)).values()) == {"written"}
    assert calls(office) == {"customer": 1, "1": 1, "suiteql": 1, "task": 1, NOT_SHOWN: 1}
    assert in_doubt(office, *states) == [NOT_SHOWN]
    (line,) = [line for line in logged if line["event"] == "batch_failed"]
    assert line.keys() - {"event", "log_level", "exc_info"} <= FIELDS
    assert office.store.jobs() == []
    await office.close()


async def test_after_a_fault_before_anyone_ended_all_go_singly_as_after_no_answer() -> None:
    office = Office(Vendor(suiteql=FAULT), **BATCH)
    states = states_of()

    office.accept(*states)

    assert set((await settled(office, *states)).values()) == {"written"}
    assert calls(office) == {"customer": 1, "1": 1, "suiteql": 1} | {state.external_id: 1 for state in states}
    assert in_doubt(office, *states) == [state.external_id for state in states]
    assert office.store.jobs() == []
    await office.close()


async def test_the_account_goes_on_in_batches_too() -> None:
    vendor = Vendor(suiteql=FAULT)
    office = Office(vendor, **BATCH)
    await broken_off(office)
    vendor.odd.clear()

    newer = states_of(version=2)
    office.accept(*newer)

    assert set((await settled(office, *newer)).values()) == {"written"}
    assert calls(office)["customer"] == 2
    await office.close()


async def broken_off(office: Office) -> None:
    states = states_of()
    office.accept(*states)
    assert set((await settled(office, *states)).values()) == {"written"}


async def test_a_fault_before_the_request_holds_up_that_record_only(
    logged: list[MutableMapping[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare, faults = Caller.prepare, iter([True])

    async def once_broken(self: Caller, job: Ready, **how: Any) -> Any:
        if job.desired.external_id == NOT_SHOWN and next(faults, False):
            raise ZeroDivisionError
        return await prepare(self, job, **how)

    monkeypatch.setattr(Caller, "prepare", once_broken)
    office = Office(Vendor(), **BATCH)
    states = states_of()

    office.accept(*states)

    assert set((await settled(office, *states)).values()) == {"written"}
    assert calls(office) == {"customer": 1, "1": 1, "suiteql": 1, NOT_SHOWN: 1}
    assert in_doubt(office, *states) == []
    (line,) = [line for line in logged if line["log_level"] == "error"]
    assert line["record_key"] == states[2].record_key
    assert line.keys() - {"event", "log_level", "exc_info"} <= FIELDS
    await office.close()


async def test_a_batch_of_a_former_owner_that_breaks_off_locks_nobody() -> None:
    office = Office(Vendor(suiteql=FAULT), **BATCH)
    states = states_of()
    members = tuple(Member(key_of(one), one.flow, COMPANY, "organization", one.source_id) for one in states)
    stored = BatchJob("key", ACCOUNT.lower(), "customer", members, at_ms=0, owner="another", job_id="1")
    for state in states:
        office.store.put_desired(key_of(state), state.encode())
    office.store.put_job("key", stored)

    office.account.resume(stored)

    assert set((await settled(office, *states)).values()) == {"written"}
    assert in_doubt(office, *states) == [state.external_id for state in states]
    assert office.store.jobs() == []
    await office.close()


async def test_one_that_cannot_be_put_in_doubt_waits_until_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    office = Office(Vendor(suiteql=FAULT), **BATCH)
    states = states_of()
    put = office.store.put_attempt

    def refused_once(record: str, attempt: Any) -> None:
        if record == states[0].record_key:
            monkeypatch.setattr(office.store, "put_attempt", put)
            raise ZeroDivisionError
        put(record, attempt)

    monkeypatch.setattr(office.store, "put_attempt", refused_once)

    office.accept(*states)

    assert set((await settled(office, *states)).values()) == {"written"}
    assert in_doubt(office, *states) == [state.external_id for state in states]
    assert office.store.jobs() == []
    await office.close()


async def test_a_single_call_that_breaks_off_goes_again_in_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a batch's records do."""

    def fault(_: httpx2.Request) -> httpx2.Response:
        monkeypatch.setattr(office, "_vendor", Vendor())
        raise ZeroDivisionError

    office = Office(fault)
    state = desired()

    office.accept(state)

    assert await settled(office, state) == {state.external_id: "written"}
    assert in_doubt(office, state) == [state.external_id]
    await office.close()


async def test_what_is_under_way_comes_to_its_end_before_a_fault_is_told() -> None:
    """A batch is forgotten only after the endings of its records are recorded."""
    ended = []

    async def end() -> None:
        await asyncio.sleep(0)
        ended.append(True)

    async def fault() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await together(end(), fault(), end())

    assert ended == [True, True]
