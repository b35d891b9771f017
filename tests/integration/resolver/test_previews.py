"""Somebody asks what would become of an event: the resolver answers in `connector.replies`, and writes nothing else."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from ml_connector.common import headers as h
from ml_connector.common import topics
from ml_connector.common.generation import Generation
from ml_connector.common.wire import Preview
from support.resolving import Resolving, event

pytestmark = pytest.mark.asyncio(loop_scope="module")

FIELDS = "/api/v2/organizationFields"
AT = "2026-11-20T10:00:00.123Z"
AT_MS = 1_795_168_800_123
DEAD_PORT = "http://127.0.0.1:9"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def resolving() -> AsyncIterator[Resolving]:
    async with Resolving(MLC_PROBE_FIRST_S="60") as one:
        yield one


@pytest_asyncio.fixture(loop_scope="module")
async def acme(resolving: Resolving) -> AsyncIterator[Acme]:
    """A company of its own for each test; what was written before the test does not count."""
    acme = Acme(resolving)
    await resolving.company(acme.name)
    resolving.flows([resolving.flow(acme.name, {"companyName": "data.name"})], version=1)
    mapping = {"companyName": "data.name", "comments": 'custom["Rank"]'}
    resolving.flows([resolving.flow(acme.name, mapping)], version=2)
    await acme.noted()
    yield acme


class Acme:
    """Version 1 of its flow maps names only; version 2, the active one, the custom field "Rank" too."""

    def __init__(self, resolving: Resolving) -> None:
        self.resolving = resolving
        self.name = f"acme-{uuid.uuid4().hex[:8]}"
        self._written = 0

    async def rank(self) -> str:
        """The code of the field, which is defined now."""
        body = {"field_name": "Rank", "field_type": "varchar"}
        made = await self.resolving.pipedrive(self.name, "POST", FIELDS, body)
        return str(made["field_code"])

    async def preview(self, body: bytes, **more: str) -> Preview:
        request_id = self.ask(body, **more)
        return await self.resolving.preview(request_id)

    def ask(self, body: bytes, **more: str) -> str:
        request_id = uuid.uuid4().hex
        headers = {
            h.FLOW: self.name, h.COMPANY: self.name, h.RECEIVED_AT_MS: str(int(time.time() * 1000)),
            h.REQUEST_ID: request_id, **{name.replace("_", "-"): text for name, text in more.items()},
        }  # fmt: skip
        self.resolving.ask_for_preview(body, headers)
        return request_id

    async def noted(self) -> None:
        self._written = await self._count()

    async def wrote_nothing(self) -> bool:
        return await self._count() == self._written

    async def _count(self) -> int:
        silent = (topics.AUDIT, topics.DESIRED, topics.DEAD_LETTERS, topics.DEFERRED)
        return sum([len(await self.resolving.read(topic)) for topic in silent])


def replay(number: int, **more: str) -> dict[str, str]:
    return {"cause": f"rpl:j:{number}", "replay_of": "1:a", "revision": str(7 + number), "lane": "replay", **more}


async def test_preview_says_what_the_mapping_makes_of_an_event(acme: Acme) -> None:
    """The field is not known yet: the definitions are read first, as for an event."""
    gold = {await acme.rank(): {"type": "varchar", "value": "gold"}}

    found = await acme.preview(event("a", source_id=5, custom=gold, at=AT), **replay(1))

    assert found.result == "desired", found.reason
    assert found.fields == {"companyName": "a", "comments": "gold"}
    assert (found.generation, found.mapping_version, found.held_back) == (Generation(AT_MS, 8), 2, [])
    assert await acme.wrote_nothing()


async def test_preview_with_the_mapping_of_then_and_of_an_object(acme: Acme) -> None:
    body: dict[str, Any] = {"id": 5, "name": "A", "custom_fields": {}}
    more = replay(2, mapping_version="1", object="organization/5", generation=f"{AT_MS}.0")

    found = await acme.preview(json.dumps(body).encode(), **more)

    assert (found.result, found.fields, found.mapping_version) == ("desired", {"companyName": "A"}, 1)
    assert await acme.wrote_nothing()


async def test_preview_of_what_would_fail_writes_no_dead_letter(acme: Acme) -> None:
    malformed = await acme.preview(b"{}")
    unknown = await acme.preview(event("a"), flow="nobody")
    unmapped = await acme.preview(event("a").replace(b'"entity": "organization"', b'"entity": "deal"'))

    assert (malformed.result, malformed.stage) == ("dead_lettered", "decode")
    assert (unknown.result, unknown.reason) == ("dead_lettered", "the flow does not exist any more")
    assert (unmapped.result, unmapped.reason) == ("ignored", "deal is not mapped")
    assert await acme.wrote_nothing()


async def test_preview_without_pipedrive_is_answered_and_not_put_aside(acme: Acme) -> None:
    """The second one meets the open breaker."""
    flow = acme.resolving.flow(acme.name, {"comments": 'custom["Rank"]'}, base_url=DEAD_PORT)
    acme.resolving.flows([flow], version=3)
    known = await acme.preview(event("a"), mapping_version="1")

    found = [await acme.preview(event("a")) for _ in range(2)]

    assert known.result == "desired"
    assert [one.result for one in found] == ["unresolved", "unresolved"]
    assert found[1].reason.startswith("left alone for a while")
    assert await acme.wrote_nothing()


async def test_preview_without_a_request_id_is_dropped(acme: Acme) -> None:
    """Nobody could find the answer; what comes after it is answered all the same."""
    acme.ask(event("a"), request_id="")
    await acme.preview(event("a"), mapping_version="1")

    assert b"" not in {record.key for record in await acme.resolving.read(topics.REPLIES)}
    assert await acme.wrote_nothing()
