"""What others are told of a company that only a person can let go on: once for each change, whatever crashes."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_connector.common.clock import ManualClock
from ml_connector.common.wire import Standing
from ml_connector.resolver.standings import CompanyStanding
from support.state_topic import Crash, StateTopic

NOW_MS = 1_795_168_860_000


class Acme:
    """A company whose process may crash; the topic stays."""

    def __init__(self) -> None:
        self.topic = StateTopic()
        self.clock = ManualClock(NOW_MS)
        self.restart()

    def restart(self) -> None:
        self.standing: CompanyStanding = self.topic.standing("acme", self.clock)

    @property
    def told(self) -> list[str | None]:
        return self.topic.told("acme")


@pytest.fixture
def acme() -> Acme:
    return Acme()


async def test_each_change_is_told_once(acme: Acme) -> None:
    await acme.standing.works()
    for reason in ("revoked", "revoked", "401", "401"):
        acme.clock.advance(60)
        await acme.standing.stopped(reason)
    for _ in range(3):
        await acme.standing.works()

    assert acme.told == ["revoked", "401", None]
    first = acme.topic.written[0]
    assert (first.partition_key, first.key) == (b"acme", b"acme/standing")
    assert Standing.decode(first.value or b"") == Standing(state="suspended", reason="revoked", at_ms=NOW_MS + 60_000)


@pytest.mark.parametrize("lag", [False, True])
async def test_calls_at_the_same_time_tell_it_once(acme: Acme, lag: bool) -> None:
    acme.topic.lag = lag

    await asyncio.gather(*(acme.standing.stopped("revoked") for _ in range(8)))
    await asyncio.gather(*(acme.standing.works() for _ in range(8)))

    assert acme.told == ["revoked", None]


async def test_restart_knows_it_and_ends_it(acme: Acme) -> None:
    await acme.standing.stopped("revoked")

    acme.restart()
    await acme.standing.stopped("revoked")
    assert acme.told == ["revoked"]
    await acme.standing.works()
    acme.restart()
    await acme.standing.works()

    assert acme.told == ["revoked", None]


@pytest.mark.parametrize(("point", "before_again"), [("before", []), ("after", ["revoked"])])
async def test_crash_while_it_is_told_loses_and_repeats_nothing(
    acme: Acme, point: str, before_again: list[str | None]
) -> None:
    acme.topic.crash = point
    with pytest.raises(Crash):
        await acme.standing.stopped("revoked")
    assert acme.told == before_again

    acme.topic.crash = ""
    acme.restart()
    await acme.standing.stopped("revoked")
    assert acme.told == ["revoked"]

    acme.topic.crash = point
    with pytest.raises(Crash):
        await acme.standing.works()
    acme.topic.crash = ""
    acme.restart()
    await acme.standing.works()
    assert acme.told == ["revoked", None]


async def test_caller_that_gives_up_leaves_it_to_the_next(acme: Acme) -> None:
    acme.topic.crash = "before"  # the same to us: nothing is acknowledged
    with pytest.raises(Crash):
        await acme.standing.stopped("revoked")
    assert acme.standing.now is None

    acme.topic.crash = ""
    await acme.standing.stopped("revoked")

    assert acme.told == ["revoked"]


async def test_what_another_release_wrote_is_written_anew(acme: Acme) -> None:
    await acme.standing.stopped("revoked")
    acme.topic.written[0] = msgspec.structs.replace(acme.topic.written[0], value=b'{"schema_version":99}')
    acme.topic._seen = 0
    acme.topic.catch_up()

    acme.restart()
    assert acme.standing.now is None
    await acme.standing.stopped("revoked")

    assert len(acme.topic.written) == 2


STEPS = st.sampled_from(["revoked", "401", "works", "restart", "one is read", "all is read"])


@given(st.lists(STEPS, max_size=30), st.sampled_from(["revoked", "works"]))
async def test_topic_ends_as_the_last_call_said_however_late_it_is_read(steps: list[str], last: str) -> None:
    acme = Acme()
    acme.topic.lag = True
    for step in [*steps, last, "all is read", last]:
        acme.clock.advance(1)
        match step:
            case "restart":
                acme.restart()
            case "one is read":
                acme.topic.catch_up(1)
            case "all is read":
                acme.topic.catch_up()
            case "works":
                await acme.standing.works()
            case reason:
                await acme.standing.stopped(reason)
    acme.topic.catch_up()

    stored = acme.topic.get("acme/standing")
    assert (None if stored is None else Standing.decode(stored).reason) == (None if last == "works" else last)
