"""The runner without broker: what it issues, at which pace, and what it issues again after a crash."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import select

from ml_connector.admin.database import Database
from ml_connector.admin.fold import fold
from ml_connector.admin.identity.roles import Actor, Role
from ml_connector.admin.look.letters import LetterFilter, Selection
from ml_connector.admin.replay.control import Options, Replays
from ml_connector.admin.replay.keep import take_outcomes
from ml_connector.admin.replay.run import Runner
from ml_connector.admin.tables import cause, job_item, outbox, outcome
from ml_connector.common import topics
from ml_connector.common.clock import Deadline, ManualClock
from ml_connector.common.dead_letters import DeadLetter
from ml_connector.common.errors import DeliveryFailed
from ml_connector.common.kafka.producer import Delivered
from ml_connector.common.kafka.record import Record
from ml_connector.common.settings import Settings
from support.letters import T0_MS, letter_row, new_database, put, put_letters

ANNA = Actor("anna", Role.operator)
Sent = tuple[bytes, dict[str, bytes]]


class Letters:
    """What `dead-letters` holds; those at `gone` have left it."""

    def __init__(self, gone: Iterable[int] = ()) -> None:
        self._gone = set(gone)

    async def read(self, partition: int, offsets: Iterable[int]) -> dict[int, DeadLetter]:
        return {offset: _letter(partition, offset) for offset in offsets if offset not in self._gone}

    async def body(self, letter: DeadLetter) -> bytes:
        return letter.body


def _letter(partition: int, offset: int) -> DeadLetter:
    return DeadLetter(
        cause=f"w:{offset}", record_key="r", account="a", stage="write", code="X", message="", topic="pipedrive.events",
        partition=partition, offset=offset, failed_at_ms=0, body=b"{%d}" % offset, original={"company": b"acme-eu"},
    )  # fmt: skip


class Topic:
    """What was acknowledged; `fails` so often first."""

    def __init__(self, fails: int = 0) -> None:
        self.sent: list[Sent] = []
        self._fails = fails

    def send_nowait(self, topic: str, *, key: bytes, value: bytes, headers: dict[str, bytes], **_: Any) -> Any:
        future = asyncio.get_running_loop().create_future()
        if self._fails:
            self._fails -= 1
            future.set_exception(DeliveryFailed("the broker did not take the message"))
        else:
            self.sent.append((value, headers))
            future.set_result(Delivered(topic, 0, len(self.sent)))
        return future


class Level:
    leads = True

    async def until_level(self, deadline: Deadline) -> None: ...


class Bench:
    """A database, and one runner after the other."""

    def __init__(self, path: Path, *, letters: int = 3, gone: Iterable[int] = ()) -> None:
        self.database: Database = new_database(path)
        if letters:
            put_letters(self.database, *(letter_row(n, record_key=f"r{n}") for n in range(letters)))
        self.clock = ManualClock(T0_MS + 1_000_000)
        self.replays = Replays(self.database, self.clock, same_failures=3)
        self._gone = gone

    def make(self, **options: Any) -> str:
        selection = Selection(filter=LetterFilter())
        return self.replays.create(selection, Options(**options), by=ANNA, reason="mended").job_id

    def runner(self, topic: Any, replays: Any = None) -> Runner:
        settings = Settings(kafka_bootstrap_servers="nowhere:1")
        letters, previews = cast(Any, Letters(self._gone)), cast(Any, None)
        return Runner(settings, self.database, replays or self.replays, letters, topic, previews, Level(), self.clock)

    def states(self) -> list[str]:
        with self.database.read() as connection:
            return list(connection.scalars(select(job_item.c.state).order_by(job_item.c.number)))

    def tell(self, another: Bench) -> None:
        """All that was written to `connector.jobs`, as a rebuild reads it."""
        with self.database.read() as connection:
            rows = connection.execute(
                select(outbox).where(outbox.c.topic == "connector.jobs").order_by(outbox.c.id)
            ).all()
        records = [Record("connector.jobs", 0, n, row.key.encode(), row.value, {}, T0_MS) for n, row in enumerate(rows)]
        with another.database.write() as connection:
            fold(connection, topics.JOBS, records)

    def end(self, job: str, numbers: Iterable[int], how: str = "written") -> None:
        names = [f"rpl:{job}:{number}" for number in numbers]
        put(self.database, outcome, *({"cause": n, "record_key": "r", "account": "a", "outcome": how} for n in names))
        with self.database.write() as connection:
            take_outcomes(connection, names)


async def turn(bench: Bench, condition: Any, within: int = 4_000, runner: Runner | None = None) -> None:
    """Move the time until something holds."""
    task = asyncio.create_task(runner.run()) if runner is not None else None
    try:
        for _ in range(within):
            if condition():
                return
            await asyncio.sleep(0.005)  # the runner's threads need a real moment
            bench.clock.advance(0.1)
        raise AssertionError(f"it never held: {bench.states()}")
    finally:
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_each_letter_is_issued_once_and_the_replay_is_done_with_the_last_outcome(tmp_path: Path) -> None:
    bench, topic = Bench(tmp_path), Topic()
    job = bench.make()

    await turn(bench, lambda: bench.states() == ["issued"] * 3, runner=bench.runner(topic))
    running = bench.replays.get(job).state
    bench.end(job, range(3))
    await turn(bench, lambda: bench.replays.get(job).state == "done", runner=bench.runner(topic))

    assert running == "running"
    assert [value for value, _ in topic.sent] == [b"{0}", b"{1}", b"{2}"]
    assert [headers["cause"] for _, headers in topic.sent] == [f"rpl:{job}:{n}".encode() for n in range(3)]


async def test_what_was_issued_but_not_noted_is_issued_again_as_the_same_message(tmp_path: Path) -> None:
    """The process died between the broker's word and the commit."""
    bench, before, after = Bench(tmp_path), Topic(), Topic()
    job = bench.make()

    class Dying:
        """Everything but the noting of progress."""

        def __getattr__(self, name: str) -> Any:
            if name == "progress":
                raise SystemExit("killed")
            return getattr(bench.replays, name)

    with pytest.raises(SystemExit):
        await bench.runner(before, Dying())._turn(job)
    await turn(bench, lambda: bench.states() == ["issued"] * 3, runner=bench.runner(after))

    same = ("cause", "replay-of", "revision", "lane", "company")
    assert [(value, {name: headers[name] for name in same}) for value, headers in before.sent] == [
        (value, {name: headers[name] for name in same}) for value, headers in after.sent
    ]


async def test_what_the_audit_knows_of_is_not_issued_again(tmp_path: Path) -> None:
    bench, topic = Bench(tmp_path), Topic()
    job = bench.make()
    empty = dict.fromkeys(
        ("account", "flow", "company", "entity", "source_id", "record_key", "external_id", "trace", "replay_of"), ""
    )
    put(bench.database, cause, {"cause": f"rpl:{job}:1", "received_at_ms": 1, **empty})

    await turn(bench, lambda: bench.states() == ["issued"] * 3, runner=bench.runner(topic))

    assert [value for value, _ in topic.sent] == [b"{0}", b"{2}"]


async def test_broker_that_fails_is_asked_again_until_it_has_all(tmp_path: Path) -> None:
    bench, topic = Bench(tmp_path), Topic(fails=2)
    bench.make()

    await turn(bench, lambda: bench.states() == ["issued"] * 3, runner=bench.runner(topic))

    assert {value for value, _ in topic.sent} == {b"{0}", b"{1}", b"{2}"}


async def test_letter_that_has_left_its_topic_is_skipped_and_says_so(tmp_path: Path) -> None:
    bench = Bench(tmp_path, gone=[1])
    job = bench.make()

    await turn(bench, lambda: "waiting" not in bench.states(), runner=bench.runner(Topic()))

    assert bench.states() == ["issued", "skipped", "issued"]
    (tmp_path / "again").mkdir()
    rebuilt = Bench(tmp_path / "again", letters=0)
    bench.tell(rebuilt)
    rebuilt.end(job, [0, 2])
    assert rebuilt.states() == ["written", "skipped", "written"]


async def test_rate_is_kept(tmp_path: Path) -> None:
    """10 a second: in the time that is moved, no more than that may come out (and one turn's worth)."""
    bench, topic = Bench(tmp_path, letters=30), Topic()
    bench.make(rate_per_s=10)
    started_s = bench.clock.monotonic_s()

    await turn(bench, lambda: len(topic.sent) >= 20, runner=bench.runner(topic))

    assert len(topic.sent) <= (bench.clock.monotonic_s() - started_s) * 10 + 2


async def test_paused_replay_issues_nothing_more_and_goes_on_where_it_was(tmp_path: Path) -> None:
    """Each turn ends its runner, which may have sent what it had not noted: that comes again, as the same cause."""
    bench, topic = Bench(tmp_path, letters=30), Topic()
    job = bench.make(rate_per_s=10)
    await turn(bench, lambda: len(topic.sent) >= 4, runner=bench.runner(topic))
    bench.replays.act(job, "replay.pause", by=ANNA, reason="look")
    so_far = len(topic.sent)

    with pytest.raises(AssertionError, match="never held"):
        await turn(bench, lambda: len(topic.sent) > so_far, within=40, runner=bench.runner(topic))
    bench.replays.act(job, "replay.start", by=ANNA, reason="good")
    await turn(bench, lambda: bench.states() == ["issued"] * 30, runner=bench.runner(topic))

    issued = {(value, headers["cause"]) for value, headers in topic.sent}
    assert sorted(value for value, _ in issued) == sorted(b"{%d}" % n for n in range(30))


async def test_replay_pauses_itself_after_so_many_failures(tmp_path: Path) -> None:
    bench, topic = Bench(tmp_path, letters=30), Topic()
    job = bench.make(rate_per_s=10, stop_after=2)
    await turn(bench, lambda: len(topic.sent) >= 4, runner=bench.runner(topic))
    bench.end(job, range(2), "dead_lettered")

    await turn(bench, lambda: bench.replays.get(job).state == "paused", runner=bench.runner(topic))

    assert bench.replays.get(job).why == "2 records failed again"
    assert len(topic.sent) < 30
