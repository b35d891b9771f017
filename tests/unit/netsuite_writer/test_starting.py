"""What is under way at once: no slot idles while there is work, and as many batches run as the setting says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any, cast

import httpx2
import pytest

from ml_connector.common.clock import ManualClock
from ml_connector.common.wire import Desired
from support.desired import desired
from support.office import Office, found_rows, written
from support.simulated.virtual_time import LoopClock, VirtualLoop

SLOTS = 55
CALL_S = 0.05
RECORDS = SLOTS * 12


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    made = VirtualLoop()
    yield made
    made.end()


def organizations(*numbers: int, version: int = 1) -> list[Desired]:
    return [
        desired("organization", str(number), version=version, fields={"companyName": f"O {number} v{version}"})
        for number in numbers
    ]


@pytest.mark.parametrize("ack_s", [0.004, 0.04])
def test_no_slot_idles_however_long_the_broker_takes_to_acknowledge_an_attempt(ack_s: float, loop: VirtualLoop) -> None:
    """Each record's attempt is in the topic before its call; others have to get ready meanwhile."""
    in_flight, most = 0, 0
    ends_s: list[float] = []
    all_there = asyncio.Event()

    async def vendor(_: httpx2.Request) -> httpx2.Response:
        nonlocal in_flight, most
        in_flight += 1
        most = max(most, in_flight)
        await asyncio.sleep(CALL_S)
        in_flight -= 1
        ends_s.append(loop.time())
        if len(ends_s) == RECORDS:
            all_there.set()
        return written()

    async def run() -> None:
        clock = cast(ManualClock, LoopClock(loop))  # nobody moves it
        office = Office(vendor, clock=clock, slots=SLOTS, jobs_at_once=0)
        office.messages.ack_s = ack_s
        office.accept(*organizations(*range(RECORDS)))
        await all_there.wait()
        await office.close()

    loop.run_until_complete(run())

    assert most == SLOTS
    warmed_up = RECORDS // 4
    per_s = (RECORDS - warmed_up) / (ends_s[-1] - ends_s[warmed_up - 1])
    assert per_s >= 0.98 * SLOTS / CALL_S


# -- batches -----------------------------------------------------------------------------------------------------------

JOB = "https://netsuite.test/services/rest/async/v1/job"
SIZE = 5


class SlowJobs:
    """Takes batches, and ends them when it is told to. `batches`: external ids of each, by its number."""

    def __init__(self) -> None:
        self.batches: dict[str, list[str]] = {}
        self.ended: set[str] = set()
        self.singles: list[str] = []
        self._rows: dict[str, list[dict[str, str]]] = {}

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        last = request.url.path.rpartition("/")[2]
        match request.method, last:
            case "PUT", "customer":
                items: list[dict[str, Any]] = json.loads(request.content)["items"]
                number = str(len(self.batches) + 1)
                self.batches[number] = [one["externalId"] for one in items]
                self._rows[number] = [
                    {"id": number, "externalid": one["externalId"], "companyname": one["companyName"]} for one in items
                ]
                return httpx2.Response(202, headers={"location": f"{JOB}/{number}"})
            case "GET", number:
                return httpx2.Response(200, json={"completed": number in self.ended})
            case "POST", "suiteql":
                return found_rows(*(row for number in self.ended for row in self._rows[number]))
        self.singles.append(last.removeprefix("eid:"))
        return written("9")


def office_of(vendor: SlowJobs, jobs_at_once: int) -> Office:
    return Office(vendor, batch_from=SIZE, batch_size=SIZE, jobs_at_once=jobs_at_once)


async def pass_minutes(office: Office) -> None:
    for _ in range(8):
        await office.pass_time(30)


@pytest.mark.parametrize("jobs_at_once", [1, 2, 3])
async def test_as_many_batches_are_under_way_as_the_setting_says_and_the_rest_goes_singly(jobs_at_once: int) -> None:
    vendor = SlowJobs()
    office = office_of(vendor, jobs_at_once)
    states = organizations(*range(SIZE * (jobs_at_once + 1)))

    office.accept(*states)
    await pass_minutes(office)

    assert len(vendor.batches) == jobs_at_once
    batched = [one for batch in vendor.batches.values() for one in batch]
    assert len(batched) == SIZE * jobs_at_once
    assert sorted(batched + vendor.singles) == sorted(state.external_id for state in states)

    vendor.ended.add("1")
    more = organizations(*range(100, 100 + SIZE))
    await pass_minutes(office)
    office.accept(*more)
    await pass_minutes(office)

    assert len(vendor.batches) == jobs_at_once + 1
    assert vendor.batches[str(jobs_at_once + 1)] == [state.external_id for state in more]
    vendor.ended.update(vendor.batches)
    await pass_minutes(office)
    assert {office.outcome(state) for state in states + more} == {"written"}
    await office.close()


async def test_a_record_of_a_batch_under_way_is_in_no_other_one() -> None:
    vendor = SlowJobs()
    office = office_of(vendor, jobs_at_once=2)
    first, newer = organizations(*range(SIZE)), organizations(*range(SIZE), version=2)
    others = organizations(*range(100, 100 + SIZE))

    office.accept(*first)
    await pass_minutes(office)
    office.accept(*newer, *others)
    await pass_minutes(office)
    assert vendor.batches == {"1": [one.external_id for one in first], "2": [one.external_id for one in others]}
    assert vendor.singles == []

    vendor.ended.update(vendor.batches)
    await pass_minutes(office)
    assert {office.outcome(state) for state in first + newer + others} == {"written"}
    await office.close()
