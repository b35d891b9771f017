"""What somebody is told of a flow that is not applied yet; nothing of it stays."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import msgspec
import pytest
import pytest_asyncio

from ml_connector.common import headers as h
from ml_connector.common import topics
from ml_connector.common.asking import Draft
from ml_connector.common.clock import ManualClock
from ml_connector.common.credentials import ApiToken
from ml_connector.common.flows import PipedriveLimits
from ml_connector.common.wire import Preview, Source, Step, StoredDefinitions
from ml_connector.resolver.drafts import Drafts
from ml_connector.resolver.message import Message
from ml_connector.resolver.pipedrive.breaker import Breaker
from ml_connector.resolver.pipedrive.budget import Budget
from ml_connector.resolver.pipedrive.client import PipedriveClient
from ml_connector.resolver.pipedrive.login import TokenLogin
from ml_connector.resolver.plan import FlowPlan
from support.resolving import event
from support.state_topic import StateTopic

NOW_MS = 1_795_168_860_000
RANK = "a" * 40
KEY = "acme/definitions/organization"


def document(**more: Any) -> dict[str, Any]:
    fields = {"companyName": "data.name", "comments": 'custom["Rank"]'}
    return {
        "flow": "acme-new", "environment": "sandbox", "pipedrive": {"company": "acme"},
        "netsuite": {"account": "1234567_SB1"}, "external_ids": "new",
        "entities": {"organization": {"record": "customer", "fields": fields}}, **more,
    }  # fmt: skip


def definitions() -> list[dict[str, Any]]:
    return [{"field_code": RANK, "field_name": "Rank", "field_type": "varchar", "is_custom_field": True}]


class Acme:
    """A company; its definitions are in the topic, or must be read."""

    def __init__(self) -> None:
        self.clock = ManualClock(NOW_MS)
        self.topic = StateTopic()
        self.asked = 0
        self.stored: dict[str, bytes] = {}
        self.drafts = Drafts(self.stored.get, self, self.clock)

    def over(self, http: httpx2.AsyncClient) -> Acme:
        self._client = PipedriveClient(
            http, TokenLogin("https://acme.pipedrive.test", lambda: ApiToken(token="t")),
            breaker=Breaker(first_s=5, longest_s=300, chance=random.Random(1)), budget=Budget(),
            limits=PipedriveLimits(), standing=self.topic.standing("acme", self.clock), clock=self.clock,
        )  # fmt: skip
        return self

    def answer(self, _: httpx2.Request) -> httpx2.Response:
        self.asked += 1
        return httpx2.Response(200, json={"success": True, "data": definitions()})

    def client(self, plan: FlowPlan) -> PipedriveClient:
        assert not plan.applied
        return self._client

    async def preview(self, given: dict[str, Any], body: bytes, *, key: bytes = b"acme") -> Preview:
        headers = {
            h.FLOW: "acme-new", h.COMPANY: "acme", h.ACCOUNT: "1234567_SB1", h.RECEIVED_AT_MS: str(NOW_MS),
            h.KIND: "preview", h.REQUEST_ID: "q1", h.DRAFT: "1",
        }  # fmt: skip
        value = Draft(document=given, event=msgspec.Raw(body)).encode()
        encoded = {name: text.encode() for name, text in headers.items()}
        return await self.drafts.preview("q1", Message(topics.PIPEDRIVE_REQUESTS.name, 0, 3, key, value, encoded))


@pytest_asyncio.fixture
async def acme() -> AsyncIterator[Acme]:
    one = Acme()
    async with httpx2.AsyncClient(transport=httpx2.MockTransport(one.answer)) as http:
        yield one.over(http)


GOLD = event("Acme", source_id=5, custom={RANK: {"type": "varchar", "value": "gold"}})


@pytest.mark.parametrize("known", [True, False])
async def test_draft_is_mapped_with_the_companys_definitions_and_none_is_kept(acme: Acme, known: bool) -> None:
    if known:
        stored = StoredDefinitions(company="acme", entity="organization", read_at_ms=NOW_MS, fields=definitions())
        acme.stored[KEY] = stored.encode()
    before = dict(acme.stored)

    found = await acme.preview(document(), GOLD)

    assert (found.result, found.record_key) == ("desired", "1234567_sb1/customer/new-org-5"), found.reason
    assert found.fields == {"companyName": "Acme", "comments": "gold"}
    step = Step("field", id=RANK, name="Rank", type="varchar")
    assert found.sources["comments"] == Source('custom["Rank"]', (step,))
    assert (acme.asked, acme.stored, acme.topic.written) == (0 if known else 1, before, [])


@pytest.mark.parametrize(
    ("given", "key", "reason"),
    [
        (document(), b"other", "the document is of another company"),
        (document(environment="production"), b"acme", "environment"),
        ({}, b"acme", "flow"),
    ],
)
async def test_document_that_does_not_hold_is_answered(
    acme: Acme, given: dict[str, Any], key: bytes, reason: str
) -> None:
    found = await acme.preview(given, GOLD, key=key)

    assert (found.request_id, found.result) == ("q1", "unresolved")
    assert reason in found.reason
    assert acme.asked == 0


async def test_event_that_is_none_is_a_dead_letter(acme: Acme) -> None:
    found = await acme.preview(document(), json.dumps({"a": 1}).encode())

    assert (found.result, found.stage, found.code) == ("dead_lettered", "decode", "MALFORMED")
