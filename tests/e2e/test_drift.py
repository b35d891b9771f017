"""What is edited in NetSuite is told within seconds, or undone; nothing of it ever goes to Pipedrive."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from ml_connector.cli.stack import ACCOUNT, ADMIN, ALL, FLOW, StackOptions
from ml_connector.common.generation import REST_READ_SLACK_MS
from support.living import Living
from support.operating import Api
from support.writing import until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

MLC = str(Path(sys.executable).parent / "mlc")
SECRET = "a-secret-that-only-the-script-has"
WRITER = "netsuite-writer"


class Finance:
    """People who work in NetSuite, and an operator who looks."""

    def __init__(self, living: Living, http: httpx2.AsyncClient) -> None:
        self.living = living
        self.stack = living.stack
        self.http = http
        self.api = Api(self.stack.urls[ADMIN], self.stack.admin_key_pem, role="admin")
        self._sandbox = f"{self.stack.urls['netsuite']}/_sandbox"

    async def begin(self) -> None:
        """Two customers that Pipedrive made."""
        for name in ("Acme", "Bolt"):
            await self.living.create("organization", {"name": name})
        await self.living.settle()
        written_s = time.monotonic()

        async def old_enough() -> bool:
            """What is read from Pipedrive counts as so much older: sooner it says nothing about what was written."""
            return time.monotonic() - written_s > REST_READ_SLACK_MS / 1000 + 1

        await until(old_enough)
        await self.api.put(f"/secrets/flow/{FLOW}/netsuite-push", {"value": {"keys": [{"id": "a", "secret": SECRET}]}})

    async def pushes(self, *, on: bool) -> None:
        url = f"{self.stack.urls['ingest']}/webhooks/netsuite/{FLOW}" if on else ""
        facts = {"account": ACCOUNT, "push_url": url, "push_secret": SECRET}
        (await self.http.post(f"{self._sandbox}/accounts", json=facts)).raise_for_status()

    async def edit(self, external_id: str, **fields: Any) -> None:
        """As a person would, in NetSuite's own pages."""
        url = f"{self._sandbox}/records/{ACCOUNT}/customer/eid:{external_id}"
        (await self.http.patch(url, json=fields)).raise_for_status()

    async def slowly(self, latency_ms: int) -> None:
        (await self.http.post(f"{self._sandbox}/settings", json={"latency_ms": latency_ms})).raise_for_status()

    async def asks(self) -> bool:
        """NetSuite is asked what changed, and has not answered yet."""
        log = (await self.http.get(f"{self._sandbox}/log")).json()["entries"]
        return bool(log) and log[-1]["path"].startswith("/services/rest/query") and not log[-1].get("status")

    async def holds(self, external_id: str) -> str:
        rows = (await self.http.get(f"{self._sandbox}/records/{ACCOUNT}/customer")).json()
        return str(next(row["companyName"] for row in rows if row["externalId"] == external_id))

    async def drift(self, **query: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.api.get("/drift", flow=FLOW, **query))["drift"]
        return found

    async def policy(self, policy: str) -> None:
        document = self.stack.flow_document()
        document["netsuite"]["drift"] = policy
        await self.api.post("/flows", {"document": document})

    async def mlc(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": "/usr/bin:/bin", **self.stack.commands_environment()}
        return await asyncio.to_thread(
            lambda: subprocess.run(
                [MLC, *arguments], capture_output=True, text=True, env=environment, check=False, timeout=120
            )
        )

    async def changes_in_pipedrive(self) -> list[str]:
        log = (await self.http.get(f"{self.stack.urls['pipedrive']}/_sandbox/log")).json()
        return [f"{one['method']} {one['path']}" for one in log if one["method"] != "GET"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def finance() -> AsyncIterator[Finance]:
    async with Living(StackOptions(processes=ALL)) as living, httpx2.AsyncClient(timeout=30) as http:
        one = Finance(living, http)
        await one.begin()
        yield one
        await one.api.close()


async def test_a_poll_finds_an_edit_that_nobody_pushed(finance: Finance) -> None:
    before = await finance.changes_in_pipedrive()
    clean = await finance.mlc("netsuite", "poll", FLOW)
    await finance.edit("pd-org-1", companyName="Acme, as finance calls it")

    found = await finance.mlc("netsuite", "poll", FLOW, "--json")
    again = await finance.mlc("netsuite", "poll", FLOW)
    listed = await finance.mlc("drift", "list", FLOW)
    story = await finance.mlc("record", "show", "org", "1")

    assert clean.returncode == 0, clean.stdout + clean.stderr
    ended = json.loads(found.stdout)
    assert (found.returncode, ended["state"], ended["found"], ended["did"]) == (
        1, "done", {"different": 1}, {"reported": 1},
    )  # fmt: skip
    assert (again.returncode, "0 compared" in again.stdout) == (0, True), again.stdout + again.stderr
    assert "Acme, as finance calls it" in listed.stdout
    assert "in NetSuite different" in story.stdout
    assert await finance.changes_in_pipedrive() == before


async def test_an_edit_that_is_pushed_is_told_within_seconds(finance: Finance) -> None:
    await finance.pushes(on=True)
    started_s = time.monotonic()
    await finance.edit("pd-org-2", companyName="Bolt, as finance calls it")

    async def told() -> bool:
        return any(one["source_id"] == "2" and one["state"] == "open" for one in await finance.drift())

    await until(told, within_s=30)
    took_s = time.monotonic() - started_s

    [one] = [one for one in await finance.drift() if one["source_id"] == "2"]
    [field] = [field for field in one["fields"] if field["field"] == "companyName"]
    assert (field["should"], field["holds"]) == ("Bolt", "Bolt, as finance calls it")
    assert one["found_by"].startswith("push-")
    assert took_s < 20, "a second of gathering, a page of Pipedrive's, a query; on a machine that is busy"


async def test_by_policy_the_field_is_back_and_the_record_says_why(finance: Finance) -> None:
    await finance.policy("assert")
    await finance.edit("pd-org-2", companyName="Bolt, once more")

    async def back() -> bool:
        return await finance.holds("pd-org-2") == "Bolt"

    await until(back, within_s=60)

    async def told() -> bool:
        return bool(await finance.drift(state="asserted"))

    await until(told, within_s=30)
    [one] = await finance.drift(state="asserted")
    outcome = await finance.api.get("/timeline", cause=one["asserted_by"])
    assert one["asserted_by"].startswith("syn:drift-push-")
    assert "written" in {entry["state"] for entry in outcome["entries"]}


async def test_a_writer_that_is_killed_in_a_poll_loses_nothing(finance: Finance) -> None:
    await finance.pushes(on=False)
    await finance.edit("pd-org-1", companyName="Acme, edited again")
    await finance.slowly(3_000)
    made = json.loads((await finance.mlc("netsuite", "poll", FLOW, "--no-wait", "--json")).stdout)
    await until(finance.asks, within_s=30)
    await finance.stack.kill(WRITER)
    await finance.slowly(0)
    await finance.stack.start_one(WRITER)

    async def ended() -> bool:
        return bool((await finance.api.get(f"/polls/{made['id']}"))["state"] == "done")

    await until(ended, within_s=60)

    assert (await finance.api.get(f"/polls/{made['id']}"))["did"] == {"asserted": 1}

    async def back() -> bool:
        return await finance.holds("pd-org-1") == "Acme"

    await until(back, within_s=60)


async def test_wrong_input_says_what_to_do(finance: Finance) -> None:
    cases = {
        ("netsuite", "poll", "nobody"): "nobody",
        ("netsuite", "poll", FLOW, "--since", "2199-01-01"): "in the future",
        ("netsuite", "cancel-poll", "0" * 12): "there is no poll",
        ("drift", "list", "nobody"): "there is no flow nobody",
        ("schedule", "gaps", "--flow", "nobody"): "there is no flow nobody",
    }
    for arguments, says in cases.items():
        answer = await finance.mlc(*arguments)
        assert (answer.returncode != 0, says in answer.stderr) == (True, True), answer.stdout + answer.stderr
