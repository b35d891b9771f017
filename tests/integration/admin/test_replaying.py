"""Dead letters are explained, replayed, edited and discarded, with every real part but the vendors."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator

import httpx2
import pytest
import pytest_asyncio

from ml_connector.cli.stack import ACCOUNT
from ml_connector.common import topics
from ml_connector.common.keys import outcome_key
from ml_connector.common.wire import Outcome
from support.operating import Operating, RefusedError, webhook
from support.writing import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

NUMBERS = iter(range(1, 10_000, 50))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def operating() -> AsyncIterator[Operating]:
    async with Operating() as one:
        yield one


async def letters(operating: Operating, count: int) -> list[str]:
    """Ids of fresh ones, oldest first."""
    first = next(NUMBERS)
    found = await operating.rejected(count, first=first)
    mine = [letter for letter in found if first <= int(letter["source_id"]) < first + count]
    return [letter["id"] for letter in sorted(mine, key=lambda letter: int(letter["source_id"]))]


async def commits(operating: Operating) -> dict[str, int]:
    """How often NetSuite wrote each external id."""
    async with httpx2.AsyncClient() as http:
        log = (await http.get(f"{operating.stack.urls['netsuite']}/_sandbox/log")).json()["entries"]
    found: dict[str, int] = {}
    for line in log:
        if line["commit_seq"] is not None:
            found[line["external_id"]] = found.get(line["external_id"], 0) + 1
    return found


async def test_letter_says_what_failed_and_what_helps(operating: Operating) -> None:
    (letter_id,) = await letters(operating, 1)

    letter = await operating.api.get(f"/dead-letters/{letter_id}")

    assert (letter["stage"], letter["code"], letter["field"]) == ("map", "MAPPING", "companyName")
    assert letter["suggested_fix"].startswith("Change the flow's expression")
    assert letter["event"]["data"]["name"] == f"Company {letter['source_id']}"
    assert letter["event_at"].startswith("pipedrive.events/")
    assert (letter["state"], letter["edited"], letter["replays"]) == ("open", None, [])


async def test_replay_with_today_s_mapping_writes_each_record_once(operating: Operating) -> None:
    ids = await letters(operating, 20)
    group = (await operating.api.get(f"/dead-letters/{ids[0]}"))["group"]

    made = await operating.api.replay({"ids": ids})
    replay = await operating.api.ended(made["id"])

    items = (await operating.api.get(f"/replays/{made['id']}/items", limit=500))["items"]
    assert (replay["state"], replay["items"]) == ("done", {"written": 20})
    written = await commits(operating)
    assert all(written[item["record_key"].rpartition("/")[2]] == 1 for item in items)
    resolved = [await operating.api.get(f"/dead-letters/{one}") for one in ids]
    assert {(one["state"], one["resolution"]) for one in resolved} == {("resolved", "written")}
    groups = (await operating.api.get("/dead-letters/groups", state="open"))["groups"]
    assert not [one for one in groups if one["group"] == group and one["letters"] >= 20]


async def test_replay_with_the_original_version_fails_the_same_way_again(operating: Operating) -> None:
    """The letter was mapped with the version that has the fault."""
    ids = await letters(operating, 2)

    made = await operating.api.replay({"ids": ids}, mapping="original")
    replay = await operating.api.ended(made["id"])

    assert replay["items"] == {"dead_lettered": 2}
    old = [await operating.api.get(f"/dead-letters/{one}") for one in ids]
    assert {(one["state"], one["resolution"]) for one in old} == {("resolved", "dead_lettered")}
    new = await operating.api.letters(state="open", record_key=old[0]["record_key"])
    assert [one["replay_of"] for one in new] == [old[0]["cause"]]


async def test_dry_run_tells_what_would_be_written_and_writes_nothing(operating: Operating) -> None:
    ids = await letters(operating, 3)
    before = await commits(operating)

    made = await operating.api.replay({"ids": ids}, dry_run=True)
    replay = await operating.api.ended(made["id"])

    items = (await operating.api.get(f"/replays/{made['id']}/items"))["items"]
    assert (replay["state"], replay["items"]) == ("done", {"would_be_written": 3})
    numbers = [int(item["record_key"].rpartition("-")[2]) for item in items]
    assert [item["found"]["fields"]["companyName"] for item in items] == [f"Company {number}" for number in numbers]
    assert await commits(operating) == before
    assert {(await operating.api.get(f"/dead-letters/{one}"))["state"] for one in ids} == {"open"}


async def test_letter_of_an_older_state_resolves_itself_when_a_newer_one_is_written(operating: Operating) -> None:
    (letter_id,) = await letters(operating, 1)
    number = int((await operating.api.get(f"/dead-letters/{letter_id}"))["source_id"])

    await operating.events([webhook(number, operating.stack.company_id, at_ms=time.time_ns() // 1_000_000 + 2000)])

    async def resolved() -> bool:
        return bool((await operating.api.get(f"/dead-letters/{letter_id}"))["state"] == "resolved")

    await until(resolved, within_s=30)
    made = await operating.api.replay({"ids": [letter_id]})
    assert made["items"] == {"skipped": 1}


async def test_edited_copy_is_checked_by_the_resolver_and_taken_by_the_replay(operating: Operating) -> None:
    (letter_id,) = await letters(operating, 1)
    letter = await operating.api.get(f"/dead-letters/{letter_id}")
    event = {**letter["event"], "data": {**letter["event"]["data"], "name": "Corrected by hand"}}

    preview = await operating.api.put(f"/dead-letters/{letter_id}/edited", {"event": event, "reason": "a typo"})
    made = await operating.api.replay({"ids": [letter_id]})
    await operating.api.ended(made["id"])

    after = await operating.api.get(f"/dead-letters/{letter_id}")
    assert (preview["result"], preview["fields"]["companyName"]) == ("desired", "Corrected by hand")
    assert (after["event"]["data"]["name"], after["edited"]["data"]["name"]) == (
        letter["event"]["data"]["name"],
        "Corrected by hand",
    )
    timeline = await operating.api.get("/timeline", q=f"org {letter['source_id']}")
    acts = [entry for entry in timeline["entries"] if entry["kind"] == "act"]
    assert [act["entry"]["act"] for act in acts] == ["dead_letters.edit"]


async def test_edited_copy_stays_the_same_object(operating: Operating) -> None:
    (letter_id,) = await letters(operating, 1)
    event = (await operating.api.get(f"/dead-letters/{letter_id}"))["event"]
    other = {**event, "meta": {**event["meta"], "entity_id": "4711"}}

    with pytest.raises(RefusedError, match=r"event\.meta: must stay as it is") as refused:
        await operating.api.put(f"/dead-letters/{letter_id}/edited", {"event": other, "reason": "mischief"})
    assert refused.value.status == 422


async def test_discarded_letter_says_who_and_why_and_is_skipped(operating: Operating) -> None:
    ids = await letters(operating, 2)

    done = await operating.api.post("/dead-letters/discard", {"selection": {"ids": ids}, "reason": "a test company"})

    letter = await operating.api.get(f"/dead-letters/{ids[0]}")
    acts = (await operating.api.get("/acts", target=ids[0]))["acts"]
    made = await operating.api.replay({"ids": ids})
    assert (done["discarded"], letter["state"], letter["discarded_because"]) == (2, "discarded", "a test company")
    assert [(act["actor"], act["act"], act["reason"]) for act in acts] == [
        ("anna", "dead_letters.discard", "a test company")
    ]
    assert made["items"] == {"skipped": 2}
    with pytest.raises(RefusedError) as refused:
        await operating.api.post("/dead-letters/discard", {"selection": {"ids": ids}, "reason": "again"})
    assert (refused.value.status, refused.value.problem) == (409, f"dead letter {min(ids)} is discarded")


async def test_rate_is_kept_and_a_paused_replay_goes_on_where_it_was(operating: Operating) -> None:
    ids = await letters(operating, 12)
    started_s = time.monotonic()

    made = await operating.api.replay({"ids": ids}, rate_per_s=8)
    await operating.api.post(f"/replays/{made['id']}/pause", {"reason": "have a look"})
    paused = await operating.api.get(f"/replays/{made['id']}")
    await operating.api.post(f"/replays/{made['id']}/start", {"reason": "looks good"})
    replay = await operating.api.ended(made["id"])

    assert paused["state"] == "paused" and paused["issued"] < 12
    assert (replay["state"], replay["items"]) == ("done", {"written": 12})
    assert time.monotonic() - started_s >= 11 / 8 - 0.5


async def test_replay_stops_after_so_many_failures(operating: Operating) -> None:
    ids = await letters(operating, 10)

    made = await operating.api.replay({"ids": ids}, mapping="original", rate_per_s=10, stop_after=2)
    replay = await operating.api.ended(made["id"])

    assert replay["state"] == "paused" and "records failed again" in replay["why"]
    assert 2 <= replay["items"]["dead_lettered"] < 10


async def test_sum_is_right_in_the_end(operating: Operating) -> None:
    """Counted from the topics, with all that was replayed above."""
    await operating.api.until_level()

    (account,) = (await operating.api.post("/accounting"))["accounts"]

    assert (account["account"], account["balanced"]) == (ACCOUNT, True), account
    outcomes = sum(account[kind] for kind in ("written", "superseded", "ignored", "dead_lettered"))
    assert account["accepted"] == outcomes + account["waiting"] > 50


async def test_restarted_admin_service_knows_everything_from_the_topics(operating: Operating) -> None:
    """Its database is deleted while it is down."""
    before = await known(operating)
    await operating.stack.stop_one("admin")
    for file in operating.stack._home.glob("admin.sqlite*"):
        file.unlink()

    await operating.stack.start_one("admin")
    await operating.api.until_level()

    assert await known(operating) == before


async def known(operating: Operating) -> dict[str, object]:
    await operating.api.until_level()
    letters = await operating.api.letters(state="open"), await operating.api.letters(state="resolved")
    replays = (await operating.api.get("/replays", limit=500))["replays"]
    return {
        "letters": letters,
        "discarded": await operating.api.letters(state="discarded"),
        "replays": [{**one, "items": None if one["dry_run"] else one["items"]} for one in replays],
        "acts": (await operating.api.get("/acts", limit=500))["acts"],
    }


async def test_two_replays_at_once_do_not_disturb_each_other(operating: Operating) -> None:
    ids = await letters(operating, 10)

    made = [await operating.api.replay({"ids": part}) for part in (ids[:5], ids[5:])]
    ended = await asyncio.gather(*(operating.api.ended(one["id"]) for one in made))

    assert [one["items"] for one in ended] == [{"written": 5}, {"written": 5}]


async def test_difference_that_stays_is_told_with_its_causes(operating: Operating) -> None:
    """An outcome that nobody asked for, as a bug somewhere would leave it."""
    planted = Outcome(
        cause="9:planted",
        flow="acme-eu",
        company="acme-eu",
        account=ACCOUNT,
        record_key="1234567_sb1/customer/pd-org-999999",
        outcome="written",
        received_at_ms=time.time_ns() // 1_000_000,
        at_ms=time.time_ns() // 1_000_000,
    )
    key = outcome_key(planted.cause, planted.record_key).encode()
    await operating.producer.send(topics.AUDIT.name, key=key, value=planted.encode(), partition=0)
    await operating.api.until_level()

    (account,) = (await operating.api.post("/accounting"))["accounts"]

    assert (account["balanced"], account["unexplained"], account["lost"]) == (False, ["9:planted"], [])
    assert (await operating.api.get("/accounting"))["accounts"] == [account]
    lines = [json.loads(line) for line in operating.stack.last_lines("admin") if line.startswith("{")]
    assert [line["count"] for line in lines if line["event"] == "accounting_differs"][-1:] == [1]
