"""Reading what is lacking: once, however many wait for it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ml_connector.common import headers as h
from ml_connector.common import topics
from ml_connector.resolver.message import Message, Output
from ml_connector.resolver.pipedrive.client import PipedriveClient
from ml_connector.resolver.plan import FlowPlan
from ml_connector.resolver.refresh import Refresher
from support.resolving import COMPANY_ID, Cored, event

AT_MS = 1_795_168_800_123  # 2026-11-20T10:00:00.123Z
RANK = "a" * 40

pytestmark = pytest.mark.asyncio


class Pipedrive:
    """Answers at once. `asked`: how often for what."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.budget = SimpleNamespace(by_hour={})

    def client(self, _: FlowPlan) -> PipedriveClient:
        return cast(PipedriveClient, self)

    async def definitions(self, entity: str) -> list[dict[str, Any]]:
        self.asked[entity] += 1
        return [{"field_code": RANK, "field_name": "Rank", "field_type": "varchar"}]

    async def pipelines(self) -> list[dict[str, Any]]:
        self.asked["stages"] += 1
        return [{"id": 1, "name": "Sales"}]

    async def stages(self) -> list[dict[str, Any]]:
        return [{"id": 1, "name": "Lead", "pipeline_id": 1}]


def deal(number: int) -> Message:
    body = event(f"e{number}", source_id=number, title="Big", stage_id=1, status="open")
    headers = {
        h.FLOW: b"acme",
        h.COMPANY: b"acme",
        h.ACCOUNT: b"1234567_SB1",
        h.RECEIVED_AT_MS: b"%d" % AT_MS,
    }
    body = body.replace(b'"entity": "organization"', b'"entity": "deal"')
    return Message(topics.DEFERRED.name, 0, number, b"acme", body, headers)


async def test_two_deals_that_lack_the_same_things_are_both_resolved_though_keeping_them_takes_time() -> None:
    """The second reads the stages while what the first has read of deals is being kept."""
    acme = Cored(now_ms=AT_MS + 1_000)
    acme.apply(
        {
            "flow": "acme", "environment": "sandbox",
            "pipedrive": {"company": "acme", "company_id": str(COMPANY_ID)},
            "netsuite": {"account": "1234567_SB1"}, "external_ids": "pd",
            "stages": {"Sales/Lead": "1"},
            "entities": {
                "deal": {"record": "opportunity", "fields": {"title": "data.title", "memo": 'custom["Rank"]',
                                                             "entityStatus": "stage_status"}},
            },
        },
        version=1,
    )  # fmt: skip
    pipedrive, keeping, may_go_on = Pipedrive(), asyncio.Event(), asyncio.Event()

    async def keep(_: Sequence[Output]) -> None:
        if not keeping.is_set():
            keeping.set()
            await may_go_on.wait()

    refresher = Refresher(acme.core, acme.book, pipedrive, keep, acme.clock, reread_s=60)
    first = asyncio.create_task(refresher.event(deal(1)))
    await keeping.wait()
    second = await refresher.event(deal(2))
    may_go_on.set()

    assert isinstance(second, list)
    assert isinstance(await first, list)
    assert pipedrive.asked == {"deal": 1, "stages": 1}
