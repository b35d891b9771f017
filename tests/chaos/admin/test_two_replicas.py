"""Two replicas on one PostgreSQL: one works, both answer; when the one that works is killed, the other goes on."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from ml_connector.cli.stack import ALL, StackOptions
from support import postgres
from support.operating import Api, Operating
from support.writing import until

LETTERS, RATE_PER_S = 120, 30


@pytest.fixture
def database_url() -> Iterator[str]:
    try:
        with postgres.start() as server:
            yield server.database()
    except postgres.Missing as error:
        pytest.skip(str(error))


@pytest.mark.timeout(240)
async def test_other_replica_takes_over_in_the_middle_of_a_replay(database_url: str) -> None:
    options = StackOptions(
        processes=ALL, scale={"admin": 2}, environment={"admin": {"MLC_ADMIN_DATABASE_URL": database_url}}
    )
    async with Operating(options) as operating:
        replicas = {name: operating.api_of(name) for name in ("admin", "admin#2")}
        letters = await operating.rejected(LETTERS)
        seen_by_the_other = await replicas["admin#2"].letters()
        made = await replicas["admin#2"].replay({"filter": {"state": "open"}}, rate_per_s=RATE_PER_S)

        await until_issued(replicas["admin"], made["id"], LETTERS // 3)
        pids = operating.stack.pids()
        os.kill(pids["admin"], signal.SIGKILL)  # whether it leads or not: the other one has to do without it
        replay = await replicas["admin#2"].ended(made["id"], within_s=90)

        assert {letter["id"] for letter in seen_by_the_other} == {letter["id"] for letter in letters}
        assert (replay["state"], replay["items"]) == ("done", {"written": LETTERS})
        (account,) = (await replicas["admin#2"].post("/accounting"))["accounts"]
        assert account["balanced"], account


async def until_issued(api: Api, replay: str, count: int) -> None:
    async def so_far() -> bool:
        return bool((await api.get(f"/replays/{replay}"))["issued"] >= count)

    await until(so_far, within_s=60)
