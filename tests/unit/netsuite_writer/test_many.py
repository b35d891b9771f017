"""A partition with many accounts, much that waits, many doubts: none costs what all of them do."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import pytest
from structlog.testing import capture_logs

from ml_connector.common.flows import parse_flow
from ml_connector.common.wire import Attempt
from ml_connector.netsuite_writer.partition import DOUBTS_AT_ONCE
from ml_connector.netsuite_writer.store import Store, Waiting
from support.desired import ACCOUNT, FLOW, attempted, desired, key_of
from support.office import DOCUMENT
from support.owned import QUIET_S, Owned, owned

MANY: Final = 20


def unanswered(owner: Owned, number: int) -> Attempt:
    """A call of an organization that nobody knows the end of."""
    return attempted(desired("organization", str(number)), at_ms=owner.office.clock.now_ms(), owner="another")


def leave(owner: Owned, count: int) -> None:
    """A former owner's calls."""
    made = [unanswered(owner, number) for number in range(count)]
    owner.start({f"attempt/{one.record_key}": one.encode() for one in made})


# -- doubts ------------------------------------------------------------------------------------------------------------


class Acknowledging:
    """The broker takes its time: none is acknowledged before `go`."""

    def __init__(self, owner: Owned, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go = asyncio.Event()
        self.sent: list[str] = []
        monkeypatch.setattr(owner.office.messages, "attempt", self.attempt)

    async def attempt(self, _: Attempt | None, record: str) -> None:
        self.sent.append(record)
        await self.go.wait()


async def until_all_wait() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_doubts_end_together_as_each_waits_for_the_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that does not come round for a minute is ended."""
    async with owned() as one:
        leave(one, MANY)
        one.office.clock.advance(QUIET_S + 1)
        broker = Acknowledging(one, monkeypatch)
        ticking = asyncio.create_task(one.partition.tick())
        await until_all_wait()

        assert len(broker.sent) == MANY
        broker.go.set()
        await ticking

        assert one.partition.store.attempts() == []


async def test_a_tick_ends_some_doubts_and_the_next_one_others() -> None:
    async with owned() as one:
        leave(one, DOUBTS_AT_ONCE + MANY)
        one.office.clock.advance(QUIET_S + 1)

        await one.partition.tick()
        assert len(one.partition.store.attempts()) == MANY
        await one.partition.tick()

        assert one.partition.store.attempts() == []


async def test_doubts_that_cannot_end_yet_keep_no_other_from_it() -> None:
    """Their records wait to be written."""
    async with owned() as one:
        leave(one, DOUBTS_AT_ONCE + 1)
        one.office.flows.known[FLOW] = replace(one.office.flows.known[FLOW], paused=True)
        one.desire(*(desired("organization", str(number)) for number in range(DOUBTS_AT_ONCE)))
        one.office.clock.advance(QUIET_S + 1)

        await one.partition.tick()

        waiting = [attempt.source_id for attempt in one.partition.store.attempts()]
        assert waiting == [str(number) for number in range(DOUBTS_AT_ONCE)]


async def test_the_doubt_of_a_flow_that_went_ends_in_its_account() -> None:
    async with owned() as one:
        leave(one, 1)
        one.desire(desired("organization", "9"))
        await one.pass_time(1)
        one.office.flows.known.clear()

        await one.pass_time(QUIET_S + 1)

        assert one.partition.store.attempts() == []


async def test_a_call_that_begins_while_a_doubt_is_ended_keeps_its_own_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    async with owned() as one:
        leave(one, 1)
        one.office.clock.advance(QUIET_S + 1)
        broker = Acknowledging(one, monkeypatch)
        ticking = asyncio.create_task(one.partition.tick())
        await until_all_wait()
        assert len(broker.sent) == 1

        newer = unanswered(one, 0)
        one.partition.store.put_attempt(newer.record_key, newer)
        broker.go.set()
        await ticking

        assert one.partition.store.attempts() == [newer]


# -- what waits --------------------------------------------------------------------------------------------------------


async def test_a_backlog_is_taken_in_one_by_one_not_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []

    def read(store: Store) -> Iterator[Waiting]:
        for one in sorted(everything(store)):
            taken.append(len(owner.office.account))
            yield one

    async with owned() as owner:
        everything = Store.all_desired
        monkeypatch.setattr(Store, "all_desired", read)
        owner.start({}, *(desired("organization", str(number)) for number in range(MANY)))

        assert taken == list(range(MANY))


async def test_a_flow_that_becomes_known_has_only_its_accounts_work_read(monkeypatch: pytest.MonkeyPatch) -> None:
    async with owned() as one:
        known = one.office.flows.known.pop(FLOW)
        others = [desired("organization", f"9{end}", account=f"{ACCOUNT}{end}") for end in ("", "0", "1")]
        one.start({}, *others)
        monkeypatch.setattr(Store, "all_desired", lambda _: pytest.fail("everything is read"))
        one.office.flows.known[FLOW] = known

        one.partition.flow_changed(parse_flow(DOCUMENT))
        await one.pass_time(1)

        assert one.outcomes(*others) == ["written", "", ""]
        assert [waiting.key for waiting in one.partition.store.desired_of(f"{ACCOUNT}0".lower())] == [key_of(others[1])]


async def test_an_account_whose_flow_nobody_knows_is_told_once() -> None:
    async with owned() as one:
        one.office.flows.known.clear()
        with capture_logs() as logs:
            leave(one, MANY)
            one.desire(*(desired("organization", str(number)) for number in range(MANY)))
            for _ in range(3):
                await one.pass_time(QUIET_S)

        told: list[Any] = [line["account"] for line in logs if line["event"] == "unknown_flow"]
        assert told == [ACCOUNT.lower()]
