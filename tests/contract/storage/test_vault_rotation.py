"""Rotating the vault's key in SQL: whatever comes between, the freshest credential stays, and ends under the new key."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select

from ml_connector.admin.changing import Said
from ml_connector.admin.database import Database
from ml_connector.admin.fold.reading import put
from ml_connector.admin.fold.secrets import fold_secrets, secret_row
from ml_connector.admin.identity.roles import Actor, Role
from ml_connector.admin.outbox import put_message
from ml_connector.admin.replay.control import Conflict
from ml_connector.admin.secrets.change import Place, Secrets
from ml_connector.admin.secrets.look import SecretLooks
from ml_connector.admin.secrets.rotate import KeyUse, Rotation
from ml_connector.admin.tables import act, act_target, outbox, secret
from ml_connector.common.clock import Deadline, ManualClock
from ml_connector.common.errors import TryLater
from ml_connector.common.kafka.record import Record
from ml_connector.common.topics import SECRETS, Topic
from ml_connector.common.vault import SecretEntry, Vault
from ml_connector.common.wire import Act

ANNA = Actor("anna", Role.admin)
OLD, BOTH, NEW = (
    Vault({"k1": b"1" * 32}),
    Vault({"k2": b"2" * 32, "k1": b"1" * 32}),
    Vault({"k2": b"2" * 32}),
)
PLACES = [Place(f"pipedrive/{name}", "api-token") for name in ("a", "b", "c")]


class KilledError(Exception):
    """The process dies here."""


class Level:
    def __init__(self, *, behind: bool = False) -> None:
        self.behind = behind

    async def until_level(self, deadline: Deadline, *, of: Topic | None = None) -> None:
        if self.behind:
            raise TryLater("the topics are not read to their ends")


class Topics:
    """The broker: takes from the outbox, and is folded up to where the test wants."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.log: list[tuple[str, bytes | None]] = []
        self.folded = 0

    def publish(self, most: int = 1_000) -> None:
        with self.database.write() as connection:
            rows = connection.execute(select(outbox).order_by(outbox.c.id)).all()
            wanted = [row for row in rows if row.topic == SECRETS.name][:most]
            connection.execute(delete(outbox).where(outbox.c.id.in_([row.id for row in wanted])))
        self.log += [(row.key, row.value) for row in wanted]

    def fold(self, most: int = 1_000) -> None:
        records = [
            Record(topic=SECRETS.name, partition=0, offset=n, key=key.encode(), value=value, headers={}, timestamp_ms=0)
            for n, (key, value) in enumerate(self.log)
        ][self.folded : self.folded + most]
        self.folded += len(records)
        with self.database.write() as connection:
            fold_secrets(connection, records)

    def services_see(self) -> dict[str, SecretEntry]:
        return {key: SecretEntry.decode(value) for key, value in dict(self.log).items() if value is not None}


def clear(database: Database) -> None:
    with database.write() as connection:
        for table in (secret, outbox, act, act_target):
            connection.execute(delete(table))


def rotation(database: Database, vault: Vault | None = BOTH, batch: int = 2, *, behind: bool = False) -> Rotation:
    return Rotation(database, Level(behind=behind), (lambda: vault) if vault else None, ManualClock(), batch=batch)


async def store(database: Database, *values: str, vault: Vault = OLD) -> None:
    secrets = Secrets(database, Level(), lambda: vault, ManualClock())
    for place, value in zip(PLACES, values, strict=False):
        await secrets.set(place, {"token": value}, Said(ANNA), "sandbox")


def opened(entry: SecretEntry, vault: Vault) -> Any:
    return vault.decrypt(entry, owner=entry.owner, name=entry.name, environment="sandbox")["token"]


def rotations(database: Database) -> list[Act]:
    with database.read() as connection:
        acts = [Act.decode(value) for value in connection.scalars(select(act.c.value))]
    return [one for one in acts if one.act == "vault.rotate"]


def put_entry(database: Database, entry: SecretEntry) -> None:
    with database.write() as connection:
        put(connection, secret, [secret_row(entry)])


async def test_services_open_everything_with_the_new_key_alone(empty: Database) -> None:
    topics = Topics(empty)
    await store(empty, "x", "y", "z")

    done = await rotation(empty).rotate(Said(ANNA, "the yearly one"))
    topics.publish()

    assert {key: opened(entry, NEW) for key, entry in topics.services_see().items()} == {
        place.key: value for place, value in zip(PLACES, "xyz", strict=True)
    }
    assert [(one.version, one.kek) for one in SecretLooks(empty).all()] == [(1, "k2")] * 3
    assert (done.active, len(done.rewrapped), done.unreadable) == ("k2", 3, ())
    [told] = rotations(empty)
    assert (told.actor, told.reason, told.targets) == ("anna", "the yearly one", tuple(one.key for one in PLACES))
    assert told.detail == {"active": "k2", "rewrapped": 3, "unreadable": 0}


@pytest.mark.parametrize("killed_at", [0, 1, 2])
async def test_run_after_a_kill_does_what_is_left(
    empty: Database, monkeypatch: pytest.MonkeyPatch, killed_at: int
) -> None:
    """In the middle of a batch's transaction."""
    await store(empty, "x", "y", "z")
    told = 0

    def dying(*arguments: Any, **named: Any) -> None:
        nonlocal told
        if told == killed_at:
            raise KilledError
        told += 1
        put_message(*arguments, **named)

    monkeypatch.setattr("ml_connector.admin.secrets.rotate.put_message", dying)
    with pytest.raises(KilledError):
        await rotation(empty, batch=1).rotate(Said(ANNA))
    monkeypatch.undo()
    done = await rotation(empty, batch=1).rotate(Said(ANNA))

    topics = Topics(empty)
    topics.publish()
    assert len(done.rewrapped) == 3 - killed_at
    assert [opened(topics.services_see()[one.key], NEW) for one in PLACES] == ["x", "y", "z"]


Step = tuple[str, int]
STEPS = st.lists(
    st.tuples(st.sampled_from(["set", "delete", "batch", "publish", "fold"]), st.integers(0, 2)), max_size=14
)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=STEPS)
def test_nothing_fresher_is_ever_lost(database: Database, steps: Sequence[Step]) -> None:
    """Sets, deletions, batches, and the topic's messages, in any order; then one whole run."""
    clear(database)
    topics = Topics(database)
    wanted: dict[str, str] = {}
    for number, (what, which) in enumerate(steps):
        asyncio.run(_step(database, topics, wanted, what, which, str(number)))
    asyncio.run(rotation(database).rotate(Said(ANNA)))
    topics.publish()
    topics.fold()
    asyncio.run(rotation(database).rotate(Said(ANNA)))  # a message from before the first one may have been folded after
    topics.publish()
    topics.fold()

    assert {key: opened(entry, NEW) for key, entry in topics.services_see().items()} == wanted
    assert {(one.key, one.kek) for one in SecretLooks(database).all()} == {(key, "k2") for key in wanted}


async def _step(database: Database, topics: Topics, wanted: dict[str, str], what: str, which: int, value: str) -> None:
    secrets, place = Secrets(database, Level(), lambda: OLD, ManualClock()), PLACES[which]
    todo: dict[str, Callable[[], Any]] = {
        "batch": lambda: rotation(database)._rewrap(BOTH, ""),
        "publish": lambda: topics.publish(which + 1),
        "fold": lambda: topics.fold(which + 1),
    }
    if what == "set":
        await secrets.set(place, {"token": value}, Said(ANNA), "sandbox")
        wanted[place.key] = value
    elif what == "delete" and wanted.pop(place.key, None) is not None:
        await secrets.delete(place, Said(ANNA))
    elif what in todo:
        todo[what]()


async def test_what_no_key_opens_is_named_and_left_alone(empty: Database) -> None:
    stranger = Vault({"lost": b"3" * 32}).encrypt("pipedrive/aa", "api-token", "sandbox", version=1, value={})
    await store(empty, "x", "y", "z")
    put_entry(empty, stranger)

    done = await rotation(empty, batch=1).rotate(Said(ANNA))

    assert (done.unreadable, len(done.rewrapped)) == (("pipedrive/aa/api-token",), 3)
    assert {one.key: one.kek for one in SecretLooks(empty).all()}["pipedrive/aa/api-token"] == "lost"
    assert rotations(empty)[0].detail["unreadable"] == 1


async def test_token_of_the_resolver_is_left_to_it_and_counts(empty: Database) -> None:
    put_entry(empty, OLD.encrypt("pipedrive/a", "token", "sandbox", version=7, value={}))

    done = await rotation(empty).rotate(Said(ANNA))

    assert done.rewrapped == ()
    assert (await rotation(empty).status()).keys[1] == KeyUse("k1", 1, 1, here=True, removable=False)
    put_entry(empty, BOTH.encrypt("pipedrive/a", "token", "sandbox", version=8, value={}))
    assert (await rotation(empty).status()).keys[1].removable


async def test_key_may_go_when_nothing_needs_it_and_everybody_is_told(empty: Database) -> None:
    topics = Topics(empty)
    await store(empty, "x", "y")
    topics.publish()
    assert [(key.id, key.entries, key.removable) for key in (await rotation(empty).status()).keys] == [
        ("k2", 0, False),
        ("k1", 2, False),
    ]

    await rotation(empty).rotate(Said(ANNA))
    status = await rotation(empty).status()
    assert (status.untold, status.keys[1].removable) == (2, False)
    topics.publish()
    status = await rotation(empty).status()
    assert (status.active, status.untold, status.keys[1].removable) == ("k2", 0, True)
    assert (await rotation(empty, OLD).status()).keys[1] == KeyUse("k2", 2, 0, here=False, removable=False)


async def test_neither_without_keys_nor_before_the_topics_are_read(empty: Database) -> None:
    for one, error in ((rotation(empty, None), Conflict), (rotation(empty, behind=True), TryLater)):
        with pytest.raises(error):
            await one.rotate(Said(ANNA))
        with pytest.raises(error):
            await one.status()
    assert rotations(empty) == []
