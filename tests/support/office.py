"""One account at work on a clock that the test moves: everything real but the vendor (a function) and the broker."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, cast

import httpx2
import msgspec
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
from support.desired import ACCOUNT, FLOW, key_of
from support.over_transport import OverTransport

Vendor = Callable[[httpx2.Request], httpx2.Response | Awaitable[httpx2.Response]]

KEY: Final = ec.generate_private_key(ec.SECP256R1())
PEM: Final = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()
DOCUMENT: Final[dict[str, Any]] = {
    "flow": FLOW,
    "environment": "sandbox",
    "pipedrive": {"company": "acme-eu"},
    "netsuite": {"account": ACCOUNT, "base_url": "https://netsuite.test"},
    "external_ids": "pd",
    "entities": {"organization": {"record": "customer", "fields": {"companyName": "data.name"}}},
}
TOKEN: Final = httpx2.Response(200, json={"access_token": "t", "expires_in": 3600, "token_type": "Bearer"})
TRIES: Final = 3


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
    """`ack_s`: how long the broker takes to acknowledge an attempt, by the event loop's time."""

    def __init__(self) -> None:
        self.ack_s = 0.0
        self.hydrates: list[Hydrate] = []
        self.standings: list[tuple[str, Standing | None]] = []
        self.jobs: list[tuple[str, BatchJob | None]] = []

    async def attempt(self, attempt: Attempt | None, record: str) -> None:
        if self.ack_s:
            await asyncio.sleep(self.ack_s)

    async def job(self, job: BatchJob | None, idempotency_key: str) -> None:
        self.jobs.append((idempotency_key, job))

    async def standing(self, standing: Standing | None, key: str) -> None:
        self.standings.append((key, standing))

    async def hydrate(self, request: Hydrate, company: str) -> None:
        self.hydrates.append(request)


class Flows:
    """`known` may be changed."""

    def __init__(self, *documents: Mapping[str, Any]) -> None:
        self.known = {str(one["flow"]): LiveFlow(parse_flow(one), 1, paused=False) for one in documents}

    def flow(self, name: str) -> LiveFlow | None:
        return self.known.get(name)


class Office:
    """`vendor` answers all requests but those for a token."""

    def __init__(
        self,
        vendor: Vendor,
        *,
        documents: Sequence[Mapping[str, Any]] = (DOCUMENT,),
        clock: ManualClock | None = None,
        slots: int = 5,
        **settings: Any,
    ) -> None:
        self.clock = clock or ManualClock()
        self.producer = FakeProducer()
        self.messages = FakeMessages()
        self.flows = Flows(*documents)
        self.store = Store.in_memory()
        self.requests: list[httpx2.Request] = []
        self.tokens_asked = 0
        self.token_answer = TOKEN
        self._vendor = vendor
        made = WriterSettings(
            kafka_bootstrap_servers="nowhere:1", store_dir=Path("unused"), **{"tries": TRIES, **settings}
        )
        producer = cast(TransactionalProducer, self.producer)
        self.settler = Settler(
            0, producer=producer, store=self.store, prefix="", session_timeout_s=10, clock=self.clock
        )
        self._settling = asyncio.create_task(self.settler.run())
        transport = httpx2.MockTransport(self._answer)
        http = httpx2.AsyncClient(transport=transport)
        credential = NetsuiteM2M("client", "certificate", PEM, "ES256")
        tokens = Tokens(http, "https://netsuite.test", credential=lambda: credential, clock=self.clock)
        self.tools = tools = Tools(
            settings=made,
            clock=self.clock,
            flows=self.flows,
            store=self.store,
            settler=self.settler,
            messages=self.messages,
            owner="me",
            chance=random.Random(1),
        )
        chance = random.Random(1)
        self.gate = Gate(Governor(slots, chance=chance), settings=made, clock=self.clock, chance=chance)
        self.client = NetsuiteClient(OverTransport(transport), "https://netsuite.test", tokens, self.gate)
        self.account = Account(ACCOUNT.lower(), gate=self.gate, client=self.client, tools=tools)

    @property
    def calls(self) -> list[str]:
        """Of each request the record's external id, else the path."""
        return [request.url.path.rpartition(":")[2] for request in self.requests]

    async def _answer(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.path == TOKEN_PATH:
            self.tokens_asked += 1
            return self.token_answer
        self.requests.append(request)
        answer = self._vendor(request)
        return answer if isinstance(answer, httpx2.Response) else await answer

    def accept(self, *states: Desired, traceparent: str = "") -> None:
        """As if they came in one go."""
        with self.store.change():
            for state in states:
                self.store.put_desired(key_of(state), state.encode(), trace=traceparent)
        for state in states:
            self.account.accept(Waiting(key_of(state), traceparent, state.encode()))
        self.account.pump()

    async def pass_time(self, seconds: float) -> None:
        """Move the clock, and let everything that can run now run to its end."""
        self.clock.advance(seconds)
        self.gate.wake()
        self.account.pump()
        for _ in range(100):
            await asyncio.sleep(0)

    def outcome(self, state: Desired) -> str:
        """Of this state; empty while it waits."""
        found = [one.outcome for one in self.producer.outcomes() if one.cause == state.cause]
        assert len(found) <= 1
        return found[0] if found else ""

    async def close(self) -> None:
        await self.account.stop(0.0)
        self._settling.cancel()


def written(internal_id: str = "1") -> httpx2.Response:
    return httpx2.Response(204, headers={"location": f"https://netsuite.test/customer/{internal_id}"})


def refused(status: int, code: str, detail: str = "An error.") -> httpx2.Response:
    return httpx2.Response(status, json={"title": "Error", "o:errorDetails": [{"detail": detail, "o:errorCode": code}]})


def found_rows(*rows: Mapping[str, Any]) -> httpx2.Response:
    """A page of SuiteQL."""
    return httpx2.Response(200, content=msgspec.json.encode({"items": list(rows), "hasMore": False}))
