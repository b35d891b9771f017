"""`mlc reconcile`: one company with a difference of each kind; each is named with its cause, and mended where it can be."""

from __future__ import annotations

import csv
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from e2e.test_sync import COUNTS, Company
from ml_connector.cli.stack import ACCOUNT, ADMIN, ALL, FLOW, StackOptions
from support.living import Living
from support.operating import Api
from support.writing import until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

EDITED, MISSED, FAILED, WAITING = 1, 2, 5, 6
NOT_OURS = 99_999


class Planted(Company):
    """With what somebody does in NetSuite, and what is lost on the way from Pipedrive."""

    deleted, deleted_there = 0, 0

    async def plant(self) -> None:
        used = {row["org_id"] for entity in ("person", "deal") for row in await self._rows(entity)}
        self.deleted, self.deleted_there, *_ = sorted(set(range(WAITING + 1, 41)) - used)
        await self.in_netsuites_pages("PATCH", EDITED, {"companyName": "By hand"})
        await self.change("organization", MISSED, {"name": "Nobody was told"}, delivery="drop")
        await self.in_netsuites_pages("DELETE", self.deleted_there)
        await self._http.delete(
            f"{self._list('organization')}/{self.deleted}", headers={**self._token, "x-sandbox-delivery": "drop"}
        )
        extra = [{"externalId": f"pd-org-{NOT_OURS}", "fields": {"companyName": "Not ours", "subsidiary": {"id": "1"}}}]
        (await self._http.post(self._records(), json=extra)).raise_for_status()
        await self.change("organization", FAILED, {"name": "x" * 200})
        await until(self._has_letter, within_s=60)
        await self._remap()
        await self.api.post(f"/flows/{FLOW}/pause", {})
        await self.change("organization", WAITING, {"name": "On its way"})
        await until(self._waits, within_s=60)

    async def in_netsuites_pages(self, method: str, number: int, body: Any = None) -> None:
        url = f"{self._records()}/eid:pd-org-{number}"
        (await self._http.request(method, url, json=body)).raise_for_status()

    def _records(self) -> str:
        return f"{self.stack.urls['netsuite']}/_sandbox/records/{ACCOUNT}/customer"

    async def _remap(self) -> None:
        """Deals get another title."""
        known = (await self.api.get(f"/flows/{FLOW}"))["document"]
        known["entities"]["deal"]["fields"]["title"] = 'data.title + " (deal)"'
        admin = Api(self.stack.urls[ADMIN], self.stack.admin_key_pem, role="admin")
        await admin.post("/flows", {"document": known})
        await admin.close()

    async def _has_letter(self) -> bool:
        return len(await self.api.letters()) == 1

    async def _waits(self) -> bool:
        found = await self.api.get("/records", external_id=f"pd-org-{WAITING}")
        return bool(found["records"][0]["records"][0]["waiting"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def company() -> AsyncIterator[Planted]:
    async with Living(StackOptions(processes=ALL)) as living, httpx2.AsyncClient(timeout=30) as http:
        one = Planted(living, http)
        await one.begin()
        assert (await one.mlc("sync", FLOW, "--full", "--yes", "--follow")).returncode == 0
        await one.plant()
        yield one
        await one.api.close()


def causes(report: dict[str, Any]) -> dict[tuple[str, str], tuple[str, str, bool]]:
    """By entity and id, but for the deals, which are all alike."""
    return {
        (one["entity"], one["source_id"]): (one["found"], one["causes"][0]["cause"], one["causes"][0]["certain"])
        for one in report["results"]
        if one["entity"] != "deal"
    }


async def test_each_difference_is_named_with_its_cause_and_a_fix_mends_exactly_those_it_can(
    company: Planted, tmp_path: Path
) -> None:
    file = tmp_path / "report.json"
    started = await company.mlc("reconcile", FLOW, "--yes", "--detach")
    job = next(line.split()[1] for line in started.stdout.splitlines() if line.startswith("reconcile "))
    for process in ("netsuite-writer", ADMIN):
        await company.stack.kill(process)
        await company.stack.start_one(process)
    watched = await company.mlc("reconciles", "watch", job)
    written = await company.mlc("reconciles", "results", job, "--format", "json", "--output", str(file))
    sheet = await company.mlc("reconciles", "results", job, "--format", "csv", "--found", "different")

    assert watched.returncode == 1, watched.stdout + watched.stderr
    assert written.returncode == 0, written.stderr
    report = json.loads(file.read_text())
    org = "organization"
    assert causes(report) == {
        (org, str(EDITED)): ("different", "edited_in_netsuite", True),
        (org, str(MISSED)): ("different", "missed_event", True),
        (org, str(company.deleted_there)): ("missing", "deleted_in_netsuite", True),
        (org, str(FAILED)): ("different", "dead_letter", True),
        (org, str(WAITING)): ("waiting", "waiting", True),
        (org, str(company.deleted)): ("extra", "missed_event", False),
        (org, str(NOT_OURS)): ("extra", "not_ours", False),
    }
    deals = [one for one in report["results"] if one["entity"] == "deal"]
    assert {(one["found"], one["causes"][0]["cause"]) for one in deals} == {("different", "mapping_changed")}
    assert len(deals) == COUNTS["deals"]
    rows = list(csv.DictReader(sheet.stdout.splitlines()))
    assert ("By hand", "companyName") in {(row["is"], row["field"]) for row in rows}

    await company.api.post(f"/flows/{FLOW}/resume", {})
    await company.living.settle()
    fixed = await company.mlc("reconciles", "fix", job, "--yes", "--follow")
    again = await company.mlc("reconciles", "fix", job, "--yes")

    assert fixed.returncode == 0, fixed.stdout + fixed.stderr
    assert "to be re-issued, past what was last sent: 3 organizations, 20 deals" in fixed.stdout
    assert "1 record (dead letter)" in fixed.stdout and "2 records (extra)" in fixed.stdout
    assert again.returncode == 2 and f"mends reconcile {job}" in again.stderr

    await company.in_netsuites_pages("DELETE", NOT_OURS)
    await company.change("organization", FAILED, {"name": "Short again"})
    await company.mlc("sync", FLOW, "--ids", str(company.deleted), "--entity", org, "--yes", "--follow")
    await company.living.settle()
    clean = await company.mlc("reconcile", FLOW, "--yes")
    assert clean.returncode == 0, clean.stdout + clean.stderr
