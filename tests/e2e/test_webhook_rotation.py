"""A webhook's key is replaced while deliveries go on: Pipedrive's own log says that none was refused."""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from ml_connector.admin.webhooks.ingests import LIVE_S, Ingests
from ml_connector.cli.publishing import TopicWriter
from ml_connector.cli.reading import read_topic
from ml_connector.cli.stack import FLOW, Stack, StackOptions
from ml_connector.common import topics
from ml_connector.common.clock import ManualClock
from ml_connector.common.vault import Vault
from support.writing import until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

MLC = str(Path(sys.executable).parent / "mlc")
OLD = ("pipedrive", "the old password")
PATH = f"/webhooks/pipedrive/{FLOW}"
PROCESSES = ("broker", "pipedrive", "ingest", "resolver", "admin")


class Rotating:
    """Two ingests, each with its own webhooks, and somebody who never stops working in Pipedrive."""

    def __init__(self, stack: Stack, http: httpx2.AsyncClient) -> None:
        self.stack = stack
        self.http = http
        self.pipedrive = stack.urls["pipedrive"]
        self.token = {"x-api-token": stack.api_token}
        self.kafka = {"bootstrap.servers": stack.bootstrap}

    async def begin(self) -> Rotating:
        """Instead of the signed webhook of the development flow: those that HTTP Basic needs."""
        for one in (await self.http.get(f"{self.pipedrive}/v1/webhooks", headers=self.token)).json()["data"]:
            await self.http.delete(f"{self.pipedrive}/v1/webhooks/{one['id']}", headers=self.token)
        writer = TopicWriter(self.kafka, prefix="", vault=Vault.from_text(self.stack.vault_key))
        key = {"id": "old", "user": OLD[0], "password": OLD[1]}
        await asyncio.to_thread(writer.secret, f"flow/{FLOW}", "webhook-basic", "sandbox", {"keys": [key]})
        document = self.stack.flow_document()
        document["pipedrive"]["webhook"] = {"verify": "basic"}
        document["entities"] = {"organization": document["entities"]["organization"]}
        await asyncio.to_thread(writer.flow, document, by="a test")
        await asyncio.gather(self._install("ingest"), self._install("ingest#2"))
        return self

    async def _install(self, ingest: str) -> None:
        await until(lambda: self.is_open(ingest, OLD))
        done = await self.mlc("webhooks", "install", FLOW, "--url", self.stack.urls[ingest])
        assert done.returncode == 0, done.stderr

    async def is_open(self, ingest: str, pair: tuple[str, str]) -> bool:
        answer = await self.http.post(f"{self.stack.urls[ingest]}{PATH}", content=b"{}", auth=pair)
        return answer.status_code == 204

    async def mlc(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**self.stack.commands_environment(), "PATH": "/usr/bin:/bin"}
        return await asyncio.to_thread(
            lambda: subprocess.run(
                [MLC, *arguments], capture_output=True, text=True, env=environment, check=False, timeout=100
            )
        )

    async def rotate(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return await self.mlc("webhooks", "rotate", FLOW, *arguments)

    async def work(self, stop: asyncio.Event) -> None:
        for number in itertools.count():
            if stop.is_set():
                return
            body = {"name": f"Company {number}"}
            answer = await self.http.post(f"{self.pipedrive}/api/v2/organizations", json=body, headers=self.token)
            answer.raise_for_status()
            await asyncio.sleep(0.02)

    async def deliveries(self) -> list[dict[str, Any]]:
        """Pipedrive's log, once no first attempt is under way."""
        found: list[dict[str, Any]] = (await self.http.get(f"{self.pipedrive}/_sandbox/deliveries")).json()
        return [one for one in found if one["answered_at_ms"]]

    async def webhooks(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.http.get(f"{self.pipedrive}/v1/webhooks", headers=self.token)).json()[
            "data"
        ]
        return found

    def heard(self) -> tuple[Ingests, ManualClock]:
        """What the ingests have said until now, as it is heard at one moment."""
        clock = ManualClock()
        ingests = Ingests(clock)
        ingests.begin()
        for one in read_topic(self.kafka, topics.REPLIES.name):
            key = (one.key or b"").decode()
            if key.startswith("ingest/"):
                ingests.hear(key, one.value or b"")
        return ingests, clock


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rotating() -> AsyncIterator[Rotating]:
    soon = {"admin": {"MLC_ADMIN_OLD_KEY_S": "1"}}  # a test does not wait five minutes
    options = StackOptions(processes=PROCESSES, scale={"ingest": 2}, environment=soon)
    async with Stack(options) as stack, httpx2.AsyncClient(timeout=20) as http:
        yield await Rotating(stack, http).begin()


async def test_no_delivery_is_refused_while_the_key_is_replaced_and_an_ingest_leaves(rotating: Rotating) -> None:
    stop = asyncio.Event()
    working = asyncio.create_task(rotating.work(stop))
    of_first = {
        one["id"] for one in await rotating.webhooks() if rotating.stack.urls["ingest"] in one["subscription_url"]
    }

    first, left = await asyncio.gather(rotating.rotate("--json"), rotating.stack.stop_one("ingest#2"))
    again = await rotating.rotate("--json")
    now = await rotating.webhooks()
    finished: list[subprocess.CompletedProcess[str]] = []

    async def is_finished() -> bool:
        finished.append(await rotating.rotate("--finish"))
        return finished[-1].returncode == 0

    await until(is_finished, within_s=20)
    count = len(await rotating.deliveries())
    await until(lambda: _more(rotating, count + 20))
    stop.set()
    await working

    assert (first.returncode, left, again.returncode) == (0, 0, 0), first.stderr + again.stderr
    told, once_more = json.loads(first.stdout), json.loads(again.stdout)
    assert len(told["created"]) == len(told["removed"]) == 2 and told["old_key"] == "old"
    assert (once_more["key"], once_more["created"], len(once_more["ingests"])) == (told["key"], [], 1)
    assert {one["name"].split()[-1] for one in now} == {told["key"]} and len(now) == 2
    of_first |= {one["id"] for one in now if rotating.stack.urls["ingest"] in one["subscription_url"]}
    deliveries = await rotating.deliveries()
    assert {one["status"] for one in deliveries if one["webhook_id"] in of_first} == {204}
    assert {one["status"] for one in deliveries} <= {204, 0}, "0: nobody listens any more"
    carried = {one["webhook_id"] for one in deliveries[-10:]}
    assert carried & {one["id"] for one in now}
    assert not await rotating.is_open("ingest", OLD)


async def test_ingest_that_is_killed_is_no_more_once_its_words_fail_to_come(rotating: Rotating) -> None:
    await rotating.stack.kill("ingest")

    ingests, clock = await asyncio.to_thread(rotating.heard)
    at_first = len(ingests.live())
    clock.advance(LIVE_S)

    assert (at_first, ingests.live()) == (1, []), "the other one said goodbye"


async def _more(rotating: Rotating, count: int) -> bool:
    return len(await rotating.deliveries()) >= count
