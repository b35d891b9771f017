"""Every request to NetSuite has a slot, and none that writes lets a misspelt field pass."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, get_args

import httpx2
import pytest

from ml_connector.netsuite_writer.netsuite.client import NetsuiteClient
from ml_connector.netsuite_writer.settle import Kind
from ml_connector.netsuite_writer.write import Request
from support.office import Office

Ask = Callable[[NetsuiteClient], Awaitable[object]]


def write_of(kind: Kind) -> Ask:
    request = Request(kind, "customer", "pd-org-1", b'{"companyName":"O"}', "7")
    return lambda client: client.write(request, traceparent="")


WRITES: Final[dict[str, Ask]] = {
    **{kind: write_of(kind) for kind in get_args(Kind)},
    "batch": lambda client: client.submit("customer", [b"{}"], idempotency_key="k", parallel=True),
}
READS: Final[dict[str, Ask]] = {
    "record": lambda client: client.find(Request("upsert", "customer", "pd-org-1", b""), traceparent=""),
    "poll": lambda client: client.job("1"),
    "result": lambda client: client.result("1/task/1/result"),
    "query": lambda client: client.query("SELECT 1"),
    "query that can wait": lambda client: client.query("SELECT 1", spare=True),
    "limits": lambda client: client.governance_limits(),
}


@pytest.mark.parametrize("name", [*WRITES, *READS])
async def test_a_request_of_any_kind_has_a_slot_until_its_answer(name: str) -> None:
    in_flight: list[int] = []

    def vendor(_: httpx2.Request) -> httpx2.Response:
        in_flight.append(office.gate.governor.in_flight)
        return httpx2.Response(200, json={})

    office = Office(vendor)

    await (WRITES | READS)[name](office.client)

    assert (in_flight, office.gate.governor.in_flight) == ([1], 0)
    await office.close()


@pytest.mark.parametrize("name", WRITES)
async def test_a_request_that_writes_lets_no_misspelt_field_pass(name: str) -> None:
    """facts/netsuite.md section 5: NetSuite would drop it in silence."""
    office = Office(lambda _: httpx2.Response(204))

    await WRITES[name](office.client)

    assert [one.headers.get("x-netsuite-propertynamevalidation") for one in office.requests] == ["error"]
    await office.close()
