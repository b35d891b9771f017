"""What happened while Pipedrive delivered nothing comes to NetSuite all the same: created, changed, deleted, merged.

The ban lasts half an hour, as Pipedrive's does; the clocks of both vendors and of all services are put forward over it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import pytest

from ml_connector.cli.reading import newest_by_key
from ml_connector.cli.stack import ADMIN, ALL, COMPANY, FLOW, StackOptions
from ml_connector.common import topics
from ml_connector.common.deliveries import Deliveries, deliveries_key
from support.living import Living
from support.operating import Api
from support.writing import until

pytestmark = pytest.mark.timeout(400)

BEFORE_BAN = 10  # failed first attempts
BAN_S = 1_800
AHEAD = Path(__file__).parents[1] / "support" / "ahead"
SERVICES = ("ingest", "resolver", "netsuite-writer", ADMIN)


def options(ahead: Path) -> StackOptions:
    shared = {"PYTHONPATH": str(AHEAD), "AHEAD_FILE": str(ahead)}
    more = {"resolver": {"MLC_WEBHOOKS_LOOK_S": "1"}}
    return StackOptions(processes=ALL, environment={name: shared | more.get(name, {}) for name in SERVICES})


class Banned:
    """A company of some organizations, whose webhook is banned."""

    def __init__(self, living: Living, http: httpx2.AsyncClient, ahead: Path) -> None:
        self.living = living
        self._ahead = ahead
        self.api = Api(living.stack.urls[ADMIN], living.stack.admin_key_pem)
        self._http = http

    async def pass_time(self, seconds: int) -> None:
        """NetSuite's clock first, Pipedrive's last: nobody sees a login or an event that comes from the future."""
        await self._move("netsuite", seconds)
        new = self._ahead.with_suffix(".new")
        new.write_text(str(int(self._ahead.read_text()) + seconds))
        new.replace(self._ahead)
        await self._move("pipedrive", seconds)

    async def _move(self, vendor: str, seconds: int) -> None:
        url = f"{self.living.stack.urls[vendor]}/_sandbox/clock"
        (await self._http.post(url, json={"advance_s": seconds})).raise_for_status()

    async def is_seen_well(self) -> bool:
        return (await self._deliveries()).well_ms > 0

    async def is_seen_failing(self) -> bool:
        return (await self._deliveries()).bad_from_ms > 0

    async def is_seen_well_again(self) -> bool:
        return (await self._deliveries()).bad_to_ms > 0

    async def _deliveries(self) -> Deliveries:
        value = newest_by_key(self.living.kafka, topics.STATE.name).get(deliveries_key(COMPANY, FLOW))
        return Deliveries(FLOW) if value is None else Deliveries.decode(value)

    async def ban(self) -> list[str]:
        """Ten deliveries fail at their first attempt, since nobody listens, which the resolver sees; then somebody does."""
        await self.living.stack.kill("ingest")
        failing = [await self.living.create("organization", {"name": f"Failing {n}"}) for n in range(BEFORE_BAN)]
        await until(self.is_banned, within_s=10)
        await until(self.is_seen_failing, within_s=30)
        await self.living.stack.start_one("ingest")
        return failing

    async def is_banned(self) -> bool:
        deliveries = await self._vendor("deliveries")
        return sum(1 for one in deliveries if one["attempt"] == 1 and not one["status"]) >= BEFORE_BAN

    async def lost(self) -> int:
        return len(await self._vendor("lost"))

    async def runs(self) -> list[dict[str, Any]]:
        entries = (await self.api.get("/catch-ups", flow=FLOW))["catch_ups"]
        return [run for entry in entries for run in entry["runs"]]

    async def has_begun(self) -> bool:
        return bool(await self.runs())

    async def is_caught_up(self) -> bool:
        try:
            entries = (await self.api.get("/catch-ups", flow=FLOW))["catch_ups"]
        except httpx2.TransportError:
            return False
        return [entry["gap"] is None and {run["phase"] for run in entry["runs"]} <= {"done"} for entry in entries] == [
            True
        ]

    async def _vendor(self, what: str) -> Any:
        return (await self._http.get(f"{self.living.stack.urls['pipedrive']}/_sandbox/{what}")).json()


async def test_nothing_of_a_ban_is_lost_though_admin_is_killed_while_it_catches_up(tmp_path: Path) -> None:
    ahead = tmp_path / "ahead"
    ahead.write_text("0")
    async with Living(options(ahead)) as living, httpx2.AsyncClient(timeout=30) as http:
        company = Banned(living, http, ahead)
        changed, deleted, loser, winner = [
            await living.create("organization", {"name": name}) for name in ("Changed", "Deleted", "Loser", "Winner")
        ]
        person = await living.create("person", {"name": "Ann Old", "org_id": {"$ref": winner}})
        gone = await living.create("person", {"name": "Gone Person", "org_id": {"$ref": winner}})
        await living.settle()
        await until(company.is_seen_well, within_s=30)

        failing = await company.ban()
        await until(company.is_seen_well_again, within_s=60)
        before = await company.lost()
        created = await living.create("organization", {"name": "Created"})
        deal = await living.create("deal", {"title": "A deal", "org_id": {"$ref": created}})
        await company.pass_time(BAN_S // 2)
        await living.update(changed, {"name": "Changed while banned"})
        await living.update(person, {"name": "Ann New"})
        await living.delete(deleted)
        await company.pass_time(BAN_S // 2 - 180)
        await living.delete(gone)
        await living.merge(loser, winner)
        assert await company.lost() - before == 8, "a merge is two; no webhook told of any"
        assert not await company.runs()
        await company.pass_time(180)
        after = await living.create("organization", {"name": "Delivered again"})
        assert await company.lost() - before == 8

        await until(company.has_begun, within_s=60)
        await living.stack.kill(ADMIN)
        await living.stack.start_one(ADMIN)
        await until(company.is_caught_up, within_s=90)
        account = await living.settle(within_s=60)

        names = {
            ref: (await living.record(ref) or {}).get("companyName")
            for ref in (changed, created, winner, after, *failing)
        }
        inactive = {ref: (await living.record(ref) or {}).get("isInactive") for ref in (deleted, gone, loser, winner)}
        assert names == {
            changed: "Changed while banned",
            created: "Created",
            winner: "Winner",
            after: "Delivered again",
            **{ref: f"Failing {number}" for number, ref in enumerate(failing)},
        }
        assert inactive == {deleted: True, gone: True, loser: True, winner: None}
        assert (await living.record(person) or {})["firstName"] == "Ann"
        assert (await living.record(person) or {})["lastName"] == "New"
        assert (await living.record(deal) or {})["title"] == "A deal"
        assert {await living.writes(ref) for ref in failing} == {1}, "read again, and not written again"
        assert account.balanced
        assert [run["missing"] for run in await company.runs() if run["missing"]] == [3]
        await company.api.close()
