"""Who may send a request to an account now, and what a refused login means."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from ml_connector.common.clock import ManualClock
from ml_connector.netsuite_writer.gate import REFUSED_CROWDS, RETRY_AFTER_LONGEST_S, Gate, Slot
from ml_connector.netsuite_writer.govern import Governor
from ml_connector.netsuite_writer.settings import WriterSettings
from ml_connector.netsuite_writer.settle import Answer

GOOD, REFUSED = Answer(204), Answer(401, "INVALID_LOGIN")
SLOTS = 5


def new_gate(clock: ManualClock, *, slots: int = SLOTS) -> Gate:
    chance = random.Random(1)
    settings = WriterSettings(kafka_bootstrap_servers="nowhere:1", store_dir=Path("unused"), hold_s=5)
    return Gate(Governor(slots, chance=chance), settings=settings, clock=clock, chance=chance)


async def let_in(gate: Gate, clock: ManualClock) -> None:
    """One request that succeeds."""
    slot = await gate.enter()
    clock.advance(1)
    gate.leave(GOOD, slot)


async def test_urgent_requests_enter_before_the_others() -> None:
    gate = new_gate(ManualClock(), slots=1)
    slot = await gate.enter()
    entered: list[str] = []

    async def enter(name: str, *, urgent: bool) -> None:
        mine = await gate.enter(urgent=urgent)
        entered.append(name)
        gate.leave(GOOD, mine)

    tasks = [asyncio.create_task(enter(name, urgent=urgent)) for name, urgent in (("a", False), ("b", True))]
    await asyncio.sleep(0)
    gate.leave(GOOD, slot)
    await asyncio.gather(*tasks)

    assert entered == ["b", "a"]


async def test_requests_that_can_wait_have_one_of_sixteen_slots_that_others_want() -> None:
    """Otherwise they go when nobody else wants one."""
    gate = new_gate(ManualClock(), slots=1)
    slot = await gate.enter()
    entered: list[str] = []

    async def enter(name: str, *, spare: bool) -> None:
        mine = await gate.enter(spare=spare)
        entered.append(name)
        gate.leave(GOOD, mine)

    waiting = [("spare", True)] * 3 + [("write", False)] * 20
    tasks = [asyncio.create_task(enter(name, spare=spare)) for name, spare in waiting]
    await asyncio.sleep(0)
    gate.leave(GOOD, slot)
    await asyncio.gather(*tasks)

    assert entered == ["write"] * 15 + ["spare"] + ["write"] * 5 + ["spare"] * 2


async def test_whoever_gives_up_waiting_leaves_its_slot_to_the_next() -> None:
    gate = new_gate(ManualClock(), slots=1)
    slot = await gate.enter()
    first, second = asyncio.create_task(gate.enter()), asyncio.create_task(gate.enter())
    await asyncio.sleep(0)

    gate.leave(GOOD, slot)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)

    assert isinstance(await second, Slot)
    assert gate.governor.in_flight == 1


async def test_a_request_that_nobody_answered_holds_its_slot_for_a_while() -> None:
    clock = ManualClock()
    gate = new_gate(clock, slots=1)
    slot = await gate.enter()
    gate.leave(Answer(0), slot)
    waiting = asyncio.create_task(gate.enter())
    await asyncio.sleep(0)
    clock.advance(4.9)
    gate.wake()
    await asyncio.sleep(0)
    assert not waiting.done()

    clock.advance(0.1)
    gate.wake()

    assert isinstance(await waiting, Slot)


async def test_a_login_refused_while_others_got_in_is_overload() -> None:
    clock = ManualClock()
    gate = new_gate(clock)
    slot = await gate.enter()

    await let_in(gate, clock)

    assert gate.disguises_overload(slot)


async def test_a_login_refused_while_others_may_yet_get_in_is_overload() -> None:
    clock = ManualClock()
    gate = new_gate(clock)
    await let_in(gate, clock)
    slot, _ = await gate.enter(), await gate.enter()

    assert gate.disguises_overload(slot)


async def test_a_login_refused_alone_is_what_it_says() -> None:
    clock = ManualClock()
    gate = new_gate(clock)
    await let_in(gate, clock)

    assert not gate.disguises_overload(await gate.enter())


async def test_logins_refused_before_anybody_ever_got_in_are_what_they_say() -> None:
    gate = new_gate(ManualClock())
    slots = [await gate.enter() for _ in range(SLOTS)]

    assert not any(gate.disguises_overload(slot) for slot in slots)


async def test_logins_refused_again_and_again_are_what_they_say_although_others_are_in_flight() -> None:
    clock = ManualClock()
    gate = new_gate(clock)
    await let_in(gate, clock)
    slots = [await gate.enter() for _ in range(SLOTS)]

    believed = [gate.disguises_overload(slots[number % SLOTS]) for number in range(REFUSED_CROWDS * SLOTS + 1)]

    assert believed == [True] * REFUSED_CROWDS * SLOTS + [False]


async def test_a_success_ends_a_row_of_refused_logins() -> None:
    clock = ManualClock()
    gate = new_gate(clock)
    await let_in(gate, clock)
    for _ in range(3):
        slots = [await gate.enter() for _ in range(SLOTS)]
        assert all(gate.disguises_overload(slot) for slot in slots)
        for slot in slots:
            gate.leave(None, slot)
        await let_in(gate, clock)


async def test_a_refused_login_suspends_and_one_probe_at_a_time_decides() -> None:
    clock = ManualClock()
    gate = new_gate(clock)
    told: list[str] = []
    gate.on_change = lambda: told.append(gate.suspended)
    gate.leave(REFUSED, await gate.enter())
    waiting = [asyncio.create_task(gate.enter()) for _ in range(3)]
    await asyncio.sleep(0)
    assert gate.suspended and not any(task.done() for task in waiting)

    clock.advance(30)
    gate.wake()
    await asyncio.sleep(0)
    assert [task.done() for task in waiting] == [True, False, False]
    gate.leave(GOOD, waiting[0].result())
    await asyncio.gather(*waiting)

    assert [bool(reason) for reason in told] == [True, False]


@pytest.mark.parametrize(
    ("status", "asked_s", "pause_s"), [(429, 7, 7), (503, 7, 7), (429, 86_400, RETRY_AFTER_LONGEST_S)]
)
async def test_nobody_enters_before_the_pause_that_netsuite_asks_for_is_over(
    status: int, asked_s: float, pause_s: float
) -> None:
    clock = ManualClock()
    gate = new_gate(clock)
    await let_in(gate, clock)
    slot, other = await gate.enter(), await gate.enter()

    gate.leave(Answer(status, retry_after_s=asked_s), slot)
    gate.leave(Answer(status, retry_after_s=1), other)  # the longer one counts
    entering = asyncio.create_task(gate.enter(urgent=True))
    clock.advance(pause_s - 0.1)
    gate.wake()
    await asyncio.sleep(0)
    assert not entering.done()

    clock.advance(0.1)
    gate.wake()
    await asyncio.sleep(0)

    assert entering.done()
    assert not gate.suspended
    gate.leave(GOOD, entering.result())
