"""A webhook's key is replaced by steps; whatever stops one, nothing is lost and the next run goes on."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import tempfile
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from ml_connector.admin.changing import Said
from ml_connector.admin.database import Database
from ml_connector.admin.identity.roles import Actor, Role
from ml_connector.admin.replay.control import Conflict, NotFound
from ml_connector.admin.secrets.change import Place, Secrets
from ml_connector.admin.tables import act, secret
from ml_connector.admin.webhooks.ask import FlowWebhooks
from ml_connector.admin.webhooks.ingests import LISTEN_S, Ingests
from ml_connector.admin.webhooks.rotate import NotAcknowledged, Parts, Rotate, Rotated, WebhookRotation
from ml_connector.common.asking import TOLD_EVERY_S, AtIngest, AtTheDoor, Subscribed, Subscription, Webhooks
from ml_connector.common.clock import Deadline, ManualClock
from ml_connector.common.directory import LiveFlow
from ml_connector.common.errors import BadInput, ConnectorError, TryLater
from ml_connector.common.flows import parse_flow
from ml_connector.common.topics import Topic
from ml_connector.common.vault import SecretEntry, Vault
from ml_connector.common.wire import Act
from support.letters import new_database

FLOW = "acme-eu"
SAID = Said(Actor("anna", Role.admin), "it leaked")
VAULT = Vault.from_text(f"k1:{base64.b64encode(bytes(32)).decode()}")
OLD_KEY_S = 300.0
BASIC = {"keys": [{"id": "old", "user": "u", "password": "p" * 8}]}
HMAC = {"keys": [{"id": "old", "secret": "the old signing key"}]}
NEW_SECRET = "the new signing key"
T = TypeVar("T")
Trouble = Literal["", "publish", "ask", "answer", "level"]


class Office:
    """Everything real but Pipedrive's owner, and ingest, which hears of a key when it is published."""

    def __init__(self, database: Database, verify: str = "basic", ingests: tuple[str, ...] = ("a", "b")) -> None:
        self.clock = ManualClock()
        self.database = database
        self.trouble: Trouble = ""
        self.alive = set(ingests)
        self.deaf: set[str] = set()
        self.given_out: list[str] = []  # keys that the resolver was told to use
        self.carried = "old"  # by the webhooks
        self.believed = dict.fromkeys(ingests, frozenset({"old"}))
        self._verify = verify
        self.ingests = Ingests(self.clock)
        self.ingests.begin()
        self.secrets = Secrets(database, self, lambda: VAULT, self.clock)
        webhooks = cast(FlowWebhooks, self)
        parts = Parts(self, self.secrets, webhooks, self.ingests, database, self, self.publish)
        self.rotation = WebhookRotation(parts, self.clock, old_key_s=OLD_KEY_S)

    async def begin(self) -> Office:
        names = {
            "basic": ("webhook-basic",),
            "hmac-sha256": ("webhook-hmac",),
            "both": ("webhook-basic", "webhook-hmac"),
        }
        for name in names[self._verify]:
            value = BASIC if name == "webhook-basic" else HMAC
            await self.secrets.set(Place(f"flow/{FLOW}", name), value, SAID, "sandbox")
        self.clock.advance(LISTEN_S)
        self.tell()
        return self

    # -- what it works with --------------------------------------------------------------------------------------------

    def active(self, name: str) -> LiveFlow:
        document = {
            "flow": FLOW, "environment": "sandbox", "external_ids": "pd", "netsuite": {"account": "1234567_SB1"},
            "pipedrive": {"company": "acme", "webhook": {"verify": self._verify}},
            "entities": {"organization": {"record": "customer", "fields": {"companyName": "data.name"}}},
        }  # fmt: skip
        if name != FLOW:
            raise NotFound(f"there is no flow {name}")
        return LiveFlow(parse_flow(document), 1, paused=False)

    async def until_level(self, deadline: Deadline, *, of: Topic | None = None) -> None:
        self._fail("level")

    async def publish(self) -> bool:
        self._fail("publish")
        self.tell()
        return True

    async def ask(self, asked: Webhooks) -> Subscribed:
        self.given_out.append(asked.renew)
        assert all(asked.renew in self.believed[name] for name in self.alive - self.deaf), "before ingest believes it"
        self._fail("ask")
        changed, self.carried = self.carried != asked.renew, asked.renew
        made = (Subscription(1, "deal", "*", "https://in.example"),) if changed else ()
        self._fail("answer")
        return Subscribed(created=made, removed=made)

    def _fail(self, what: Trouble) -> None:
        if self.trouble == what:
            raise TryLater("somebody pulled a plug")

    # -- what happens ----------------------------------------------------------------------------------------------------

    def tell(self) -> None:
        """Every ingest that lives reads the topic and says what it believes."""
        ids = [key["id"] for key in self.value()["keys"]]
        for name in sorted(self.alive - self.deaf):
            self.believed[name] = frozenset(ids)
            proof = "basic" if self._verify == "basic" else "hmac-sha256"
            keys = tuple(f"{proof}:{one}" for one in ids) if len(ids) > 1 else ()
            self.say(name, {FLOW: AtTheDoor(keys=keys)})
        for name in sorted(self.alive & self.deaf):
            self.say(name, {})

    def say(self, name: str, flows: dict[str, AtTheDoor], *, left: bool = False) -> None:
        said = AtIngest(instance=name, at_ms=self.clock.now_ms(), flows=flows, left=left)
        self.ingests.hear(f"ingest/{name}", said.encode())

    async def rotate(self, **asked: Any) -> Rotated:
        return await self.passing(self.rotation.run(Rotate(FLOW, **asked), SAID))

    async def passing(self, work: Coroutine[Any, Any, T]) -> T:
        """Time passes while it waits, and who lives goes on telling."""
        task = asyncio.create_task(work)
        while not task.done():
            if self.clock.sleepers:
                self.clock.advance(TOLD_EVERY_S / 10)
                self.tell()
            await asyncio.sleep(0.0005)
        return task.result()

    def value(self) -> dict[str, Any]:
        """What is stored, opened."""
        name = "webhook-basic" if self._verify == "basic" else "webhook-hmac"
        with self.database.read() as connection:
            stored = connection.scalar(select(secret.c.value).where(secret.c.key == f"flow/{FLOW}/{name}"))
        entry = SecretEntry.decode(stored or b"")
        return VAULT.decrypt(entry, owner=entry.owner, name=entry.name, environment="sandbox")

    def ids(self) -> list[str]:
        return [key["id"] for key in self.value()["keys"]]

    def acts(self) -> list[Act]:
        with self.database.read() as connection:
            found = connection.scalars(select(act.c.value).where(act.c.act == "webhooks.rotate"))
            return [Act.decode(value) for value in found]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    one = new_database(tmp_path)
    yield one
    one.close()


async def test_basic_key_is_replaced_in_two_runs(database: Database) -> None:
    office = await Office(database).begin()

    first = await office.rotate()
    again = await office.rotate()
    with pytest.raises(Conflict, match="the old key stays until 20"):
        await office.rotate(finish=True)
    both = office.ids()
    office.clock.advance(OLD_KEY_S)
    office.tell()
    done = await office.rotate(finish=True)
    after = await office.rotate(finish=True)

    assert (first.step, first.old_key, first.ingests) == ("overlapping", "old", ("a", "b"))
    assert first.finish_at_ms == again.finish_at_ms, "asking again does not put it off"
    assert both == ["old", first.key] and first.key == again.key == office.carried
    assert (done.step, done.old_key, office.ids()) == ("finished", "old", [first.key])
    assert (after.step, after.old_key) == ("finished", "")
    new = office.value()["keys"][0]
    assert len(new["password"]) >= 32 and new["password"] not in repr((first, done, office.acts()))
    assert [(one.actor, one.reason, one.targets) for one in office.acts()] == [("anna", "it leaked", (FLOW,))]


async def test_ingest_that_does_not_take_the_key_keeps_pipedrive_untouched(database: Database) -> None:
    office = await Office(database).begin()
    office.deaf = {"b"}

    with pytest.raises(NotAcknowledged, match="ingest b has not taken the new key"):
        await office.rotate()
    stopped = (office.given_out[:], office.carried, office.ids())
    office.deaf = set()
    office.tell()
    went_on = await office.rotate()

    assert stopped == ([], "old", ["old", went_on.key])


async def test_install_gives_out_no_key_that_an_ingest_lacks(database: Database) -> None:
    office = await Office(database).begin()
    await office.rotation.until_believed(FLOW, SAID)  # one key: nobody is asked
    office.deaf = {"b"}
    with pytest.raises(NotAcknowledged):
        await office.rotate()

    with pytest.raises(NotAcknowledged, match="ingest b"):
        await office.passing(office.rotation.until_believed(FLOW, SAID))
    office.deaf = set()
    office.tell()
    await office.rotation.until_believed(FLOW, SAID)


async def test_killed_ingest_is_waited_for_until_it_cannot_be_alive(database: Database) -> None:
    office = await Office(database).begin()
    office.alive.discard("b")
    began_s = office.clock.monotonic_s()

    found = await office.rotate()

    assert found.ingests == ("a",)
    assert office.clock.monotonic_s() - began_s >= 2 * TOLD_EVERY_S


async def test_ingest_that_said_goodbye_is_not_waited_for(database: Database) -> None:
    office = await Office(database).begin()
    office.alive.discard("b")
    office.say("b", {}, left=True)
    began_s = office.clock.monotonic_s()

    assert (await office.rotate()).ingests == ("a",)
    assert office.clock.monotonic_s() == began_s


async def test_without_any_ingest_nothing_is_given_out(database: Database) -> None:
    office = await Office(database, ingests=()).begin()

    with pytest.raises(NotAcknowledged, match="no ingest can be heard"):
        await office.rotate()
    assert office.given_out == []


async def test_signed_flow_gets_the_key_that_its_relay_will_have(database: Database) -> None:
    office = await Office(database, verify="hmac-sha256").begin()

    with pytest.raises(BadInput, match="give the new signing key"):
        await office.rotate()
    with pytest.raises(BadInput, match="there already"):
        await office.rotate(secret=HMAC["keys"][0]["secret"])
    first = await office.rotate(secret=NEW_SECRET)
    again = await office.rotate()
    with pytest.raises(Conflict, match="replacing another already"):
        await office.rotate(secret="yet another signing key")

    assert [key["secret"] for key in office.value()["keys"]] == ["the old signing key", NEW_SECRET]
    assert first.key == again.key and office.given_out == []
    assert first.finish_at_ms == office.clock.now_ms() + OLD_KEY_S * 1000


async def test_flow_with_both_proofs_must_say_which(database: Database) -> None:
    office = await Office(database, verify="both").begin()

    with pytest.raises(BadInput, match="say which proof"):
        await office.rotate()
    assert (await office.rotate(proof="hmac-sha256", secret=NEW_SECRET)).proof == "hmac-sha256"


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"proof": "hmac-sha256"}, "carry no hmac-sha256"),
        ({"secret": NEW_SECRET}, "give no key"),
        ({"url": "http://x"}, "https"),
    ],
)
async def test_what_does_not_fit_is_refused_before_anything_is_stored(
    database: Database, asked: dict[str, Any], says: str
) -> None:
    office = await Office(database).begin()

    with pytest.raises(BadInput, match=says):
        await office.rotate(**asked)
    assert office.ids() == ["old"]


RUNS = st.lists(
    st.tuples(st.sampled_from(["", "publish", "ask", "answer", "level"]), st.booleans(), st.floats(0, 1.5 * OLD_KEY_S)),
    max_size=8,
)


@given(RUNS)
@settings(max_examples=15, deadline=None)
def test_whatever_stops_a_run_what_the_webhooks_carry_is_believed(
    runs: list[tuple[Trouble, bool, float]],
) -> None:
    """And there are never three keys, nor does the old one go before its time."""

    async def play(office: Office) -> None:
        await office.begin()
        used_s: float | None = None
        for trouble, finish, passes_s in runs:
            office.trouble = trouble
            with contextlib.suppress(ConnectorError):
                await office.rotate(finish=finish)
            office.trouble = ""
            office.tell()
            if used_s is None and office.carried != "old":
                used_s = office.clock.monotonic_s()
            stored = office.ids()
            assert len(stored) <= 2 and office.carried in stored
            if "old" not in stored:
                assert used_s is not None and office.clock.monotonic_s() - used_s >= OLD_KEY_S
                return
            office.clock.advance(passes_s)
            office.tell()
        await office.rotate()
        assert office.ids() == ["old", office.carried]
        assert set(office.given_out) <= {office.carried}

    with tempfile.TemporaryDirectory() as place:
        database = new_database(Path(place))
        try:
            asyncio.run(play(Office(database)))
        finally:
            database.close()
