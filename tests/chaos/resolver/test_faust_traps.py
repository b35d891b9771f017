"""Each of Faust's traps (facts/kafka.md section 1): what an unguarded agent loses, the resolver does not."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource

from ml_connector.cli.accounting import recompute
from ml_connector.cli.reading import newest_by_key
from ml_connector.cli.stack import ACCOUNT, COMPANY
from ml_connector.common import topics
from ml_connector.common.kafka.admin import committed_offsets, end_offsets
from ml_connector.common.kafka.partition import partition_for
from support.resolving import RESOLVER, Resolving, event
from support.writing import until

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def resolving() -> AsyncIterator[Resolving]:
    async with Resolving() as one:
        yield one


def names(count: int) -> list[str]:
    mark = uuid.uuid4().hex[:8]
    return [f"{mark}-{number}" for number in range(count)]


async def test_what_raises_in_the_core_is_a_dead_letter_and_its_neighbours_go_on(resolving: Resolving) -> None:
    """Faust drops an event whose agent raised, and the rest of its batch with it."""
    good = names(20)
    hostile = [
        b"",
        b"\xff\xfe",
        b"[" * 50_000,
        b'{"meta":{}}',
        b'{"data":1,"meta":{"id":"x","webhook_id":"1"}}',
        b"null",
    ]
    bodies = [event(name) for name in good]
    for number, body in enumerate(hostile):
        bodies.insert(3 * number, body)

    resolving.take(bodies)
    await resolving.resolved(good)

    account = recompute(resolving.kafka)[ACCOUNT]
    assert account.balanced
    assert account.outcomes["dead_lettered"] >= len(hostile)


async def test_sigterm_with_a_batch_in_flight_loses_nothing(resolving: Resolving) -> None:
    """Faust cancels the event in flight, and commits it, unless it is told to wait."""
    given = names(400)
    resolving.take([event(name) for name in given])
    code = await resolving.stack.stop_one(RESOLVER)
    await resolving.stack.start_one(RESOLVER)

    assert code == 0
    await resolving.resolved(given)
    assert recompute(resolving.kafka)[ACCOUNT].balanced


async def test_sigkill_before_the_commit_loses_nothing(resolving: Resolving) -> None:
    """At-least-once: what was not committed comes again, and compaction leaves one of each step."""
    given = names(400)
    resolving.take([event(name) for name in given])
    await resolving.stack.kill(RESOLVER)
    await resolving.stack.start_one(RESOLVER)

    await resolving.resolved(given)
    assert recompute(resolving.kafka)[ACCOUNT].balanced


@pytest.mark.timeout(240)
@pytest.mark.timeout(180)
async def test_failing_produce_never_commits_past_the_event(resolving: Resolving) -> None:
    """The broker refuses the desired records for a while: Faust alone would warn, and commit."""
    set_largest_desired(resolving, 10)
    given = names(20)
    resolving.take([event(name) for name in given])

    async def was_read() -> bool:
        found = await asyncio.to_thread(newest_by_key, resolving.kafka, topics.AUDIT.name)
        return any(key.startswith(f"1:{given[0]}/") for key in found)

    await until(was_read)
    waiting = not_committed(resolving, partition_for(COMPANY.encode(), 4))
    set_largest_desired(resolving, 1_000_000)

    assert waiting >= len(given)
    await resolving.resolved(given, within_s=60)


def set_largest_desired(resolving: Resolving, size_bytes: int) -> None:
    """What the broker takes in `netsuite.desired`."""
    entry = ConfigEntry("max.message.bytes", str(size_bytes), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, topics.DESIRED.name, incremental_configs=[entry])
    client = AdminClient(dict(resolving.kafka))
    client.incremental_alter_configs([resource])[resource].result()


def not_committed(resolving: Resolving, partition: int) -> int:
    """Events that the resolver has not committed."""
    name = topics.EVENTS.name
    done = committed_offsets(resolving.kafka, "resolver", name, [partition])[partition]
    return end_offsets(resolving.kafka, name, [partition])[partition] - done
