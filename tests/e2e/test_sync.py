"""`mlc sync`: what Pipedrive held before anybody listened comes to NetSuite; an edit on the way wins; again: no write.
And on a schedule, where nobody ever listens.
"""

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

from ml_connector.admin.schedule.due import offset_ms
from ml_connector.cli.demo.vendors import NetsuiteEyes
from ml_connector.cli.reading import newest_by_key
from ml_connector.cli.stack import ADMIN, ALL, COMPANY, FLOW, StackOptions
from ml_connector.common import topics
from support.living import KINDS, SHORT, Living
from support.operating import Api
from support.writing import until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

MLC = str(Path(sys.executable).parent / "mlc")
COUNTS = {"organizations": 40, "persons": 20, "deals": 20}
NAMES = {"organization": ("name", "companyName"), "person": ("last_name", "lastName"), "deal": ("title", "title")}
# What NetSuite takes of a random company.
MAPPED = {
    "organization": {"companyName": "data.name"},
    "person": {"firstName": "data.first_name", "lastName": "data.last_name"},
    "deal": {"title": "data.title", "entityStatus": "stage_status"},
}
SOON_MS = 8_000  # by then everybody has seen the schedule
LATENCY_MS = 150  # so that most of what was read still waits when the edit comes


class Company:
    """Years of records, of which no webhook ever told."""

    def __init__(self, living: Living, http: httpx2.AsyncClient) -> None:
        self.living = living
        self.stack = living.stack
        self.api = Api(self.stack.urls[ADMIN], self.stack.admin_key_pem)
        self._http = http
        self._token = {"x-api-token": self.stack.api_token}
        self._eyes = NetsuiteEyes(http, self.stack.urls["netsuite"], self.stack.private_key_pem)

    async def begin(self) -> Company:
        url = f"{self.stack.urls['pipedrive']}/_sandbox/companies/{COMPANY}/objects"
        (await self._http.post(url, json=COUNTS)).raise_for_status()
        for deal in await self._rows("deal"):
            if deal["org_id"] is None:  # an opportunity needs a customer
                await self.change("deal", deal["id"], {"org_id": 1}, delivery="drop")
        document = self.stack.flow_document()
        for entity, fields in MAPPED.items():
            document["entities"][entity]["fields"] = fields
        await self._apply(document)
        await self._eyes.log_in()
        return self

    async def live_on_polling(self) -> None:
        """From now on no webhook tells of anything, and a sync begins every minute: the next one in some seconds."""
        document = (await self.api.get(f"/flows/{FLOW}"))["document"]
        document["pipedrive"]["events"] = "none"
        document["schedule"] = {"sync": "* * * * *", "jitter": soon()}
        await self._apply(document)
        url = f"{self.stack.urls['pipedrive']}/api/v1/webhooks"
        for webhook in (await self._http.get(url, headers=self._token)).json()["data"]:
            (await self._http.delete(f"{url}/{webhook['id']}", headers=self._token)).raise_for_status()
        assert (await self._http.get(url, headers=self._token)).json()["data"] == []

    async def _apply(self, document: dict[str, Any]) -> None:
        admin = Api(self.stack.urls[ADMIN], self.stack.admin_key_pem, role="admin")
        await admin.post("/flows", {"document": document})
        await admin.close()

    async def mlc(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": "/usr/bin:/bin", **self.stack.commands_environment()}
        return await asyncio.to_thread(
            lambda: subprocess.run(
                [MLC, *arguments], capture_output=True, text=True, env=environment, check=False, timeout=120
            )
        )

    async def change(self, entity: str, number: int, body: dict[str, Any], *, delivery: str = "") -> None:
        url, headers = self._list(entity), {**self._token, "x-sandbox-delivery": delivery}
        (await self._http.patch(f"{url}/{number}", json=body, headers=headers)).raise_for_status()

    async def in_pipedrive(self) -> dict[tuple[str, str], str]:
        """Names by entity and external id."""
        return {
            (entity, f"pd-{SHORT[entity]}-{row['id']}"): row[name]
            for entity, (name, _) in NAMES.items()
            for row in await self._rows(entity)
        }

    async def _rows(self, entity: str) -> list[dict[str, Any]]:
        found = await self._http.get(self._list(entity), params={"limit": 500}, headers=self._token)
        rows: list[dict[str, Any]] = found.json()["data"]
        return rows

    def _list(self, entity: str) -> str:
        return f"{self.stack.urls['pipedrive']}/api/v2/{entity}s"

    async def in_netsuite(self, wanted: dict[tuple[str, str], str]) -> dict[tuple[str, str], str | None]:
        async def name(entity: str, external_id: str) -> str | None:
            record = await self._eyes.read(KINDS[entity], external_id)
            return None if record is None else record[NAMES[entity][1]]

        return dict(zip(wanted, await asyncio.gather(*(name(*one) for one in wanted)), strict=True))

    async def writes(self) -> int:
        return sum(1 for line in await self.asked() if line["method"] in {"PUT", "PATCH", "POST"})

    async def asked(self) -> list[dict[str, Any]]:
        """What was asked of NetSuite about records."""
        log = (await self._http.get(f"{self.stack.urls['netsuite']}/_sandbox/log")).json()["entries"]
        return [line for line in log if "/record/" in line["path"]]

    async def delivered(self) -> int:
        return len((await self._http.get(f"{self.stack.urls['pipedrive']}/_sandbox/deliveries")).json())

    async def scheduled(self) -> list[dict[str, Any]]:
        """What began by itself, and has ended."""
        found: list[dict[str, Any]] = (await self.api.get("/syncs", state="done"))["syncs"]
        return [one for one in found if one["actor"] == "schedule"]

    async def has_scheduled(self) -> bool:
        return bool(await self.scheduled())

    async def slowly(self) -> None:
        """The next list takes a while."""
        fault = {"company": COMPANY, "match": "/api/v2/organizations", "delay_s": 3, "count": 1}
        (await self._http.post(f"{self.stack.urls['pipedrive']}/_sandbox/faults", json=fault)).raise_for_status()

    async def has_walk(self, sync: str, states: set[str]) -> bool:
        return (await self.api.get(f"/syncs/{sync}"))["walks"][0]["state"] in states

    async def is_forgotten(self, sync: str) -> bool:
        """The owner keeps nothing of it any more."""
        state = await asyncio.to_thread(newest_by_key, self.living.kafka, topics.STATE.name)
        return not [key for key in state if key.startswith(f"{COMPANY}/sync/{sync}/")]

    async def has_read_organizations(self, sync: str) -> bool:
        walk = (await self.api.get(f"/syncs/{sync}"))["walks"][0]
        return bool(walk["state"] == "done" and walk["read"] == COUNTS["organizations"])


def soon() -> int:
    """The jitter by which this flow's part of a minute begins in some seconds: nobody waits for a whole one."""
    second_ms = (time.time_ns() // 1_000_000 + SOON_MS) % 60_000
    return min(range(1, 3_600), key=lambda jitter: abs(offset_ms(FLOW, jitter) % 60_000 - second_ms))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def company() -> AsyncIterator[Company]:
    options = StackOptions(processes=ALL, netsuite_latency_ms=LATENCY_MS)
    async with Living(options) as living, httpx2.AsyncClient(timeout=30) as http:
        one = await Company(living, http).begin()
        yield one
        await one.api.close()


async def test_full_sync_makes_netsuite_equal_and_an_edit_on_the_way_wins(company: Company) -> None:
    asked = await company.mlc("sync", FLOW, "--full")
    assert asked.returncode == 1 and "together: 50 tokens" in asked.stdout and "nothing was started" in asked.stderr

    started = await company.mlc("sync", FLOW, "--full", "--yes", "--json")
    sync = json.loads(started.stdout)["id"]
    await until(lambda: company.has_read_organizations(sync), within_s=60)
    await company.change("organization", 1, {"name": "Renamed before its turn"})
    await company.change("organization", COUNTS["organizations"], {"name": "Renamed at the end"})
    second = await company.mlc("sync", FLOW, "--full", "--yes")
    await company.stack.kill(ADMIN)
    await company.stack.start_one(ADMIN)
    watched = await company.mlc("syncs", "watch", sync)
    await company.living.settle()

    assert (second.returncode, f"sync {sync} of flow {FLOW} is" in second.stderr) in {(2, True), (0, False)}
    assert watched.returncode == 0, watched.stdout + watched.stderr
    assert watched.stdout.startswith(f"sync {sync} is done: 80 read"), watched.stdout
    wanted = await company.in_pipedrive()
    assert len(wanted) == sum(COUNTS.values()) and wanted["organization", "pd-org-1"] == "Renamed before its turn"
    assert await company.in_netsuite(wanted) == wanted


async def test_second_run_writes_nothing_and_knows_that_before(company: Company) -> None:
    before = await company.writes()

    planned = json.loads((await company.mlc("sync", FLOW, "--full", "--dry-run", "--json")).stdout)
    again = await company.mlc("sync", FLOW, "--full", "--yes", "--follow", "--json")

    costs: list[dict[str, Any]] = planned["plan"]["entities"]
    assert [(one["objects"], one["unchanged"]) for one in costs] == [(40, 40), (20, 20), (20, 20)]
    ended = json.loads(again.stdout)
    assert (again.returncode, ended["state"], ended["outcomes"]) == (
        0,
        "done",
        {"written": 80, "waiting": 0, "behind_letters": 0},
    )
    assert await company.writes() == before


async def test_one_record_is_read_anew(company: Company) -> None:
    refreshed = await company.mlc("record", "refresh", "org", "7", "--yes", "--follow", "--json")

    ended = json.loads(refreshed.stdout)
    assert (refreshed.returncode, ended["mode"], ended["ids"]) == (0, "ids", ["7"]), refreshed.stderr
    assert [(one["entity"], one["read"]) for one in ended["walks"]] == [("organization", 1)]


async def test_sync_is_paused_goes_on_and_is_cancelled(company: Company) -> None:
    """The owner stops before the next page; what it read before is read once."""
    await company.slowly()
    started = await company.mlc("sync", FLOW, "--full", "--yes", "--json")
    sync = json.loads(started.stdout)["id"]
    await until(lambda: company.has_walk(sync, {"running", "done"}), within_s=30)
    await company.api.post(f"/syncs/{sync}/pause", {"reason": "lunch"})  # a command may take longer than the list
    stands = {"paused", "done"}  # a list of one page is read to its end
    await until(lambda: company.has_walk(sync, stands), within_s=30)
    paused = await company.api.get(f"/syncs/{sync}")
    await company.mlc("syncs", "resume", sync)
    resumed = await company.mlc("syncs", "watch", sync)

    await company.slowly()
    second = json.loads((await company.mlc("sync", FLOW, "--full", "--yes", "--json")).stdout)["id"]
    await until(lambda: company.has_walk(second, {"running"}), within_s=30)
    cancelled = await company.api.post(f"/syncs/{second}/cancel", {})

    assert (paused["state"], [one["read"] for one in paused["walks"]][1:]) == ("paused", [0, 0])
    assert resumed.returncode == 0 and resumed.stdout.startswith(f"sync {sync} is done: 80 read"), resumed.stderr
    assert cancelled["state"] == "cancelled"
    await until(lambda: company.has_walk(second, {"done", "cancelled"}), within_s=30)
    await until(lambda: company.is_forgotten(second), within_s=30)
    assert [one["read"] for one in (await company.api.get(f"/syncs/{second}"))["walks"]][1:] == [0, 0]


async def test_without_webhooks_a_schedule_brings_what_changed_and_asks_nothing_about_the_rest(
    company: Company,
) -> None:
    await company.live_on_polling()
    asked, delivered = len(await company.asked()), await company.delivered()
    await company.change("organization", 2, {"name": "Nobody was told"})
    await company.change("organization", 3, {"address": {"value": "not mapped"}})  # read, and the same in NetSuite

    await until(company.has_scheduled, within_s=90)
    await company.living.settle()

    sync = (await company.scheduled())[-1]  # newest first
    ids = {line["external_id"] for line in (await company.asked())[asked:]}
    # More are read if all of this took less than a minute: windows overlap.
    assert (sync["mode"], sync["walks"][0]["read"] >= 2) == ("since", True), sync
    assert ids == {"pd-org-2"}
    assert await company.delivered() == delivered
    wanted = {("organization", "pd-org-2"): "Nobody was told"}
    assert await company.in_netsuite(wanted) == wanted
