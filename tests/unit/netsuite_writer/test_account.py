"""One account at work, on a clock that the test moves: what counts against a record, what makes the account wait."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import httpx2
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ml_connector.common.clock import ManualClock
from ml_connector.common.credentials import NetsuiteM2M
from ml_connector.common.directory import LiveFlow
from ml_connector.common.errors import Fenced
from ml_connector.common.flows import parse_flow
from ml_connector.common.kafka.transaction import Transaction, TransactionalProducer
from ml_connector.common.wire import Attempt, BatchJob, Desired, Hydrate, Outcome, Standing
from ml_connector.netsuite_writer.account import Account
from ml_connector.netsuite_writer.gate import Gate
from ml_connector.netsuite_writer.govern import Governor
from ml_connector.netsuite_writer.job import Tools
from ml_connector.netsuite_writer.netsuite.client import NetsuiteClient
from ml_connector.netsuite_writer.netsuite.tokens import TOKEN_PATH, Tokens
from ml_connector.netsuite_writer.settings import WriterSettings
from ml_connector.netsuite_writer.settlement import Settler
from ml_connector.netsuite_writer.store import Store, Waiting
from support.desired import ACCOUNT, FLOW, desired, key_of

Vendor = Callable[[httpx2.Request], httpx2.Response]

KEY = ec.generate_private_key(ec.SECP256R1())
PEM = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()
DOCUMENT = {
    "flow": FLOW,
    "environment": "sandbox",
    "pipedrive": {"company": "acme-eu"},
    "netsuite": {"account": ACCOUNT, "base_url": "https://netsuite.test"},
    "external_ids": "pd",
    "entities": {"organization": {"record": "customer", "fields": {"companyName": "data.name"}}},
}
TRIES = 3


class FakeProducer:
    """Commits are kept; `fenced` refuses them as a newer owner's producer would."""

    def __init__(self) -> None:
        self.committed: list[Transaction] = []
        self.fenced = False

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        transaction = Transaction()
        yield transaction
        if self.fenced:
            raise Fenced("another producer has taken over")
        self.committed.append(transaction)

    def outcomes(self) -> list[Outcome]:
        sent = [message for transaction in self.committed for message in transaction.messages]
        return [Outcome.decode(value) for topic, _, value, *_ in sent if topic == "audit" and value is not None]


class FakeMessages:
    async def attempt(self, attempt: Attempt | None, record: str) -> None: ...

    async def job(self, job: BatchJob | None, idempotency_key: str) -> None: ...

    async def standing(self, standing: Standing | None, key: str) -> None: ...

    async def hydrate(self, request: Hydrate, company: str) -> None: ...


class OneFlow:
    def flow(self, name: str) -> LiveFlow | None:
        return LiveFlow(parse_flow(DOCUMENT), 1, paused=False)


class Office:
    """An account with everything that it needs; the vendor is a function."""

    def __init__(self, vendor: Vendor) -> None:
        self.clock = ManualClock()
        self.producer = FakeProducer()
        self.store = Store.in_memory()
        self.calls: list[str] = []
        self._vendor = vendor
        settings = WriterSettings(kafka_bootstrap_servers="nowhere:1", store_dir=Path("unused"), tries=TRIES)
        producer = cast(TransactionalProducer, self.producer)
        self.settler = Settler(
            0, producer=producer, store=self.store, prefix="", session_timeout_s=10, clock=self.clock
        )
        self._settling = asyncio.create_task(self.settler.run())
        http = httpx2.AsyncClient(transport=httpx2.MockTransport(self._answer))
        credential = NetsuiteM2M("client", "certificate", PEM, "ES256")
        tokens = Tokens(http, "https://netsuite.test", credential=lambda: credential, clock=self.clock)
        tools = Tools(
            settings=settings,
            clock=self.clock,
            flows=OneFlow(),
            store=self.store,
            settler=self.settler,
            messages=FakeMessages(),
            owner="me",
            chance=random.Random(1),
        )
        chance = random.Random(1)
        self.gate = Gate(Governor(5, chance=chance), settings=settings, clock=self.clock, chance=chance)
        client = NetsuiteClient(http, "https://netsuite.test", tokens, self.gate)
        self.account = Account(ACCOUNT.lower(), gate=self.gate, client=client, tools=tools)

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.path == TOKEN_PATH:
            return httpx2.Response(200, json={"access_token": "t", "expires_in": 3600, "token_type": "Bearer"})
        self.calls.append(request.url.path.rpartition(":")[2])
        return self._vendor(request)

    def accept(self, state: Desired) -> None:
        with self.store.change():
            self.store.put_desired(key_of(state), state.encode())
        self.account.accept(Waiting(key_of(state), "", state.encode()))
        self.account.pump()

    async def pass_time(self, seconds: float) -> None:
        """Move the clock, and let everything that can run now run to its end."""
        self.clock.advance(seconds)
        self.gate.wake()
        self.account.pump()
        for _ in range(100):
            await asyncio.sleep(0)

    async def close(self) -> None:
        await self.account.stop(1.0)
        self._settling.cancel()


def broken_for(external_id: str) -> Vendor:
    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.path.endswith(external_id):
            return httpx2.Response(500, json=_error("UNEXPECTED_ERROR"))
        return httpx2.Response(204, headers={"location": "https://netsuite.test/customer/1"})

    return answer


async def test_an_outage_dead_letters_nothing_however_long_it_lasts() -> None:
    office = Office(broken_for("1"))
    office.accept(desired("organization", "1"))

    for _ in range(TRIES * 5):
        await office.pass_time(60)

    assert len(office.calls) == TRIES * 5
    assert office.producer.outcomes() == []
    await office.close()


async def test_a_record_that_fails_while_others_succeed_becomes_a_dead_letter() -> None:
    office = Office(broken_for("pd-org-1"))
    office.accept(desired("organization", "1"))

    for number in range(2, 2 + TRIES * 2):
        office.accept(desired("organization", str(number)))
        await office.pass_time(60)

    (letter,) = [outcome for outcome in office.producer.outcomes() if outcome.outcome == "dead_lettered"]
    assert (letter.external_id, letter.stage) == ("pd-org-1", "vendor")
    await office.close()


async def test_refused_credentials_make_the_account_wait_and_dead_letter_nothing() -> None:
    refused = True

    def vendor(_: httpx2.Request) -> httpx2.Response:
        if refused:
            return httpx2.Response(401, json=_error("INVALID_LOGIN"))
        return httpx2.Response(204, headers={"location": "https://netsuite.test/customer/1"})

    office = Office(vendor)
    office.accept(desired("organization", "1"))
    await office.pass_time(0)
    await office.pass_time(5)
    calls_while_refused = len(office.calls)
    refused = False
    await office.pass_time(30)

    assert calls_while_refused == 2  # one with the token that it had, one with a new one
    assert [outcome.outcome for outcome in office.producer.outcomes()] == ["written"]
    await office.close()


async def test_a_former_owner_that_was_stopped_for_a_while_calls_nobody() -> None:
    office = Office(broken_for("nothing"))
    office.producer.fenced = True
    office.clock.advance(6)

    office.accept(desired("organization", "1"))
    await office.pass_time(0)

    assert office.calls == []
    assert office.settler.fenced.is_set()
    await office.close()


async def test_a_hydrate_that_was_answered_twice_has_one_outcome() -> None:
    office = Office(broken_for("nothing"))
    first, again = (desired("organization", "1", version=version, cause="hyd:1") for version in (1, 2))
    for state in (first, again):
        with office.store.change():
            office.store.put_desired(key_of(state), state.encode())
        office.account.accept(Waiting(key_of(state), "", state.encode()))

    await office.pass_time(0)

    assert [(outcome.cause, outcome.outcome) for outcome in office.producer.outcomes()] == [("hyd:1", "written")]
    assert list(office.store.all_desired()) == []
    await office.close()


def _error(code: str) -> dict[str, Any]:
    return {"title": "Error", "o:errorDetails": [{"detail": "An error.", "o:errorCode": code}]}
