"""The admin service is killed again and again in the middle of a replay: nothing is lost, nothing is written twice."""

from __future__ import annotations

import os
import random
import signal
from collections import Counter

import httpx2
import pytest

from ml_connector.cli.stack import ADMIN
from support.operating import Operating
from support.writing import until

LETTERS, RATE_PER_S, KILLS = 300, 60, 4


@pytest.mark.timeout(300)
async def test_killed_replay_goes_on_and_every_record_is_written_once() -> None:
    """Judged by NetSuite's own log, and by the sum of all causes."""
    chance = random.Random(11)
    async with Operating() as operating:
        await operating.rejected(LETTERS)
        made = await operating.api.replay({"filter": {"state": "open"}}, rate_per_s=RATE_PER_S)

        for number in range(1, KILLS + 1):
            await until_issued(operating, made["id"], LETTERS * number // (KILLS + 2) + chance.randrange(20))
            await kill(operating)
        replay = await operating.api.ended(made["id"], within_s=120)

        items = (await operating.api.get(f"/replays/{made['id']}/items", limit=500))["items"]
        written = await commits(operating)
        (account,) = (await operating.api.post("/accounting"))["accounts"]
        assert (replay["state"], replay["items"]) == ("done", {"written": LETTERS})
        assert written == dict.fromkeys((item["record_key"].rpartition("/")[2] for item in items), 1)
        assert account["balanced"], account
        assert account["accepted"] == 2 * LETTERS  # each event, and its replay
        assert {letter["state"] for letter in await operating.api.letters()} <= {"resolved"}


async def kill(operating: Operating) -> None:
    """Until the next one is there."""
    pid = operating.stack.pids()[ADMIN]
    os.kill(pid, signal.SIGKILL)

    async def another() -> bool:
        return operating.stack.pids()[ADMIN] != pid

    await until(another, within_s=30)
    await operating.stack.until_ready(ADMIN)


async def until_issued(operating: Operating, replay: str, count: int) -> None:
    async def so_far() -> bool:
        try:
            return bool((await operating.api.get(f"/replays/{replay}"))["issued"] >= count)
        except httpx2.TransportError:
            return False

    await until(so_far, within_s=60)


async def commits(operating: Operating) -> dict[str, int]:
    """How often NetSuite wrote each external id."""
    async with httpx2.AsyncClient() as http:
        log = (await http.get(f"{operating.stack.urls['netsuite']}/_sandbox/log")).json()["entries"]
    return dict(Counter(line["external_id"] for line in log if line["commit_seq"] is not None))
