"""Two writers are killed and frozen, again and again, while thousands of records go through: NetSuite's log is the judge.

Each time the one that is hit owns partitions with unsettled work; what it was is printed. A frozen one stays so until the
other has taken over, then it wakes up and believes for a moment that it is the owner.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import platform
import random
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import inf
from typing import Final

import pytest

from ml_connector.common.kafka.partition import partition_for
from ml_connector.common.keys import external_id, record_key
from ml_connector.common.wire import Desired
from support.board import Board
from support.desired import RECORD_TYPES, key_of
from support.own_account import OwnAccount, newer, unchanged
from support.writing import PARTITIONS, Writing, answer_to

KILLS: Final = int(os.environ.get("WRITER_KILLS", "50"))
RECORDS: Final = int(os.environ.get("WRITER_RECORDS", "20000"))
REPLICAS: Final = ("netsuite-writer", "netsuite-writer#2")
SESSION_S: Final = 3
SETTINGS: Final = {
    "MLC_SESSION_TIMEOUT_S": str(SESSION_S),
    "MLC_BATCH_FROM": "40",
    "MLC_BACKOFF_FIRST_S": "0.2",
    "MLC_QUIET_S": "10",
    "MLC_HOLD_S": "1",
}
LATENCY_MS: Final = 250
EDITED: Final = 0.25  # newer states, for each new record
FEW: Final = 50  # of an account, at least


@dataclass(frozen=True, slots=True)
class Hit:
    """What a kill met: unsettled states, attempts that were open, batches under way, of the victim's partitions."""

    how: str
    victim: str
    waiting: int
    attempts: int
    jobs: int
    back_s: float = 0.0

    @property
    def counts(self) -> bool:
        return self.waiting > 0

    def __str__(self) -> str:
        unsettled = f"{self.waiting:5} unsettled, {self.attempts:3} attempts open, {self.jobs} batches under way"
        return f"{self.how:8} {self.victim:18} {unsettled}; back after {self.back_s:4.1f} s"


class Owners:
    """Which replica has started which partition last, from what they print."""

    def __init__(self) -> None:
        self.of: dict[int, str] = {}
        self.starts: Counter[str] = Counter()

    def hear(self, name: str, line: str) -> None:
        if line.startswith("{") and '"partition_started"' in line:
            self.of[int(json.loads(line)["partition"])] = name
            self.starts[name] += 1

    def owned(self, name: str) -> list[int]:
        return [number for number, owner in self.of.items() if owner == name]


class Load:
    """Four accounts, one in each partition, each with its organizations, persons, deals, and edits of them."""

    def __init__(self, accounts: list[OwnAccount], chance: random.Random) -> None:
        self.accounts = accounts
        self.records = 0
        self._chance = chance
        self._newest: dict[str, dict[str, Desired]] = defaultdict(dict)  # by account, then record
        self._answered: Counter[str] = Counter()  # hydrates, by flow
        self._ids = itertools.count(1)

    async def more(self, records: int) -> None:
        """So many new records and a quarter as many edits, in all accounts alike."""
        share = records // len(self.accounts)
        self.records += share * len(self.accounts)
        for own in self.accounts:
            fresh = list(itertools.islice(self._fresh(own), share))
            newest = self._newest[own.account]
            newest.update((state.record_key, state) for state in fresh)
            edited = self._chance.sample(list(newest), k=min(len(newest), max(FEW, round(share * EDITED))))
            await own.emit(*fresh, *(self._keep(own, newer(newest[key], self._next(newest[key]))) for key in edited))

    def _fresh(self, own: OwnAccount) -> Iterator[Desired]:
        while True:
            number = next(self._ids)
            yield own.state("organization", number)
            yield own.state("person", number, of=number)
            yield own.state("deal", number, of=number)

    async def answer(self, board: Board) -> None:
        """What the resolver would: the newest state."""
        for own in self.accounts:
            questions = board.hydrates[own.flow][self._answered[own.flow] :]
            self._answered[own.flow] += len(questions)
            for hydrate in questions:
                external = external_id("pd", hydrate.entity, hydrate.source_id)
                state = self._newest[own.account][record_key(own.account, RECORD_TYPES[hydrate.entity], external)]
                again = unchanged(state, self._next(state))
                await own.emit(self._keep(own, answer_to(hydrate, again)))

    async def keep_answering(self, board: Board) -> None:
        while True:
            await board.until(lambda: self._asked(board), what=lambda: "asked", within_s=inf)
            await self.answer(board)

    def quiet(self, board: Board) -> bool:
        """Everything is settled, nothing is in doubt any more, and no question open."""
        if self._asked(board) or any(board.open_of(own.account) for own in self.accounts):
            return False
        states = [state for own in self.accounts for state in own.states]
        return all(state.cause in board.outcomes and not board.waits(key_of(state)) for state in states)

    def _asked(self, board: Board) -> bool:
        return any(len(board.hydrates[own.flow]) > self._answered[own.flow] for own in self.accounts)

    def _keep(self, own: OwnAccount, state: Desired) -> Desired:
        self._newest[own.account][state.record_key] = state
        return state

    @staticmethod
    def _next(state: Desired) -> int:
        return state.generation.source_version + 1


class Havoc:
    """Hits one replica at a time."""

    def __init__(self, writing: Writing, board: Board, owners: Owners) -> None:
        self._writing = writing
        self._board = board
        self._owners = owners

    async def hit(self, victim: str, how: str) -> Hit:
        """It stands still while we look at what it owns; then it is killed, or stays so for longer than its session."""
        pid, starts = self._writing.stack.pids()[victim], self._owners.starts[victim]
        os.kill(pid, signal.SIGSTOP)
        await self._board.look()
        lost = self._owners.owned(victim)
        hit = self._met(how, victim, lost)
        began_s = time.monotonic()
        if how == "kill -9":
            os.kill(pid, signal.SIGKILL)
        else:
            await self._until(lambda: not self._owners.owned(victim), f"all of {lost} taken over from {victim}")
            os.kill(pid, signal.SIGCONT)
        await self._until(lambda: self._owners.starts[victim] > starts, f"{victim} back")
        return replace(hit, back_s=time.monotonic() - began_s)

    def _met(self, how: str, victim: str, lost: list[int]) -> Hit:
        """What is unsettled now: the board goes on."""
        found = [self._board.partitions[number] for number in lost]
        return Hit(
            how,
            victim,
            sum(len(under.waiting) for under in found),
            sum(attempt.open for under in found for attempt in under.attempts.values()),
            sum(len(under.jobs) for under in found),
        )

    async def _until(self, condition: Callable[[], bool], what: str) -> None:
        await self._board.until(condition, what=lambda: f"{what}; owners {self._owners.of}", within_s=90)


def one_in_each_partition() -> list[str]:
    """Names of accounts."""
    found: dict[int, str] = {}
    for number in itertools.count(5_000_001):
        found.setdefault(partition_for(f"{number}_SB1".encode(), PARTITIONS), str(number))
        if len(found) == PARTITIONS:
            break
    return list(found.values())


@pytest.mark.timeout(3600)
async def test_killed_and_frozen_writers_lose_double_and_reorder_nothing() -> None:
    """At whatever line each hits."""
    chance, owners, hits = random.Random(11), Owners(), list[Hit]()
    writers = Writing(replicas=2, latency_ms=LATENCY_MS, environment=SETTINGS, keep_alive=True, on_line=owners.hear)
    async with writers as writing, Board.reading(writing) as board:
        load = Load([await OwnAccount.open(writing, name) for name in one_in_each_partition()], chance)
        havoc = Havoc(writing, board, owners)
        answering = asyncio.create_task(load.keep_answering(board))
        await board.until(lambda: all(owners.owned(name) for name in REPLICAS), what=lambda: f"shared: {owners.of}")
        began_s = time.monotonic()
        while sum(hit.counts for hit in hits) < KILLS:
            settled = len(board.outcomes)
            share = min(RECORDS // KILLS, max(0, RECORDS - load.records))
            await load.more(share)
            wanted = settled + chance.randint(1, 1 + share // 2)
            await board.until(lambda: len(board.outcomes) >= wanted, what=lambda: "some settled")  # noqa: B023  awaited here
            hits.append(await havoc.hit(chance.choice(REPLICAS), chance.choice(("kill -9", "freeze"))))
            print(f"{len(hits):3} {hits[-1]}", flush=True)
        hit_s = time.monotonic() - began_s
        await load.more(max(0, RECORDS - load.records))
        await board.until(lambda: load.quiet(board), what=lambda: left(board, load), within_s=600)
        answering.cancel()
        violations = [found for own in load.accounts for found in await own.judged()]

        report(board, load, hits, hit_s, time.monotonic() - began_s)
        print(f"{len(violations)} violations")
        assert violations == []
        assert load.records >= RECORDS


def left(board: Board, load: Load) -> str:
    waiting = sum(len(under.waiting) for under in board.partitions.values())
    return f"quiet; {waiting} wait, open {[key for own in load.accounts for key in board.open_of(own.account)][:20]}"


def report(board: Board, load: Load, hits: list[Hit], hit_s: float, all_s: float) -> None:
    outcomes = Counter(outcome.outcome for same in board.outcomes.values() for outcome in same)
    counted = [hit for hit in hits if hit.counts]
    states = sum(len(own.states) for own in load.accounts)
    hydrates = Counter(hydrate.reason for asked in board.hydrates.values() for hydrate in asked)
    print(
        f"{platform.machine()}, {os.cpu_count()} cores; two writers, {PARTITIONS} accounts of 5 slots, {LATENCY_MS} ms"
    )
    print(f"{load.records} records in {states} states: {dict(outcomes)}; asked again {dict(hydrates)}")
    print(f"{len(counted)} hits counted ({dict(Counter(hit.how for hit in counted))}), {len(hits) - len(counted)} not")
    for name in ("waiting", "attempts", "jobs"):
        found = sorted(getattr(hit, name) for hit in counted)
        print(f"{name} at a hit: least {found[0]}, median {found[len(found) // 2]}, most {found[-1]}")
    print(f"{hit_s:.0f} s of hits, everything settled and no longer in doubt after {all_s:.0f} s")
