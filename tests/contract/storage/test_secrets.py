"""Credentials in SQL: what is stored and told, for which environment, and that a version is given once."""

from __future__ import annotations

import asyncio
import base64
from importlib import resources
from typing import Any, Literal

import pytest
from ruamel.yaml import YAML
from sqlalchemy import select

from ml_connector.admin.changing import Said
from ml_connector.admin.database import Database
from ml_connector.admin.flows.change import Flows
from ml_connector.admin.flows.fits import Fit
from ml_connector.admin.fold.secrets import fold_secrets
from ml_connector.admin.identity.roles import Actor, Role
from ml_connector.admin.replay.control import Conflict, NotFound
from ml_connector.admin.secrets.change import Place, Secrets
from ml_connector.admin.secrets.look import SecretLooks, Stored
from ml_connector.admin.tables import act, outbox, secret
from ml_connector.common.clock import Deadline, ManualClock
from ml_connector.common.errors import BadInput, TryLater
from ml_connector.common.flows import Flow
from ml_connector.common.kafka.record import Record
from ml_connector.common.topics import AUDIT, SECRETS, Topic
from ml_connector.common.vault import SecretEntry, Vault
from ml_connector.common.wire import Act

ANNA = Actor("anna", Role.admin)
VAULT = Vault.from_text(f"k1:{base64.b64encode(bytes(32)).decode()}")
TOKEN = Place("pipedrive/acme-eu", "api-token")
HMAC = Place("flow/acme-eu", "webhook-hmac")
CANARY = "c4n4ry"
VALUE = {"token": CANARY}
KEYS = {"keys": [{"id": "k", "secret": CANARY}]}
DOCUMENT: dict[str, Any] = YAML(typ="safe").load(
    resources.files("ml_connector.cli.demo").joinpath("flow.yaml").read_text()
)


class Level:
    """Whether the tables hold what the topic holds."""

    def __init__(self, behind: Topic | None = None) -> None:
        self.behind = behind

    async def until_level(self, deadline: Deadline, *, of: Topic | None = None) -> None:
        assert of in {SECRETS, AUDIT}
        if of is self.behind:
            raise TryLater("the topics are not read to their ends")


@pytest.fixture
def secrets(empty: Database) -> Secrets:
    return Secrets(empty, Level(), lambda: VAULT, ManualClock())


@pytest.fixture
async def used(empty: Database) -> None:
    """The demo's flow is active."""

    class Read:
        async def until_level(self, deadline: Deadline, *, of: Topic | None = None) -> None:
            pass

    async def fits(_: Flow) -> Fit:
        return Fit()

    await Flows(empty, Read(), fits, ManualClock()).apply(DOCUMENT, Said(ANNA))


async def store(
    secrets: Secrets,
    expect: int | None = None,
    environment: Literal["sandbox", "production"] | None = "sandbox",
) -> Stored:
    return await secrets.set(TOKEN, VALUE, Said(ANNA, "because", expect), environment)


def told(database: Database) -> list[tuple[str, bytes | None]]:
    with database.read() as connection:
        rows = connection.execute(select(outbox).where(outbox.c.topic == SECRETS.name).order_by(outbox.c.id))
        return [(row.key, row.value) for row in rows]


def acts(database: Database) -> list[Act]:
    with database.read() as connection:
        return [Act.decode(value) for value in connection.scalars(select(act.c.value))]


def fold(database: Database, *messages: tuple[str, bytes | None]) -> None:
    records = [
        Record(topic=SECRETS.name, partition=0, offset=n, key=key.encode(), value=value, headers={}, timestamp_ms=0)
        for n, (key, value) in enumerate(messages)
    ]
    with database.write() as connection:
        fold_secrets(connection, records)


async def test_what_is_stored_opens_with_the_vault_and_only_there(secrets: Secrets, empty: Database) -> None:
    stored = await store(secrets)

    [(key, value)] = told(empty)
    entry = SecretEntry.decode(value or b"")
    opened = VAULT.decrypt(entry, owner=TOKEN.owner, name=TOKEN.name, environment="sandbox")
    assert (key, stored.version, entry.version, opened) == (TOKEN.key, 1, 1, VALUE)
    with empty.read() as connection:
        everything = [repr(row) for table in (secret, outbox, act) for row in connection.execute(select(table))]
    assert CANARY not in "".join(everything)


async def test_acts_say_who_and_which_version(secrets: Secrets, empty: Database) -> None:
    await store(secrets)
    await secrets.delete(TOKEN, Said(ANNA, "left"))

    assert {(one.act, one.actor, one.reason, one.targets, one.detail["version"]) for one in acts(empty)} == {
        ("secret.set", "anna", "because", (TOKEN.key,), 1),
        ("secret.delete", "anna", "left", (TOKEN.key,), 1),
    }


async def test_deleted_version_is_never_given_again(secrets: Secrets, empty: Database) -> None:
    """Else what was encrypted then would open again."""
    await store(secrets)
    await secrets.delete(TOKEN, Said(ANNA))
    assert (told(empty)[-1], SecretLooks(empty).all()) == ((TOKEN.key, None), [])
    assert (await store(secrets, expect=0)).version == 2

    await secrets.delete(TOKEN, Said(ANNA))
    fold(empty, (TOKEN.key, None))  # with the tombstone the row goes, too
    with empty.read() as connection:
        assert connection.execute(select(secret)).all() == []
    assert (await store(secrets)).version == 3


async def test_many_at_once_get_a_version_each(secrets: Secrets, empty: Database) -> None:
    found = await asyncio.gather(*(store(secrets) for _ in range(6)))

    assert sorted(one.version for one in found) == [*range(1, 7)]
    assert [SecretEntry.decode(value or b"").version for _, value in told(empty)] == [*range(1, 7)]


async def test_expectation_that_does_not_hold_is_a_conflict(secrets: Secrets, empty: Database) -> None:
    with pytest.raises(Conflict, match="none is stored"):
        await store(secrets, expect=1)
    await store(secrets, expect=0)

    with pytest.raises(Conflict, match="version 1 is stored"):
        await store(secrets, expect=0)
    with pytest.raises(Conflict):
        await secrets.delete(TOKEN, Said(ANNA, expect=2))
    assert len(told(empty)) == 1


@pytest.mark.usefixtures("used")
async def test_environment_is_that_of_the_flows(secrets: Secrets) -> None:
    assert (await store(secrets, environment=None)).environment == "sandbox"
    assert (await secrets.set(HMAC, KEYS, Said(ANNA))).used_by == ("acme-eu",)
    with pytest.raises(BadInput, match="flow acme-eu is a sandbox flow, not production"):
        await store(secrets, environment="production")


async def test_environment_of_what_no_flow_uses_must_be_said(secrets: Secrets) -> None:
    with pytest.raises(BadInput, match="no flow uses it yet"):
        await store(secrets, environment=None)


async def test_environment_of_an_account_is_its_own(secrets: Secrets) -> None:
    place = Place("netsuite/1234567_SB1", "oauth2-m2m")
    value = {"client_id": "c", "certificate_id": "c", "private_key_pem": "p"}

    assert (await secrets.set(place, value, Said(ANNA))).environment == "sandbox"
    with pytest.raises(BadInput, match="account 1234567_SB1 is a sandbox account, not production"):
        await secrets.set(place, value, Said(ANNA), "production")


@pytest.mark.usefixtures("used")
async def test_what_a_flow_needs_is_only_deleted_by_force(secrets: Secrets, empty: Database) -> None:
    await store(secrets)
    await secrets.set(Place("flow/acme-eu", "webhook-basic"), basic(), Said(ANNA))
    assert [one.used_by for one in SecretLooks(empty).all()] == [(), ("acme-eu",)]

    with pytest.raises(Conflict, match="needed by flow acme-eu"):
        await secrets.delete(TOKEN, Said(ANNA))
    await secrets.delete(TOKEN, Said(ANNA), force=True)
    await secrets.delete(Place("flow/acme-eu", "webhook-basic"), Said(ANNA))
    with pytest.raises(NotFound):
        await secrets.delete(TOKEN, Said(ANNA), force=True)


def basic() -> dict[str, Any]:
    return {"keys": [{"id": "k", "user": "u", "password": "p"}]}


@pytest.mark.parametrize(
    ("place", "value", "problem"),
    [
        (Place("flow/acme", "api-token"), VALUE, "belongs to an owner pipedrive/"),
        (Place("netsuite/1234567-sb1", "oauth2-m2m"), {}, "not how NetSuite writes"),
        (Place("pipedrive/Acme", "api-token"), VALUE, "is no name"),
        (Place("pipedrive/acme", "password"), VALUE, "no credential of ours"),
        (TOKEN, {"token": [CANARY]}, "Expected `str`"),
        (TOKEN, {CANARY: 1}, "may only hold token"),
        (TOKEN, {"token": f"{CANARY}\ud800"}, "JSON in UTF-8 cannot say"),
    ],
)
async def test_what_does_not_fit_is_refused_without_quoting_it(
    secrets: Secrets, empty: Database, place: Place, value: dict[str, Any], problem: str
) -> None:
    with pytest.raises(BadInput, match=problem) as error:
        await secrets.set(place, value, Said(ANNA), "sandbox")
    assert CANARY not in str(error.value)
    assert told(empty) == []


async def test_without_keys_nothing_is_stored(empty: Database) -> None:
    with pytest.raises(Conflict, match="MLC_VAULT_KEYS"):
        await store(Secrets(empty, Level(), None, ManualClock()))


@pytest.mark.parametrize("behind", [SECRETS, AUDIT])
async def test_nothing_changes_while_the_topics_are_not_read(empty: Database, behind: Topic) -> None:
    """A database that was just made anew does not know which versions are given."""
    with pytest.raises(TryLater):
        await store(Secrets(empty, Level(behind), lambda: VAULT, ManualClock()))
    assert told(empty) == []
