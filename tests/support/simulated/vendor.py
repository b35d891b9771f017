"""NetSuite's stand-in behind a transport without sockets. It goes on when its client hangs up or is killed.

Each request carries its own number as trace, so that the log tells until when its client waited for it.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import Any
from urllib.parse import parse_qsl

import httpx2
import msgspec

from ml_connector.sandbox.netsuite.app import NetsuiteStandIn
from ml_connector.sandbox.server import Broken
from ml_connector.sandbox.web import Reply, Request
from support.desired import ACCOUNT, RECORD_TYPES
from support.simulated.virtual_time import NOBODY, LoopClock, Process

NETWORK_S = 0.001  # no answer takes no time at all
BASE_URL = "https://netsuite.test"
_WRITES = frozenset({"PUT", "POST", "PATCH"})


class SimulatedVendor:
    """One account of NetSuite."""

    def __init__(self, clock: LoopClock, *, request_timeout_s: float, public_key_pem: str, **switches: Any) -> None:
        self.standin = NetsuiteStandIn(wall_s=clock.now_s)
        self.standin.journal.keep_bodies = True
        key = {"client_id": "client", "certificate_id": "certificate", "public_key_pem": public_key_pem}
        self.account = self.standin.accounts.register({"account": ACCOUNT, **key, **switches})
        self.unreachable = False
        self.problems: list[str] = []
        self._clock = clock
        self._timeout_s = request_timeout_s
        self._numbers = itertools.count(1)
        self._waiting: dict[str, Process] = {}
        self._hung_up_ms: dict[str, float] = {}
        self._former: set[Process] = set()

    def transport(self, process: Process) -> httpx2.MockTransport:
        async def answer(request: httpx2.Request) -> httpx2.Response:
            return await self._answer(process, request)

        return httpx2.MockTransport(answer)

    def taken_over(self, process: Process) -> None:
        """From now on another owner cannot know what this one still waits for; it may not begin anything."""
        self._former.add(process)
        for number, owner in self._waiting.items():
            if owner is process:
                self._hang_up(number)

    def log(self) -> list[dict[str, Any]]:
        """Requests end when their client hangs up; tasks of jobs have no client."""
        lines = self.standin.journal.after(0)
        for line in lines:
            hung_up_ms = self._hung_up_ms.get(line["trace"])
            if hung_up_ms is not None and not line["job"]:
                line["end_ms"] = min(line["end_ms"] or hung_up_ms, hung_up_ms)
        return lines

    async def records(self) -> dict[str, list[dict[str, Any]]]:
        """All that it holds, by record type."""
        found: dict[str, list[dict[str, Any]]] = {}
        for kind in RECORD_TYPES.values():
            reply = await self.standin.answer(Request("GET", f"/_sandbox/records/{ACCOUNT}/{kind}", {}, {}, b""))
            assert isinstance(reply, Reply)
            found[kind] = msgspec.json.decode(reply.body)
        return found

    async def _answer(self, process: Process, request: httpx2.Request) -> httpx2.Response:
        process.must_live()
        if self.unreachable:
            await asyncio.sleep(0.05)
            raise httpx2.ConnectError("unreachable")
        if process in self._former and request.method in _WRITES and "/record/" in request.url.path:
            self.problems.append(f"a former owner begins {request.method} {request.url.path}")
        number = str(next(self._numbers))
        asked = _as_read(request, number)
        work = asyncio.get_running_loop().create_task(self.standin.answer(asked), context=NOBODY.copy())
        self._waiting[number] = process
        try:
            async with asyncio.timeout(self._timeout_s):
                await asyncio.sleep(NETWORK_S)
                return await _received(await asyncio.shield(work))
        except TimeoutError:
            raise httpx2.ReadTimeout("no answer") from None
        finally:
            del self._waiting[number]
            self._hang_up(number)

    def _hang_up(self, number: str) -> None:
        self._hung_up_ms.setdefault(number, self._clock.now_s() * 1000)


async def _received(found: Reply | Broken) -> httpx2.Response:
    if isinstance(found, Broken):
        if found.how == "reset":
            raise httpx2.ReadError("reset")
        if found.how == "truncated":
            raise httpx2.RemoteProtocolError("truncated")
        await asyncio.sleep(found.delay_s)
        found = found.reply
    return httpx2.Response(found.status, headers=dict(found.headers), content=found.body)


def _as_read(request: httpx2.Request, number: str) -> Request:
    headers = {name.lower(): value for name, value in request.headers.items()} | {"traceparent": number}
    query = dict(parse_qsl(request.url.query.decode()))
    return Request(request.method, request.url.path, query, headers, request.content, str(request.url))
