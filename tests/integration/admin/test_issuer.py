"""Keys from an issuer over real HTTP: found, kept, rotated, and what becomes of a flood and of an outage."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import httpx2
import pytest

from ml_connector.admin.identity.keys import FRESH_S, MAX_DOCUMENT_BYTES, PAUSE_S, DiscoveredKeys
from ml_connector.admin.identity.roles import Actor, Role, Unauthenticated
from ml_connector.admin.identity.tokens import Verifier
from ml_connector.cli.tokens import jwks_of, make_token, new_signing_key
from ml_connector.common.clock import ManualClock
from ml_connector.common.errors import TryLater

DISCOVERY = "/.well-known/openid-configuration"


class Issuer:
    """`with Issuer() as issuer:`. Publishes `keys`; answers as it is told."""

    def __init__(self) -> None:
        self.pem = new_signing_key()
        self.keys: list[dict[str, Any]] = jwks_of(self.pem)["keys"]
        self.heard: list[str] = []
        self.status = 200
        self.headers: dict[str, str] = {}
        self.configuration: dict[str, Any] = {}
        self.body: Callable[[bytes], bytes] = lambda body: body
        self.let_go = threading.Event()
        self.let_go.set()
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.heard.append(self.path)
                issuer.let_go.wait(30)
                body = issuer.body(json.dumps(issuer.document(self.path)).encode())
                try:
                    self.send_response(issuer.status)
                    for name, value in {**issuer.headers, "content-length": str(len(body))}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(body)
                except ConnectionError:
                    pass  # nobody waits any more

            def log_message(self, *words: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def document(self, path: str) -> dict[str, Any]:
        if path == DISCOVERY:
            return {"issuer": self.url, "jwks_uri": f"{self.url}/keys", **self.configuration}
        return {"keys": self.keys}

    def rotate(self) -> None:
        """The new key is published beside the former one, and signs from now on."""
        self.pem = new_signing_key()
        self.keys = [*jwks_of(self.pem)["keys"], *self.keys]

    def token(self, clock: ManualClock) -> str:
        now_s = clock.now_ms() // 1000
        made = make_token(
            self.pem, issuer=self.url, audience="a", subject="anna", roles=["viewer"], lifetime_s=900, now_s=now_s
        )
        return f"Bearer {made}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.let_go.set()
        self._server.shutdown()
        self._server.server_close()


class Desk:
    """A verifier that trusts the issuer, and the clock of both."""

    def __init__(self, issuer: Issuer, *, deadline_s: float = 5.0) -> None:
        self.issuer = issuer
        self.clock = ManualClock()
        self.keys = DiscoveredKeys(issuer.url + DISCOVERY, issuer=issuer.url, clock=self.clock, deadline_s=deadline_s)
        self._verifier = Verifier(
            self.keys,
            issuer=issuer.url,
            audience="a",
            algorithms=("ES256",),
            clock_skew_s=0,
            roles_claim="roles",
            roles={"viewer": "viewer"},
            clock=self.clock,
        )

    async def verify(self, token: str | None = None) -> Actor:
        return await self._verifier.verify(token or self.issuer.token(self.clock))

    async def believes(self) -> bool:
        try:
            return await self.verify() == Actor("anna", Role.viewer)
        except (Unauthenticated, TryLater):
            return False

    async def until_heard(self, count: int) -> None:
        """For what goes on in the background: until the issuer was asked so often."""
        async with asyncio.timeout(10):
            while len(self.issuer.heard) < count:  # noqa: ASYNC110  it is a thread that makes it so
                await asyncio.sleep(0.005)


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer() as issuer:
        yield issuer


@asynccontextmanager
async def desk_at(issuer: Issuer, *, deadline_s: float = 5.0) -> AsyncIterator[Desk]:
    desk = Desk(issuer, deadline_s=deadline_s)
    try:
        yield desk
    finally:
        await desk.keys.close()


@pytest.fixture
async def desk(issuer: Issuer) -> AsyncIterator[Desk]:
    async with desk_at(issuer) as desk:
        yield desk


async def test_keys_are_fetched_once_for_all_who_ask(desk: Desk) -> None:
    found = await asyncio.gather(*(desk.verify() for _ in range(50)))

    assert set(found) == {Actor("anna", Role.viewer)}
    assert desk.issuer.heard == [DISCOVERY, "/keys"]


async def test_new_key_is_believed_at_once_and_the_former_one_still(desk: Desk) -> None:
    former = desk.issuer.token(desk.clock)
    await desk.verify(former)
    desk.clock.advance(PAUSE_S)

    desk.issuer.rotate()

    assert await desk.believes()
    assert await desk.verify(former) == Actor("anna", Role.viewer)


async def test_flood_of_unknown_keys_is_one_fetch(desk: Desk) -> None:
    await desk.verify()
    desk.clock.advance(PAUSE_S)
    desk.issuer.heard.clear()
    strangers = new_signing_key()
    flood = [
        make_token(strangers, issuer=desk.issuer.url, audience="a", subject="s", roles=[], lifetime_s=9, now_s=n)
        for n in range(50)
    ]

    for _ in range(3):
        refused = await asyncio.gather(*(desk.verify(f"Bearer {one}") for one in flood), return_exceptions=True)
        assert {type(error) for error in refused} == {Unauthenticated}
        desk.clock.advance(PAUSE_S / 4)

    assert desk.issuer.heard == [DISCOVERY, "/keys"]
    assert await desk.believes()


async def test_withdrawn_key_is_refused_once_the_keys_were_read_again(desk: Desk) -> None:
    withdrawn = desk.issuer.token(desk.clock)
    await desk.verify(withdrawn)
    desk.issuer.rotate()
    del desk.issuer.keys[1:]
    desk.clock.advance(FRESH_S + 1)

    await desk.verify(withdrawn)  # nobody waits for the fetch that this begins
    await desk.until_heard(4)
    assert await desk.believes()

    with pytest.raises(Unauthenticated, match="none of the issuer's"):
        await desk.verify(withdrawn)


async def test_outage_leaves_the_keys_that_are_known(desk: Desk) -> None:
    await desk.verify()
    desk.issuer.status = 503

    for tries in range(1, 10):
        desk.clock.advance(FRESH_S + 1)
        async with asyncio.timeout(10):
            while len(desk.issuer.heard) < 2 + tries:  # the fetch before may not have ended yet
                assert await desk.believes()
                await asyncio.sleep(0.005)


async def test_unknown_key_during_an_outage_is_refused(desk: Desk) -> None:
    await desk.verify()
    desk.clock.advance(PAUSE_S)
    desk.issuer.status = 503
    desk.issuer.rotate()

    with pytest.raises(Unauthenticated, match="none of the issuer's"):
        await desk.verify()


async def test_issuer_that_never_answered_is_try_later_and_left_alone_for_a_while(desk: Desk) -> None:
    desk.issuer.status = 503
    for _ in range(5):
        with pytest.raises(TryLater) as refused:
            await desk.verify()
    assert desk.issuer.heard == [DISCOVERY]
    assert refused.value.after_s == PAUSE_S

    desk.issuer.status = 200
    desk.clock.advance(PAUSE_S)

    assert await desk.believes()


async def test_issuer_that_is_not_there_is_try_later(issuer: Issuer) -> None:
    nowhere = DiscoveredKeys("http://127.0.0.1:1/none", issuer=issuer.url, clock=ManualClock())

    with pytest.raises(TryLater):
        await nowhere.find("k", algorithm="ES256")

    await nowhere.close()


async def test_slow_issuer_holds_up_nobody_who_has_a_known_key(desk: Desk) -> None:
    await desk.verify()
    desk.issuer.let_go.clear()
    desk.clock.advance(FRESH_S + 1)

    async with asyncio.timeout(2):
        found = [await desk.verify() for _ in range(20)]

    assert len(found) == 20


async def test_slow_issuer_is_given_up(issuer: Issuer) -> None:
    issuer.let_go.clear()
    async with desk_at(issuer, deadline_s=0.1) as desk:
        async with asyncio.timeout(3):  # httpx2 itself would wait for 5 s
            with pytest.raises(TryLater):
                await desk.verify()

        issuer.let_go.set()
        desk.clock.advance(PAUSE_S)

        assert await desk.believes()


async def test_who_goes_away_does_not_stop_the_fetch_for_the_others(desk: Desk) -> None:
    desk.issuer.let_go.clear()
    first, second = asyncio.create_task(desk.verify()), asyncio.create_task(desk.verify())
    await desk.until_heard(1)

    first.cancel()
    await asyncio.wait([first])
    desk.issuer.let_go.set()

    assert await second == Actor("anna", Role.viewer)
    assert first.cancelled() and desk.issuer.heard == [DISCOVERY, "/keys"]


async def test_close_while_a_fetch_goes_on_ends(issuer: Issuer) -> None:
    issuer.let_go.clear()
    async with desk_at(issuer) as desk:
        asking = asyncio.create_task(desk.verify())
        await desk.until_heard(1)

    with pytest.raises(TryLater):
        await asking


@pytest.mark.parametrize(
    ("heard", "how"),
    [
        (1, {"configuration": {"issuer": "https://evil.example.com"}}),
        (1, {"configuration": {"issuer": None}}),
        (1, {"configuration": {"jwks_uri": 7}}),
        (1, {"configuration": {"jwks_uri": "not an address"}}),
        (1, {"configuration": {"jwks_uri": "file:///etc/passwd"}}),
        (1, {"configuration": {"jwks_uri": "http://[::1"}}),
        (1, {"configuration": {"jwks_uri": "http://127.0.0.1:99999/keys"}}),
        (1, {"configuration": {"jwks_uri": f"http://{'a' * 64}.invalid/keys"}}),
        (1, {"status": 302, "headers": {"location": "/keys"}}),
        (1, {"body": lambda _: b"<html>"}),
        (1, {"body": lambda _: b"[" * 100_000}),
        (1, {"body": lambda body: body[:-1] + b" " * MAX_DOCUMENT_BYTES + b"}"}),
        (1, {"body": gzip.compress, "headers": {"content-encoding": "gzip"}}),
        (2, {"keys": []}),
        (2, {"keys": [{"kty": "oct", "kid": "k", "k": "c2VjcmV0"}]}),
        (2, {"keys": {"kid": "k"}}),
    ],
)
async def test_wrong_document_is_not_believed(desk: Desk, heard: int, how: dict[str, Any]) -> None:
    for name, value in how.items():
        setattr(desk.issuer, name, value)

    with pytest.raises(TryLater):
        await desk.verify()

    assert len(desk.issuer.heard) == heard


async def test_wrong_document_later_leaves_the_keys_that_are_known(desk: Desk) -> None:
    await desk.verify()
    desk.issuer.configuration = {"issuer": "https://evil.example.com"}
    desk.clock.advance(FRESH_S + 1)

    assert await desk.believes()
    await desk.until_heard(3)
    assert await desk.believes()


@pytest.mark.parametrize(("scheme", "expected"), [("https", 2), ("http", 1)])
async def test_https_never_leads_to_http(scheme: str, expected: int) -> None:
    pem = new_signing_key()
    asked: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(str(request.url))
        found = {"issuer": "https://i.example", "jwks_uri": f"{scheme}://i.example/keys", **jwks_of(pem)}
        return httpx2.Response(200, content=streamed(json.dumps(found).encode()))

    async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as client:
        keys = DiscoveredKeys("https://i.example/c", issuer="https://i.example", clock=ManualClock(), client=client)
        with pytest.raises(Unauthenticated if scheme == "https" else TryLater):
            await keys.find("k", algorithm="ES256")

    assert len(asked) == expected


async def streamed(body: bytes) -> AsyncIterator[bytes]:
    yield body
