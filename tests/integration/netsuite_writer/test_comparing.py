"""What the resolver makes of a page, compared by the running writer with what NetSuite holds."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from confluent_kafka import Consumer, TopicPartition

from ml_connector.common import headers as h
from ml_connector.common import topics
from ml_connector.common.codec import encode_json
from ml_connector.common.comparing import Compared, ComparedKey, Difference
from ml_connector.common.generation import Generation
from ml_connector.common.kafka.partition import partition_for
from ml_connector.common.syncing import PAGE, Purpose, SyncPage
from ml_connector.common.wire import Desired
from ml_connector.resolver.listing import Listed, Reading, resolve
from ml_connector.resolver.message import Message, Output
from support.own_account import OwnAccount, sort_of
from support.resolving import Cored
from support.writing import PARTITIONS, Writing, until

pytestmark = pytest.mark.asyncio(loop_scope="session")

NOW_MS = 1_795_000_000_000
FIELDS = {
    "companyName": "data.name", "phone": "data.phone", "creditLimit": "data.value", "isPerson": "false",
    "currency": 'lookup("currency", data.currency)', "autoName": "true", "custentity_kickoff": "data.day",
}  # fmt: skip


class Acme:
    """A company's flow, mapped by the resolver's own code, and an account at NetSuite."""

    def __init__(self, own: OwnAccount, **fields: str) -> None:
        self.own = own
        mapping = {"record": "customer", "fields": {**FIELDS, **fields}, "on_delete": "inactivate"}
        self.document = {**own.document(), "entities": {"organization": mapping}, "defaults": {"subsidiary": "2"}}
        self._cored = Cored(now_ms=NOW_MS)
        self._cored.apply(self.document, version=1)

    async def page(self, purpose: Purpose, rows: Sequence[Any], *, job: str, page: int = 1) -> list[Output]:
        """What comes of a page of Pipedrive's list. `rows`: objects, or ids that are not there."""
        version = Generation(NOW_MS + (purpose == "compare"))
        listed = [
            Listed(b"", version, row) if isinstance(row, str) else Listed(encode_json(row), version) for row in rows
        ]
        plan = self._cored.core.plan(self.own.flow)
        assert plan is not None
        asked = SyncPage(
            job_id=job, flow=self.own.flow, entity="organization", at_ms=NOW_MS, page=page, purpose=purpose
        )
        message = Message("pipedrive.requests", 0, 0, plan.company.encode(), asked.encode(), {h.KIND: PAGE})
        return (await resolve(self._cored.core, plan, asked, message, Reading(listed, NOW_MS, NOW_MS))).first

    async def sync(self, rows: Sequence[Any]) -> list[Desired]:
        outputs = await self.page("sync", rows, job=self.own.flow)
        return [Desired.decode(one.value or b"") for one in outputs if one.topic is topics.DESIRED]

    async def compare(self, rows: Sequence[Any], *, job: str, page: int = 1) -> Compared:
        """Asked, and told."""
        for output in await self.page("compare", rows, job=job, page=page):
            self.own.writing._producer.produce(
                output.topic.name,
                key=output.key,
                value=output.value,
                headers=list(output.headers.items()),
                partition=partition_for(output.partition_key, PARTITIONS),
            )
        assert self.own.writing._producer.flush(10) == 0
        found: list[Compared] = []

        async def told() -> bool:
            entries = [
                one for one in await self.own.writing.read(topics.AUDIT) if ComparedKey.parse((one.key or b"").decode())
            ]
            found.extend(Compared.decode(one.value or b"") for one in entries)
            return any((one.job_id, one.page) == (job, page) for one in found)

        await until(told)
        return next(one for one in found if (one.job_id, one.page) == (job, page))

    async def edit(self, method: str, number: int, body: Any = None) -> None:
        """Somebody in NetSuite."""
        url = f"{self.own.writing.stack.urls['netsuite']}/_sandbox/records/{self.own.account}/customer/eid:pd-org-{number}"
        (await self.own.writing._http.request(method, url, json=body)).raise_for_status()


def organization(number: int, **changes: Any) -> dict[str, Any]:
    row = {
        "id": number, "name": f"Müller & Söhne {number}", "phone": None, "value": number * 10.5, "currency": "EUR",
        "day": f"2026-{number % 12 + 1:02}-{number % 28 + 1:02}",
    }  # fmt: skip
    return {**row, **changes}


async def test_exactly_what_was_edited_is_told(writing: Writing) -> None:
    """And with what was lost on the way from Pipedrive."""
    own = await OwnAccount.open(writing, "3900001")
    acme = Acme(own)
    own._unknown = acme.document
    states = await acme.sync([organization(number) for number in range(1, 301)])
    await own.emit(*states)
    assert set(await own.settled(within_s=90)) == {"written"}
    for number in range(1, 11):
        await acme.edit("PATCH", number, {"companyName": f"By hand {number}"})
    await acme.edit("PATCH", 11, {"creditLimit": 1, "phone": "0", "autoName": False})
    await acme.edit("PATCH", 12, {"custentity_kickoff": "2020-01-01"})
    for number in (20, 21):
        await acme.edit("DELETE", number)
    for number in (30, 31):
        await acme.edit("PATCH", number, {"isInactive": True})
    rows: list[Any] = [organization(number) for number in range(1, 301)]
    rows[39]["name"], rows[40]["name"] = "Renamed in Pipedrive", ["no", "text"]
    rows[49], rows[59] = "50", organization(60, is_deleted=True)
    rows.append(organization(301))

    before = await own.log()
    told = await acme.compare(rows, job="j1")

    by_id = {one.source_id: one for one in told.differences}
    assert (told.records, told.equal, told.failed) == (300, 300 - len(by_id), "")
    assert {number: (one.found, one.causes) for number, one in by_id.items()} == {
        **{str(number): ("different", ("edited",)) for number in range(1, 13)},
        **dict.fromkeys(("20", "21"), ("missing", ("deleted",))),
        **dict.fromkeys(("30", "31"), ("inactive", ("edited",))),
        "40": ("different", ("not_sent",)),
        **dict.fromkeys(("50", "60"), ("active", ("not_sent",))),
        "301": ("missing", ("never_written",)),
    }
    assert values(by_id["1"]) == {"companyName": ("Müller & Söhne 1", "By hand 1")}
    assert values(by_id["11"]) == {"phone": (None, "0"), "creditLimit": (11 * 10.5, "1"), "autoName": (True, "F")}
    assert values(by_id["12"]) == {"custentity_kickoff": ("2026-01-13", "1/1/2020")}
    assert values(by_id["40"]) == {"companyName": ("Renamed in Pipedrive", "Müller & Söhne 40")}
    assert [one.source_id for one in told.unmapped] == ["41"]
    assert told.not_comparable == {"autoName": "ml-connector knows no SuiteQL column that shows it"}
    asked = [sort_of(line) for line in (await own.log())[len(before) :]]
    assert set(asked) == {"query", "find"}
    assert (
        asked.count("find") == 15
    )  # of those that differ or are inactive: their autoName, which SuiteQL does not show
    assert await own.dead_letters() == []


async def test_what_is_still_to_be_written_explains_a_difference_and_a_refused_column_is_none(writing: Writing) -> None:
    """Here of an account without Multiple Currencies; a fault of NetSuite only delays the answer."""
    own = await OwnAccount.open(writing, "3900002")
    acme = Acme(own, currency='"1"')
    own._unknown = acme.document
    await own.emit(*await acme.sync([organization(number) for number in (1, 2, 3)]))
    await own.settled()
    await writing.pause(True, flow=own.flow)
    (changed,) = await acme.sync([organization(1, name="Changed")])
    await own.emit(msgspec.structs.replace(changed, generation=Generation(NOW_MS, 1), cause="later"))
    await acme.edit("PATCH", 2, {"companyName": "By hand"})
    await own.switch(multi_currency=False)
    await own.fault("status_5xx", match={"path": "suiteql"}, count=2)

    rows = [organization(1, name="Changed"), organization(2), organization(3)]
    told = await acme.compare(rows, job="j2", page=7)

    assert {one.source_id: one.found for one in told.differences} == {"1": "waiting", "2": "different"}
    assert told.not_comparable["currency"] == "NetSuite refuses a query with its column"
    assert [sort_of(line) for line in await own.log()].count("write") == 3
    position = partition_for(own.account.encode(), PARTITIONS)
    await until(lambda: _is_committed(writing, position))


async def _is_committed(writing: Writing, partition: int) -> bool:
    """The next owner goes on after what was told."""
    consumer = Consumer({**writing.kafka, "group.id": "netsuite-writer-comparisons"})
    try:
        place = TopicPartition(topics.NETSUITE_REQUESTS.name, partition)
        [committed] = await asyncio.to_thread(consumer.committed, [place], 10)
        _, end = await asyncio.to_thread(consumer.get_watermark_offsets, place, 10)
        return bool(committed.offset == end)
    finally:
        consumer.close()


def values(difference: Difference) -> dict[str, tuple[Any, str | None]]:
    return {one.field: (one.should, one.holds) for one in difference.fields}
