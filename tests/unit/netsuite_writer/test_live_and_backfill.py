"""Edits that arrive while a full sync runs win by their generation, in whatever order all of it comes to the writer."""

from __future__ import annotations

import asyncio
import json
import random
from itertools import accumulate
from typing import Any

import httpx2
from hypothesis import given
from hypothesis import settings as options
from hypothesis import strategies as st

from ml_connector.common.generation import of_rest_read
from ml_connector.common.wire import Desired
from support.desired import desired
from support.office import Office, written

T0_MS = 1_785_207_600_000
# Of each edit: ms after the one before. Of each page: when its state is read, how long the request takes, and where in
# that time (or up to a second before) the answer's Date lies.
edits = st.lists(st.integers(1, 20_000), min_size=1, max_size=6)
pages = st.lists(st.tuples(st.integers(0, 120_000), st.integers(0, 9_000), st.floats(0, 1)), max_size=5)


def states(gaps: list[int], reads: list[tuple[int, int, float]]) -> tuple[list[Desired], str]:
    """All that is told of one organization, and its name in the end."""
    moments = [T0_MS + moment for moment in accumulate(gaps)]
    told = [named(moment, f"wh:{number}", number) for number, moment in enumerate(moments)]
    for number, (after_ms, took_ms, where) in enumerate(reads):
        read_ms = moments[0] + after_ms
        date_ms = read_ms - 1_000 + int(where * (1_000 + took_ms))
        version = of_rest_read(date_ms=date_ms, took_ms=took_ms).source_version
        newest = sum(1 for moment in moments if moment <= read_ms) - 1
        told.append(named(version, f"syn:{number}:organization:1", newest, lane="backfill"))
    return told, f"Edit {len(moments) - 1}"


def named(version: int, cause: str, number: int, **more: Any) -> Desired:
    return desired(version=version, cause=cause, fields={"companyName": f"Edit {number}"}, **more)


async def last_name(told: list[Desired], newest: str) -> str:
    """What NetSuite holds in the end. A tie of generations is settled by reading the object once more, as it is."""
    names: list[str] = []

    def vendor(request: httpx2.Request) -> httpx2.Response:
        if request.content:
            names.append(json.loads(request.content).get("companyName", ""))
        return written()

    office = Office(vendor)
    try:
        for state in told:
            office.accept(state)
            await office.pass_time(0.2)
        if office.messages.hydrates:
            office.accept(desired(version=T0_MS + 10**7, cause="hyd:1", fields={"companyName": newest}))
        await office.pass_time(60)
    finally:
        await office.close()
    return names[-1]


@options(max_examples=60, deadline=None)
@given(edits, pages, st.randoms(use_true_random=False))
def test_last_edit_stays_whatever_a_walk_has_read_meanwhile(
    gaps: list[int], reads: list[tuple[int, int, float]], order: random.Random
) -> None:
    told, newest = states(gaps, reads)
    order.shuffle(told)

    assert asyncio.run(last_name(told, newest)) == newest


def test_edit_between_the_reading_of_a_page_and_its_answer_wins() -> None:
    """The answer's Date is later than the edit, and the page does not have it."""
    told, newest = states([1, 2_000], [(1_000, 9_000, 1.0)])
    edit, page = told[1], told[2]

    assert page.fields != edit.fields and page.generation < edit.generation
    assert asyncio.run(last_name([told[0], edit, page], newest)) == newest
    assert asyncio.run(last_name([told[0], page, edit], newest)) == newest
