"""How many records are reconciled, and in how much memory: the writer's side, what admin makes of it, and the search
for records that no object is behind.

In one process, one thread, after `compare.py`: its pages of 500 objects are mapped (not counted here), compared with
SuiteQL's answers, told, folded into admin's SQLite in a file, 20 parts a transaction; then NetSuite is searched, 1000
rows a page, for what Pipedrive does not hold; then the report is read whole, with its causes. One in a hundred differs,
one in a thousand is extra. Without HTTP, Kafka and NetSuite, whose answers decide on a real account.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from compare import (
    ACCOUNT,
    AIM,
    AIM_MIB,
    COMPANY,
    DOCUMENT,
    NOW_MS,
    OF_PAGE,
    Answering,
    answer,
    known,
    memory_mib,
    objects,
)

from ml_connector.admin.database import Database
from ml_connector.admin.fold import fold
from ml_connector.admin.reconcile.report import Wanted, causes_of, lines_of
from ml_connector.admin.reconcile.told import covered_by, told_of
from ml_connector.common import headers as h
from ml_connector.common import topics
from ml_connector.common.clock import SystemClock
from ml_connector.common.comparing import Census, Compare, Compared, compared_key
from ml_connector.common.covering import pack
from ml_connector.common.flows import parse_flow
from ml_connector.common.generation import Generation
from ml_connector.common.syncing import PAGE, SyncPage
from ml_connector.netsuite_writer.census import ROWS, Counting
from ml_connector.netsuite_writer.comparing import Comparing
from ml_connector.netsuite_writer.settle import Answer
from ml_connector.resolver.listing import Listed, Reading, resolve
from ml_connector.resolver.message import Message
from support.admin_messages import Places
from support.measuring import machine
from support.resolving import Cored

AT_ONCE: Final = 20  # parts of one transaction
EXTRA: Final = 1000  # one record in so many has no object


class Holding:
    """What NetSuite holds, page by page, for the search; one in EXTRA more than there are objects."""

    def __init__(self, records: int) -> None:
        self._held = records + records // EXTRA

    async def query(self, suiteql: str) -> tuple[Answer, list[dict[str, Any]]]:
        found = re.search(r"id > (\d+)", suiteql)
        assert found is not None
        first = int(found[1]) + 1
        numbers = range(first, min(first + ROWS, self._held + 1))
        return Answer(200), [{"id": str(n), "externalid": f"pd-org-{n}", "isinactive": "F"} for n in numbers]


class Admin:
    """Its tables, in a file."""

    def __init__(self, folder: str) -> None:
        self.database = Database(f"sqlite:///{Path(folder) / 'admin.sqlite'}")
        self.database.migrate()
        self._places = Places()
        self._parts: list[Compared] = []

    def take(self, told: Compared) -> None:
        self._parts.append(told)
        if len(self._parts) == AT_ONCE:
            self.flush()

    def flush(self) -> None:
        records = [
            self._places.put((topics.AUDIT, compared_key(one).encode(), one.encode(), {})) for one in self._parts
        ]
        with self.database.write() as connection:
            fold(connection, topics.AUDIT, records)
        self._parts.clear()


class Spent:
    """CPU seconds by what they were spent on."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._at_s = time.process_time()

    def begin(self) -> None:
        self._at_s = time.process_time()

    def on(self, what: str) -> None:
        now_s = time.process_time()
        self.seconds[what] = self.seconds.get(what, 0.0) + now_s - self._at_s
        self._at_s = now_s


async def compare_all(records: int, admin: Admin, spent: Spent) -> Comparing:
    cored = Cored(now_ms=NOW_MS)
    cored.apply(DOCUMENT, version=1)
    cored.define(COMPANY, {"a" * 40: "Tier", "b" * 40: "Industry"}, read_at_ms=NOW_MS)
    plan, live, answering = cored.core.plan(COMPANY), cored.flow(COMPANY), Answering()
    assert plan is not None
    assert live is not None
    comparing = Comparing("a", client=answering, store=known(records), clock=SystemClock())
    for number in range(1, records // OF_PAGE + 1):
        page = SyncPage(job_id="j", flow=COMPANY, entity="organization", at_ms=NOW_MS, page=number, purpose="compare")
        message = Message("pipedrive.requests", 0, 0, b"acme", page.encode(), {h.KIND: PAGE})
        listed = [Listed(body, Generation(NOW_MS)) for body in objects(number)]
        answering.body = answer(number)
        outputs = await resolve(cored.core, plan, page, message, Reading(listed, NOW_MS, NOW_MS))
        spent.begin()
        for output in outputs.first:
            told = await comparing.compare(Compare.decode(output.value or b""), live)
            spent.on("compare")
            admin.take(told)
            spent.on("fold")
    admin.flush()
    spent.on("fold")
    return comparing


async def count_all(records: int, admin: Admin, spent: Spent) -> None:
    live = Cored(now_ms=NOW_MS)
    live.apply(DOCUMENT, version=1)
    flow = live.flow(COMPANY)
    assert flow is not None
    with admin.database.read() as connection:
        covered = pack(covered_by(connection, "j", "organization"))
    asked = Census(
        job_id="j", flow=COMPANY, account=ACCOUNT, entity="organization", page=0, at_ms=NOW_MS, began_ms=NOW_MS,
        covered=covered,
    )  # fmt: skip
    print(f"  the request for the search has {len(asked.encode())} bytes")
    counting = Counting(Holding(records), known(0), SystemClock())
    spent.begin()
    async for told in counting.count(asked, flow):
        admin.take(told)
    admin.flush()
    spent.on("search")


def report(records: int, admin: Admin, spent: Spent) -> None:
    flow = parse_flow(DOCUMENT)
    with admin.database.read() as connection:
        told = told_of(connection, "j", "organization")
        causes = causes_of(lines_of(connection, flow, "j", ("organization",), Wanted()))
    spent.on("report")
    expected = {"different": records // 100, "extra": records // EXTRA}
    if told.found != expected or told.records != records or causes.total() != sum(expected.values()):
        raise SystemExit(f"{told.found} of {told.records} were found, the figures would mean nothing")
    print(f"{records} records, {told.found['different']} of them different, {told.found['extra']} extra:")


async def measure(records: int) -> None:
    spent, before_mib = Spent(), memory_mib()
    with tempfile.TemporaryDirectory() as folder:
        admin = Admin(folder)
        await compare_all(records, admin, spent)
        await count_all(records, admin, spent)
        report(records, admin, spent)
        admin.database.close()
    for what, seconds in spent.seconds.items():
        print(f"  {what:<8} {records / seconds:8.0f} records per CPU second")
    rate = records / sum(spent.seconds.values())
    print(f"  {'all':<8} {rate:8.0f} records per CPU second   aim: >= {AIM}")
    print(f"  memory at most {memory_mib():.0f} MiB, of which {before_mib:.0f} before it began   aim: {AIM_MIB}")


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=200_000)
    print(machine())
    asyncio.run(measure(parser.parse_args(arguments).records))


if __name__ == "__main__":
    main(sys.argv[1:])
