"""What is stored and cannot be read: it is told, stops nobody, and is taken for the worst that it may have said."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from ml_connector.common.errors import MustStop
from ml_connector.common.generation import Generation
from ml_connector.common.keys import account_key, attempt_key, flow_key, job_key
from ml_connector.common.logs import FIELDS
from ml_connector.common.wire import Attempt, BatchJob, Member
from ml_connector.netsuite_writer.fold import UNREADABLE
from ml_connector.netsuite_writer.store import Store
from support.desired import ACCOUNT, COMPANY, FLOW, attempted, child, desired, key_of, observed
from support.owned import QUIET_S, owned

BROKEN: Final = b'{"v":1,"record_key":'
NEWER: Final = b'{"v":9}'
ONE, TWO = desired("organization", "1"), desired("organization", "2")


def told(logged: list[MutableMapping[str, Any]], event: str) -> list[Any]:
    assert all(line.keys() - {"event", "log_level", "exc_info"} <= FIELDS for line in logged)
    return [line["name"] for line in logged if line["event"] == event]


async def test_an_unreadable_attempt_puts_its_record_in_doubt_and_holds_up_nobody() -> None:
    """Some call of it may have been made: it is written, and asserted again when that cannot be executed any more."""
    async with owned() as one:
        key = attempt_key(ONE.record_key)
        with capture_logs() as logged:
            one.start({key: BROKEN}, ONE, TWO)
        assert told(logged, "stored_entry_unreadable") == [key]
        assert one.partition.store.unreadable == {key}

        await one.pass_time(1)
        assert one.outcomes(ONE, TWO) == ["written", "written"]
        await one.pass_time(QUIET_S - 10)
        assert one.asked_again == []
        await one.pass_time(20)

        assert one.asked_again == [("1", True)]
        assert one.partition.store.attempts() == []


async def test_an_unreadable_attempt_of_a_settled_record_has_its_object_read_again() -> None:
    async with owned() as one:
        one.start({ONE.record_key: observed(ONE).encode(), attempt_key(ONE.record_key): BROKEN})
        await one.pass_time(QUIET_S + 1)

        assert one.asked_again == [("1", True)]
        assert [(hydrate.flow, hydrate.entity) for hydrate in one.office.messages.hydrates] == [(FLOW, "organization")]


async def test_an_attempt_that_came_again_readable_is_nothing_to_tell() -> None:
    async with owned() as one:
        one.observe({attempt_key(ONE.record_key): BROKEN})
        one.start({attempt_key(ONE.record_key): None}, ONE)
        await one.pass_time(1)

        assert one.partition.store.unreadable == set()
        assert one.partition.store.attempts() == []


async def test_of_an_unreadable_batch_every_state_that_waits_may_be_a_member() -> None:
    """Written by its older state later than by its newer one, each would be wrong for ever."""
    async with owned() as one:
        with capture_logs() as logged:
            one.start({job_key("k"): BROKEN}, ONE, TWO)
        assert told(logged, "stored_entry_unreadable") == [job_key("k")]
        await one.pass_time(1)
        assert one.outcomes(ONE, TWO) == ["written", "written"]

        assert {attempt.record_key for attempt in one.partition.store.attempts()} == {ONE.record_key, TWO.record_key}
        await one.pass_time(QUIET_S - 10)
        assert one.office.messages.jobs == []
        await one.pass_time(20)
        assert one.office.messages.jobs == [("k", None)]  # the next owner has no need of it any more


async def test_a_state_that_was_in_an_unreadable_batch_is_asserted_again_once_a_newer_one_was_written() -> None:
    async with owned() as one:
        newer = desired("organization", "1", version=2)
        one.start({job_key("k"): BROKEN}, ONE, newer)
        await one.pass_time(1)
        await one.pass_time(1)
        assert one.outcomes(ONE, newer) == ["superseded", "written"]
        await one.pass_time(QUIET_S + 1)

        assert one.asked_again == [("1", True)]


async def test_a_batch_of_a_flow_that_nobody_knows_leaves_its_records_in_doubt() -> None:
    async with owned() as one:
        member = Member(key_of(ONE), "gone", COMPANY, "organization", "1")
        job = BatchJob(
            idempotency_key="k", account=ACCOUNT, record_type="customer", members=(member,), at_ms=1, owner="former"
        )
        one.start({job_key("k"): job.encode()}, ONE, TWO)

        assert [attempt.record_key for attempt in one.partition.store.attempts()] == [ONE.record_key]


async def test_an_unreadable_halt_holds_until_a_person_resumes_the_flow() -> None:
    async with owned() as one:
        one.start({flow_key(FLOW): BROKEN}, ONE)
        await one.pass_time(60)
        assert one.outcomes(ONE) == [""]
        standing = one.partition.store.standing(flow_key(FLOW))
        assert standing is not None
        assert (standing.state, standing.reason) == ("halted", UNREADABLE)

        known = one.office.flows.known
        known[FLOW] = replace(known[FLOW], resumed_at_ms=one.office.clock.now_ms() + 1)
        one.office.account.look_again()
        await one.pass_time(1)

        assert one.outcomes(ONE) == ["written"]


async def test_an_unreadable_suspension_ends_by_a_probe() -> None:
    async with owned() as one:
        one.start({account_key(ACCOUNT.lower()): BROKEN}, ONE, TWO)
        await one.pass_time(1)

        assert one.outcomes(ONE, TWO) == ["written", "written"]


async def test_a_record_whose_state_cannot_be_read_waits_and_so_do_its_children_only() -> None:
    """Which generation NetSuite holds is not known: none may be written over it (DESIGN rule 3)."""
    async with owned() as one:
        person = child("person", "5", of="1")
        with capture_logs() as logged:
            one.start({ONE.record_key: BROKEN}, ONE, TWO, person)
            await one.pass_time(60)
        assert one.outcomes(ONE, TWO, person) == ["", "written", ""]
        assert one.office.calls == ["pd-org-2"]
        errors = [line for line in logged if line["log_level"] == "error"]
        assert sorted(line["record_key"] for line in errors) == sorted([key_of(ONE), person.record_key])
        assert all(ONE.record_key in str(line["exc_info"]) for line in errors)
        assert one.partition.store.unreadable == {ONE.record_key}


async def test_after_the_start_an_unreadable_attempt_of_a_former_owner_is_told_likewise() -> None:
    async with owned() as one:
        one.start({})
        one.desire(ONE)
        await one.pass_time(1)
        assert one.outcomes(ONE) == ["written"]

        one.observe({attempt_key(TWO.record_key): BROKEN, job_key("k"): BROKEN})
        one.desire(TWO)
        await one.pass_time(1)

        assert one.outcomes(TWO) == ["written"]


@pytest.mark.parametrize("key", [attempt_key(ONE.record_key), job_key("k"), flow_key(FLOW)])
async def test_what_a_newer_release_wrote_is_left_to_it(key: str) -> None:
    async with owned() as one:
        with pytest.raises(MustStop, match="schema"):
            one.start({key: NEWER}, ONE)


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(
    st.dictionaries(
        st.sampled_from([attempt_key(ONE.record_key), job_key("k"), flow_key("other"), account_key("other_1")]),
        st.binary(max_size=30) | st.sampled_from([b'{"v":1}', b'{"v":1,"members":[]}', BROKEN, b"null", b"[]"]),
    )
)
def test_whatever_is_stored_records_are_written(kept: dict[str, bytes]) -> None:
    async def play() -> None:
        async with owned() as one:
            one.start(cast(dict[str, bytes | None], kept), ONE, TWO)
            await one.pass_time(1)
            assert one.outcomes(ONE, TWO) == ["written", "written"]

    asyncio.run(play())


def test_a_file_whose_open_entries_cannot_be_read_is_rebuilt(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    store = Store.open(path, identity="c", now_ms=0)
    store.put_attempt(ONE.record_key, Attempt.decode(_attempt().encode()))
    with store.change():
        store.put_desired(key_of(ONE), ONE.encode())
    store.close(now_ms=0)
    assert Store.open(path, identity="c", now_ms=1).attempt(ONE.record_key) is not None

    broken = Store.open(path, identity="c", now_ms=0)
    broken.put_attempt(ONE.record_key, cast(Attempt, _Broken()))
    broken.close(now_ms=0)

    assert Store.open(path, identity="c", now_ms=1).desired(key_of(ONE)) is None


class _Broken:
    def encode(self) -> bytes:
        return BROKEN


def _attempt() -> Attempt:
    return attempted(ONE, generation=Generation(1))
