"""Which records a poll hands on, whatever happens to them meanwhile, and whichever zone NetSuite's clock shows."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_connector.common.clock import ManualClock
from ml_connector.common.directory import LiveFlow
from ml_connector.common.drift import Poll, Polled
from ml_connector.common.flows import parse_flow
from ml_connector.common.generation import Generation
from ml_connector.common.wire import Observed
from ml_connector.netsuite_writer import polling
from ml_connector.netsuite_writer.polling import Polling, Pushed
from ml_connector.netsuite_writer.settle import Answer
from ml_connector.netsuite_writer.store import Store

ACCOUNT = "1234567_SB1"
NOW_MS = 1_795_000_000_000
HOUR_MS = 3_600_000
FLOW = LiveFlow(
    parse_flow({
        "flow": "f", "environment": "sandbox", "pipedrive": {"company": "c"}, "netsuite": {"account": ACCOUNT},
        "external_ids": "pd",
        "entities": {
            "organization": {"record": "customer", "fields": {"companyName": "data.name"}},
            "deal": {"record": "opportunity", "fields": {"title": "data.title"}},
        },
    }),
    1,
    paused=False,
)  # fmt: skip
_QUERY = re.compile(
    r"SELECT id, externalid, .* FROM (customer|transaction) WHERE (?:type = 'Opprtnty' AND )?LOWER\(externalid\) LIKE "
    r"'(.*)%' AND lastmodifieddate >= TO_TIMESTAMP\('(.*)', '.*'\) AND id > (\d+) ORDER BY id\Z"
)


def shown(ms: int) -> str:
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


class Netsuite:
    """`zone_ms`: what its clock shows beside UTC. Between two queries people change records."""

    def __init__(
        self, records: Mapping[int, tuple[str, int]], *, zone_ms: int = 0, rows: int = 3, seed: int = 0
    ) -> None:
        self.records = dict(records)
        self.zone_ms = zone_ms
        self.rows = rows
        self.queries: list[str] = []
        self.now_ms = NOW_MS
        self._chance = random.Random(seed)
        self.busy = False

    async def query(self, suiteql: str) -> tuple[Answer, list[dict[str, Any]]]:
        self.queries.append(suiteql)
        by_id = re.match(r"SELECT id, externalid FROM customer WHERE id IN \((.*)\) ORDER BY id\Z", suiteql)
        if by_id:
            ids = [int(one.strip("' ")) for one in by_id[1].split(",")]
            return Answer(200), [{"ID": str(n), "externalId": self.records[n][0]} for n in ids if n in self.records]
        found = _QUERY.match(suiteql)
        assert found, suiteql
        _, prefix, since, after = found.groups()
        rows = [
            {"id": str(number), "externalid": external, "mlc_modified": shown(modified + self.zone_ms)}
            for number, (external, modified) in sorted(self.records.items())
            if number > int(after) and external.lower().startswith(prefix) and shown(modified + self.zone_ms) >= since
        ]
        if self.busy:
            self._live()
        return Answer(200), rows[: self.rows]

    def _live(self) -> None:
        self.now_ms += 1_000
        for number in self.records:
            if self._chance.random() < 0.3:
                self.change(number, self.now_ms)

    def change(self, number: int, at_ms: int) -> None:
        self.records[number] = (self.records[number][0], at_ms)


def asked(**more: Any) -> Poll:
    given: dict[str, Any] = {"job_id": "j", "flow": "f", "account": ACCOUNT, "entities": ("organization",)}
    return Poll(**{**given, "at_ms": NOW_MS, "since_ms": NOW_MS - HOUR_MS, **more})


async def walk(netsuite: Netsuite, poll: Poll, store: Store | None = None) -> tuple[list[str], list[Polled]]:
    """The ids of all pages, and what was told of each."""
    one = Polling(netsuite, store or Store.in_memory(), ManualClock())
    ids: list[str] = []
    told: list[Polled] = []
    following: Poll | None = poll
    with mock.patch.object(polling, "POLL_ROWS", netsuite.rows):
        while following is not None:
            page = await one.page(following, FLOW)
            assert (page.walk is None) == (page.polled.asked == 0)
            ids += page.walk.ids if page.walk is not None else ()
            told.append(page.polled)
            following = page.next
    return ids, told


@settings(max_examples=200, deadline=None)
@given(
    ages_s=st.lists(st.integers(0, 7_200), max_size=25),
    zone_quarters=st.integers(-48, 56),
    rows=st.integers(1, 7),
    seed=st.integers(0, 1_000),
    busy=st.booleans(),
)
def test_whatever_changed_since_is_handed_on(
    ages_s: list[int], zone_quarters: int, rows: int, seed: int, busy: bool
) -> None:
    """Many at the same second, over the end of a page; changed once more while the poll goes on; in any zone."""
    modified = {number: NOW_MS - age_s * 1_000 for number, age_s in enumerate(ages_s, start=1)}
    records = {number: (f"pd-org-{number}", ms) for number, ms in modified.items()}
    netsuite = Netsuite(records, zone_ms=zone_quarters * HOUR_MS // 4, rows=rows, seed=seed)
    netsuite.busy = busy

    ids, told = asyncio.run(walk(netsuite, asked()))

    assert {str(number) for number, ms in modified.items() if ms >= NOW_MS - HOUR_MS} <= set(ids)
    assert len(ids) == len(set(ids))
    assert [one.page for one in told] == list(range(1, len(told) + 1))
    assert [one.last for one in told] == [False] * (len(told) - 1) + [True]
    assert all(one.rows == one.known + one.strange + one.asked for one in told)


async def test_what_was_compared_since_it_changed_is_left_out_unless_it_is_wanted_again() -> None:
    netsuite = Netsuite({1: ("pd-org-1", NOW_MS), 2: ("PD-ORG-2", NOW_MS)}, zone_ms=5 * HOUR_MS)
    store = Store.in_memory()
    keys = [f"1234567_sb1/customer/pd-org-{number}" for number in (1, 2)]
    store.see(dict.fromkeys(keys, shown(NOW_MS + 5 * HOUR_MS)), now_ms=NOW_MS)

    known = await walk(netsuite, asked(), store)
    again = await walk(netsuite, asked(again=True), store)
    netsuite.change(2, NOW_MS + 1_000)
    changed = await walk(netsuite, asked(), store)

    assert (known[0], known[1][0].known) == ([], 2)
    assert again[0] == ["1", "2"]
    assert changed[0] == ["2"]


async def test_entities_follow_each_other_and_strangers_are_counted() -> None:
    netsuite = Netsuite({1: ("pd-org-1", NOW_MS), 2: ("pd-org-x", NOW_MS), 3: ("pd-deal-9", NOW_MS), 4: ("", NOW_MS)})

    ids, told = await walk(netsuite, asked(entities=("organization", "person", "deal")))

    assert ids == ["1", "9"]
    assert [(one.entity, one.rows, one.strange, one.asked) for one in told] == [
        ("organization", 2, 1, 1), ("person", 0, 0, 0), ("deal", 1, 0, 1),
    ]  # fmt: skip
    assert [query.split(" FROM ")[1].split(" WHERE ")[0] for query in netsuite.queries] == ["customer", "transaction"]


class Stubborn(Netsuite):
    async def query(self, suiteql: str) -> tuple[Answer, list[dict[str, Any]]]:
        return Answer(400, "INVALID_PARAMETER", "Search error"), []


async def test_a_query_that_is_refused_ends_the_poll_and_is_told() -> None:
    page = await Polling(Stubborn({}), Store.in_memory(), ManualClock()).page(asked(), FLOW)

    assert (page.walk, page.next, page.polled.last) == (None, None, True)
    assert "INVALID_PARAMETER" in page.polled.failed


class Repeating(Netsuite):
    async def query(self, suiteql: str) -> tuple[Answer, list[dict[str, Any]]]:
        return Answer(200), [{"id": "5", "externalid": "pd-org-5"}]


async def test_netsuite_that_does_not_keep_the_order_is_not_asked_for_ever() -> None:
    netsuite = Netsuite({5: ("pd-org-5", NOW_MS)}, rows=1)

    page = await Polling(netsuite, Store.in_memory(), ManualClock()).page(asked(after_id="4"), FLOW)
    stuck = await Polling(Repeating({}), Store.in_memory(), ManualClock()).page(asked(after_id="9"), FLOW)

    assert page.polled.asked == 1
    assert "order of ids" in stuck.polled.failed


# -- pushes ------------------------------------------------------------------------------------------------------------


def written(record: str, at_ms: int) -> bytes:
    return Observed(
        record_key=record, flow="f", generation=Generation(1), cause="c", outcome="written", action="upsert",
        at_ms=at_ms, internal_id="1",
    ).encode()  # fmt: skip


async def test_pushed_ids_are_looked_up_and_strangers_left_out() -> None:
    netsuite = Netsuite({1: ("pd-org-1", 0), 2: ("other-org-2", 0)})
    pushed = [
        Pushed("customer", internal_id="1"), Pushed("customer", internal_id="2"), Pushed("customer", internal_id="3"),
        Pushed("customer", "PD-org-7", "99"), Pushed("customer", "pd-deal-7"), Pushed("contact", "pd-person-7"),
    ]  # fmt: skip

    handed = await Polling(netsuite, Store.in_memory(), ManualClock()).pushed(pushed, FLOW)

    assert dict(handed.ids) == {"organization": ("7", "1")} or dict(handed.ids) == {"organization": ("1", "7")}
    assert (handed.strange, handed.ours, handed.later) == (4, 0, [])
    assert len(netsuite.queries) == 1


@pytest.mark.parametrize(
    ("modified_ms", "ours"),
    [
        (NOW_MS, 1),  # at the moment at which our write was settled
        (NOW_MS - 9_000, 1),
        (NOW_MS - 11_000, 0),  # before it by more than a call takes: somebody else's, or a batch's
        (NOW_MS + 1_000, 0),  # after it
        (0, 0),  # nobody says when
    ],
)
async def test_what_our_own_last_write_pushed_is_left_out(modified_ms: int, ours: int) -> None:
    store, key = Store.in_memory(), "1234567_sb1/customer/pd-org-1"
    store.put_observed(key, written(key, NOW_MS))

    handed = await Polling(Netsuite({}), store, ManualClock()).pushed(
        [Pushed("customer", "pd-org-1", modified_ms=modified_ms)], FLOW
    )

    assert (handed.ours, len(handed.ids)) == (ours, 1 - ours)


async def test_a_record_that_is_just_being_written_comes_later() -> None:
    store, one = Store.in_memory(), Pushed("customer", "pd-org-1")
    store.put_desired("1234567_sb1/customer/pd-org-1#1.0#c", b"{}")

    handed = await Polling(Netsuite({}), store, ManualClock()).pushed([one], FLOW)

    assert (handed.later, dict(handed.ids)) == ([one], {})
