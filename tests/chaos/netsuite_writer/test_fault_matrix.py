"""Every fault of the stand-in, with every kind of request: in the end NetSuite holds what it holds without the fault.

Each cell has an account of its own. The cells of one row run side by side in one writer; a cell's fault meets a few of
its requests while newer states of some records come in. What is in doubt afterwards is answered as the resolver would.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, get_args

import msgspec
import pytest
import pytest_asyncio

from ml_connector.common.wire import Desired, Hydrate, Reference
from ml_connector.sandbox.netsuite.faults import Kind
from support.board import Board
from support.desired import key_of
from support.judging import Violation
from support.own_account import OwnAccount, newer, unchanged
from support.writing import Writing, answer_to

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

REQUEST_TIMEOUT_S: Final = 3.0
SLOW_S: Final = REQUEST_TIMEOUT_S + 1  # an answer that comes too late
LATE_S: Final = 2.0  # a commit that comes late, within the quiet time
SHORT: Final = {
    "MLC_LOG_LEVEL": "warning",
    "MLC_BATCH_FROM": "20",
    "MLC_BACKOFF_FIRST_S": "0.1",
    "MLC_BACKOFF_LONGEST_S": "0.5",
    "MLC_SUSPEND_S": "0.3",
    "MLC_SUSPEND_LONGEST_S": "1",
    "MLC_HOLD_S": str(SLOW_S - REQUEST_TIMEOUT_S + 0.5),
    "MLC_REQUEST_TIMEOUT_S": str(REQUEST_TIMEOUT_S),
    "MLC_QUIET_S": str(REQUEST_TIMEOUT_S + LATE_S),
}
NO_FAULT: Final = ""
KINDS: Final[tuple[str, ...]] = get_args(Kind)
EURO: Final = {"currency": Reference("currency", "EUR")}
NO_ADDRESS: Final = {"email": "no address"}  # NetSuite rejects it
UNSEEN: Final = {"autoName": True}  # no column shows it, so its own result is asked for
_numbers = itertools.count(4_000_001)

Load = Callable[[OwnAccount], tuple[list[Desired], list[Desired]]]


def few(own: OwnAccount) -> tuple[list[Desired], list[Desired]]:
    """Single calls; then newer states of some."""
    customers = own.states_of("organization", range(1, 7))
    deals = [own.state("deal", number, of=number) for number in range(1, 5)]
    return customers + deals, [newer(one, 2) for one in (*customers[:3], *deals[:2])]


def adopted(own: OwnAccount) -> tuple[list[Desired], list[Desired]]:
    """As few; customers have an address, by which they are found."""
    first, second = few(own)
    return [_with_address(one) for one in first], [_with_address(one) for one in second]


def _with_address(state: Desired) -> Desired:
    if state.entity != "organization":
        return state
    return msgspec.structs.replace(state, fields={**state.fields, "email": f"o{state.source_id}@example.com"})


def in_euro(own: OwnAccount) -> tuple[list[Desired], list[Desired]]:
    """Each deal needs the currency's id."""
    customers = own.states_of("organization", range(1, 3))
    deals = [own.state("deal", number, of=1, references=EURO) for number in range(1, 7)]
    return customers + deals, [newer(one, 2) for one in deals[:3]]


def many(own: OwnAccount) -> tuple[list[Desired], list[Desired]]:
    """A batch with one record that is rejected and one that no read-back can show; deals that wait for it."""
    customers = own.states_of("organization", range(101, 131))
    customers[2] = own.state("organization", 103, fields=NO_ADDRESS)
    customers[5] = own.state("organization", 106, fields=UNSEEN)
    deals = [own.state("deal", number, of=number) for number in range(107, 112)]
    return customers + deals, [newer(one, 2) for one in customers[7:17]]


BY_ADDRESS: Final = {"match": {"organization": ["email"]}}


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of request. `match`: how the stand-in tells it; `count`: how many meet the fault."""

    match: Mapping[str, Any]
    load: Load
    count: int = 2
    account: Mapping[str, Any] = field(default_factory=dict)


ROWS: Final[dict[str, Row]] = {
    "single write": Row({"path": "/eid:"}, few, count=4),
    "submission": Row({"method": "PUT", "path": "/customer$"}, many),
    "poll": Row({"path": "/job/[0-9]+$"}, many),
    "list of tasks": Row({"path": "/task/$"}, many),
    "result": Row({"path": "/result$"}, many),
    "read-back": Row({"path": "/suiteql$"}, many),
    "record of a job": Row({"path": "/eid:", "in_job": True}, many, count=6),
    "look-up of a currency": Row({"path": "/suiteql$"}, in_euro),
    "match query": Row({"path": "/suiteql$"}, adopted, account=BY_ADDRESS),
    "adoption": Row({"method": "PATCH", "path": "/customer/[0-9]+$"}, adopted, account=BY_ADDRESS),
    "look-up of a record": Row(
        {"method": "GET", "path": "/eid:"},
        few,
        account={"changes": {"netsuite": {"opportunities": "look-up"}}, "opportunity_upsert": False},
    ),
    "token": Row({"path": "/oauth2/v1/token$"}, few),
}


@dataclass(frozen=True, slots=True)
class End:
    """`held` and `outcomes` by external id; `outcomes` of the newest state of each record."""

    hits: int
    held: dict[str, dict[str, Any]]
    outcomes: dict[str, str]
    violations: list[Violation]


class Matrix:
    """Runs a row when one of its cells is asked for."""

    def __init__(self, writing: Writing, board: Board) -> None:
        self._writing = writing
        self._board = board
        self._rows: dict[str, dict[str, End | BaseException]] = {}

    async def end(self, row: str, kind: str) -> End:
        if row not in self._rows:
            await self._writing.forget_log()
            self._rows[row] = await self._run(ROWS[row])
        found = self._rows[row][kind]
        if isinstance(found, BaseException):
            raise found
        return found

    async def _run(self, row: Row) -> dict[str, End | BaseException]:
        kinds = (NO_FAULT, *KINDS)
        cells = [Cell(self._writing, self._board, row, kind) for kind in kinds]
        ends = await asyncio.gather(*(cell.run() for cell in cells), return_exceptions=True)
        return dict(zip(kinds, ends, strict=True))


class Cell:
    """One account and one fault."""

    def __init__(self, writing: Writing, board: Board, row: Row, kind: str) -> None:
        self._writing = writing
        self._board = board
        self._row = row
        self._kind = kind
        self._answered = 0

    async def run(self) -> End:
        own = await OwnAccount.open(self._writing, str(next(_numbers)), **self._row.account)
        first, second = self._row.load(own)
        if "match" in self._row.account:
            await self._put_there(own, first)
        fault = await self._set(own)
        await own.emit_together(*first)
        await self._board.until(lambda: self._begun(own, fault), what=lambda: "begun")
        await own.emit(*second)
        await self._until_quiet(own)
        newest = {state.external_id: state for state in (*first, *second)}
        return End(
            self._board.hits.get(fault, 0),
            {name: {k: v for k, v in record.items() if k != "entityId"} for name, record in (await own.held()).items()},
            {name: self._board.outcomes[state.cause][0].outcome for name, state in newest.items()},
            await own.judged(client_timeout_s=REQUEST_TIMEOUT_S - 1),
        )

    async def _put_there(self, own: OwnAccount, states: Sequence[Desired]) -> None:
        """Half of the customers are in NetSuite already, without an external id."""
        emails = [state.fields["email"] for state in states if state.entity == "organization"]
        rows = [{"fields": {"companyName": "?", "email": email, "subsidiary": {"id": "2"}}} for email in emails[::2]]
        await self._writing.put_there("customer", *rows, account=own.account)

    async def _set(self, own: OwnAccount) -> int:
        if self._kind == NO_FAULT:
            return 0
        delay_s = LATE_S if self._kind == "late_commit" else SLOW_S
        facts: dict[str, Any] = {"count": self._row.count, "delay_s": delay_s, "match": dict(self._row.match)}
        return await own.fault(self._kind, **facts)

    def _begun(self, own: OwnAccount, fault: int) -> bool:
        if self._kind == NO_FAULT:
            return any(state.cause in self._board.outcomes for state in own.states)
        return self._board.hits.get(fault, 0) > 0

    async def _until_quiet(self, own: OwnAccount) -> None:
        """Everything is settled, nothing is in doubt any more, and every question of the writer was answered."""
        while True:
            await self._board.until(
                lambda: bool(self._unanswered(own)) or self._quiet(own),
                what=lambda: f"settled: {self._board.open_of(own.account)}",
            )
            questions = self._unanswered(own)
            if not questions:
                return
            self._answered += len(questions)
            await own.emit(*(self._answer(own, hydrate) for hydrate in questions))

    def _unanswered(self, own: OwnAccount) -> list[Hydrate]:
        return self._board.hydrates[own.flow][self._answered :]

    def _answer(self, own: OwnAccount, hydrate: Hydrate) -> Desired:
        same = [one for one in own.states if (one.entity, one.source_id) == (hydrate.entity, hydrate.source_id)]
        newest = max(same, key=lambda state: state.generation)
        return answer_to(hydrate, unchanged(newest, newest.generation.source_version + 1))

    def _quiet(self, own: OwnAccount) -> bool:
        board = self._board
        return not board.open_of(own.account) and all(
            state.cause in board.outcomes and not board.waits(key_of(state)) for state in own.states
        )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def matrix() -> AsyncIterator[Matrix]:
    async with Writing(latency_ms=20, environment=SHORT) as writing, Board.reading(writing) as board:
        yield Matrix(writing, board)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("row", ROWS)
async def test_the_end_is_as_without_the_fault(matrix: Matrix, row: str, kind: str) -> None:
    good, end = await matrix.end(row, NO_FAULT), await matrix.end(row, kind)

    assert end.hits > 0, "the fault met no request: this proves nothing"
    assert end.violations == []
    assert end.outcomes == good.outcomes
    assert end.held == good.held


@pytest.mark.parametrize("row", ROWS)
async def test_without_a_fault_all_is_written(matrix: Matrix, row: str) -> None:
    good = await matrix.end(row, NO_FAULT)

    assert good.violations == []
    assert set(good.outcomes.values()) <= {"written", "dead_lettered"}
    assert len(good.held) == len([one for one in good.outcomes.values() if one == "written"])
