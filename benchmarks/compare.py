"""How many records are compared with what NetSuite holds, and in how much memory: the two sides without their waiting.

In one process, one thread: pages of 500 objects as Pipedrive lists them are mapped and put into requests (the
resolver's code), and these are decoded, compared with SuiteQL's answers and told (the writer's code, with a store in
memory that knows every record). One in a hundred differs. Without HTTP, Kafka and NetSuite, whose answers decide on a
real account: 500 records cost it one query. 11 fields, 3 of them custom.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import time
from collections.abc import Iterator
from typing import Any

import msgspec

from ml_connector.common import headers as h
from ml_connector.common.clock import SystemClock
from ml_connector.common.codec import encode_json
from ml_connector.common.comparing import Compare, compared_key
from ml_connector.common.generation import Generation
from ml_connector.common.keys import record_key
from ml_connector.common.syncing import PAGE, SyncPage
from ml_connector.common.wire import Observed
from ml_connector.netsuite_writer.comparing import Comparing
from ml_connector.netsuite_writer.netsuite.client import Response
from ml_connector.netsuite_writer.settle import Answer
from ml_connector.netsuite_writer.store import Store
from ml_connector.netsuite_writer.write import Request
from ml_connector.resolver.listing import Listed, Reading, resolve
from ml_connector.resolver.message import Message
from support.measuring import machine
from support.resolving import Cored

AIM, AIM_MIB = 2_000, 300
OF_PAGE = 500
COMPANY, ACCOUNT = "acme", "1234567_SB1"
NOW_MS = 1_795_000_000_000
FIELDS = {
    "companyName": "data.name",
    "entityId": "data.id",
    "accountNumber": "data.owner_id",
    "comments": "data.address",
    "email": "data.email",
    "phone": "data.phone",
    "url": "data.website",
    "creditLimit": "data.value",
    "custentity_tier": 'custom["Tier"]',
    "custentity_kickoff": "data.day",
    "custentity_industry": 'custom["Industry"]',
}
DOCUMENT = {
    "flow": COMPANY,
    "environment": "sandbox",
    "pipedrive": {"company": COMPANY},
    "netsuite": {"account": ACCOUNT},
    "external_ids": "pd",
    "entities": {"organization": {"record": "customer", "fields": FIELDS}},
}


def objects(page: int) -> Iterator[bytes]:
    for number in range((page - 1) * OF_PAGE + 1, page * OF_PAGE + 1):
        yield encode_json({
            "id": number, "name": f"Organization {number}", "owner_id": 7, "address": f"Street {number}, Somewhere",
            "email": f"office{number}@example.com", "phone": None, "website": f"https://{number}.example.com",
            "value": number * 1.5, "day": "2026-05-24", "custom_fields": {"a" * 40: "Gold", "b" * 40: "Steel"},
        })  # fmt: skip


def answer(page: int) -> bytes:
    """SuiteQL's, to the query for this page."""
    rows = [
        {
            "links": [], "id": str(number + 100), "externalid": f"pd-org-{number}", "isinactive": "F",
            "mlc_modified": "2026-11-18 10:00:00", "mlc_shown": "11/18/2026", "mlc_iso": "2026-11-18",
            "companyname": f"Organization {number}" if number % 100 else "By hand", "entityid": str(number),
            "accountnumber": "7", "comments": f"Street {number}, Somewhere", "email": f"office{number}@example.com",
            "url": f"https://{number}.example.com", "creditlimit": str(number * 1.5), "custentity_tier": "Gold",
            "custentity_kickoff": "5/24/2026", "custentity_industry": "Steel",
        }
        for number in range((page - 1) * OF_PAGE + 1, page * OF_PAGE + 1)
    ]  # fmt: skip
    return msgspec.json.encode({"items": rows})


class Answering:
    """In place of NetSuite's client: it decodes what came."""

    def __init__(self) -> None:
        self.body = b""

    async def query(self, suiteql: str, *, spare: bool) -> tuple[Answer, list[dict[str, Any]]]:
        assert spare
        assert suiteql.startswith("SELECT")
        return Answer(200), msgspec.json.decode(self.body)["items"]

    async def find(self, request: Request, *, traceparent: str, spare: bool) -> Response:
        raise SystemExit(f"{request.address} was read singly, though SuiteQL shows all its fields")


def known(records: int) -> Store:
    store = Store.in_memory()
    for number in range(1, records + 1):
        one = Observed(
            record_key=record_key(ACCOUNT, "customer", f"pd-org-{number}"), flow=COMPANY, generation=Generation(1),
            cause="c", outcome="written", action="upsert", at_ms=NOW_MS - 1, internal_id="1", digest="0" * 32,
        )  # fmt: skip
        store.put_observed(one.record_key, one.encode())
    return store


async def measure(records: int) -> None:
    cored = Cored(now_ms=NOW_MS)
    cored.apply(DOCUMENT, version=1)
    cored.define(COMPANY, {"a" * 40: "Tier", "b" * 40: "Industry"}, read_at_ms=NOW_MS)
    plan, live = cored.core.plan(COMPANY), cored.flow(COMPANY)
    assert plan is not None
    assert live is not None
    before_mib = memory_mib()
    answering = Answering()
    comparing = Comparing("a", client=answering, store=known(records), clock=SystemClock())
    spent = {"the resolver's side": 0.0, "the writer's side": 0.0}
    told, largest = 0, 0
    for number in range(1, records // OF_PAGE + 1):
        page = SyncPage(job_id="j", flow=COMPANY, entity="organization", at_ms=NOW_MS, page=number, purpose="compare")
        message = Message("pipedrive.requests", 0, 0, b"acme", page.encode(), {h.KIND: PAGE})
        listed = [Listed(body, Generation(NOW_MS)) for body in objects(number)]
        answering.body = answer(number)
        began_s = time.process_time()
        outputs = await resolve(cored.core, plan, page, message, Reading(listed, NOW_MS, NOW_MS))
        mapped_s = time.process_time()
        for output in outputs.first:
            compared = await comparing.compare(Compare.decode(output.value or b""), live)
            assert compared_key(compared)
            largest = max(largest, len(compared.encode()))
            told += len(compared.differences)
        spent["the resolver's side"] += mapped_s - began_s
        spent["the writer's side"] += time.process_time() - mapped_s
    if told != records // 100:
        raise SystemExit(f"{told} differences were told, the figures would mean nothing")
    print(f"{records} records, {told} of them different:")
    for what, seconds in spent.items():
        print(f"  {what:<22} {records / seconds:6.0f} records per CPU second")
    print(f"  {'both':<22} {records / sum(spent.values()):6.0f} records per CPU second   aim: >= {AIM}")
    print(f"  memory at most {memory_mib():.0f} MiB, of which {before_mib:.0f} before it began   aim: {AIM_MIB}")
    print(f"  the largest entry of the audit has {largest} bytes")


def memory_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=200_000)
    arguments = parser.parse_args()
    print(machine())
    asyncio.run(measure(arguments.records))
