"""Make accounts: each with its own connections, token and gate, which outlive an assignment of its partition."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import httpx2

from ml_connector.common.asking import Checked
from ml_connector.common.clock import Clock
from ml_connector.common.connecting import proxy_for, transport_through
from ml_connector.common.credentials import NetsuiteM2M, NetsuiteTba
from ml_connector.common.directory import C, Directory
from ml_connector.common.flows import Flow
from ml_connector.common.logs import get_logger
from ml_connector.netsuite_writer.account import Account
from ml_connector.netsuite_writer.check import CREDENTIALS, Checking, unknown_flow
from ml_connector.netsuite_writer.gate import Admit, Gate
from ml_connector.netsuite_writer.govern import Governor
from ml_connector.netsuite_writer.job import Tools
from ml_connector.netsuite_writer.netsuite.client import NetsuiteClient
from ml_connector.netsuite_writer.netsuite.connections import CONNECT_S, Connections
from ml_connector.netsuite_writer.netsuite.login import Logins, agreed
from ml_connector.netsuite_writer.netsuite.looking import Looking
from ml_connector.netsuite_writer.netsuite.reading import granted_by
from ml_connector.netsuite_writer.netsuite.tba import Signing
from ml_connector.netsuite_writer.netsuite.tokens import Tokens
from ml_connector.netsuite_writer.settings import WriterSettings
from ml_connector.netsuite_writer.settle import fault_of

log = get_logger()

SMALLEST: Final = 5  # what every account grants (Oracle bridgehead_1500275603), if governanceLimits cannot be read
UNTIL_READ: Final = 1  # this integration's share may be smaller
READ_LIMITS_S: Final = 3600.0
LOOK_S: Final = 10.0  # one request of a check; all of them have 25
READ_AGAIN_S: Final = 60.0  # when NetSuite was down, or full
# One request an hour: httpx2 would keep its connection until the next, or until all files of the process are open.
TOKEN_LIMITS: Final = httpx2.Limits(max_connections=1, max_keepalive_connections=0)


@dataclass(frozen=True, slots=True)
class _Door:
    """The way to one account's NetSuite."""

    http: httpx2.AsyncClient  # of the token endpoint
    connections: Connections
    client: NetsuiteClient
    logins: Logins
    gate: Gate


class Accounts:
    """What a process knows of accounts, whichever partitions it owns."""

    def __init__(self, settings: WriterSettings, directory: Directory, clock: Clock) -> None:
        self._settings = settings
        self._directory = directory
        self._clock = clock
        self._chance = random.Random()  # noqa: S311  jitter, not a secret
        self._doors: dict[str, _Door] = {}
        self._spelled: dict[str, str] = {}
        self._granted: dict[str, int] = {}  # as governanceLimits said
        self._read_at_s: dict[str, float] = {}  # when they are read next
        self._tls = settings.tls()
        self._tasks: set[asyncio.Task[None]] = set()

    def make(self, name: str, flow_name: str, tools: Tools) -> Account | None:
        """None while the flow is not known."""
        live = self._directory.flow(flow_name)
        if live is None:
            return None
        door = self._door(name, live.flow)
        self._hold(name, door.gate, tools)
        self._read_limit_if_due(name, door)
        return Account(name, gate=door.gate, client=door.client, tools=tools)

    def spelled(self, name: str) -> str:
        """As the flow has it that it was opened for."""
        return self._spelled.get(name, name)

    def names(self) -> frozenset[str]:
        """Those that were written to or looked at, in small letters."""
        return frozenset(self._doors)

    async def check(self, flow_name: str, *, admit: Admit) -> Checked:
        """Look at the NetSuite side of a flow, within the account's slots. `admit`: of the account's partition."""
        live = self._directory.flow(flow_name)
        if live is None:
            return Checked(tuple(unknown_flow(flow_name)))
        flow, url = live.flow, live.flow.netsuite.url
        gate = self._door(flow.netsuite.account.lower(), flow).gate
        looking = Looking(url, http=self._connections(url, LOOK_S), gate=gate, admit=admit)
        try:
            credential = self._credential(CREDENTIALS[flow.netsuite.auth], flow)
            checking = Checking(flow, looking, credential=credential, clock=self._clock)
            return Checked(tuple(await checking.run()))
        finally:
            await looking.close()

    def flow_changed(self, flow: Flow) -> None:
        name = flow.netsuite.account.lower()
        door = self._doors.get(name)
        if door is not None:
            self._follow(name, door)
            door.gate.wake()

    def read_limits(self) -> None:
        """Now and then, for flows that leave the limit to NetSuite."""
        for name, door in self._doors.items():
            self._read_limit_if_due(name, door)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        doors = tuple(self._doors.values())
        await asyncio.gather(*(door.http.aclose() for door in doors), *(door.connections.close() for door in doors))

    def _door(self, name: str, flow: Flow) -> _Door:
        if name not in self._doors:
            self._doors[name] = self._open(name, flow)
            self._spelled[name] = flow.netsuite.account
            self._follow(name, self._doors[name])
        return self._doors[name]

    def _follow(self, name: str, door: _Door) -> None:
        """What the flows say now."""
        door.gate.governor.bound(self._limit(name))
        door.logins.use(agreed(flow.netsuite for flow in self._flows(name)))

    def _open(self, name: str, flow: Flow) -> _Door:
        settings, base_url = self._settings, flow.netsuite.url
        http = httpx2.AsyncClient(
            transport=transport_through(
                proxy_for(base_url), tls=self._tls, limits=TOKEN_LIMITS, allowed=settings.allowed_networks
            ),
            timeout=httpx2.Timeout(settings.request_timeout_s, connect=CONNECT_S),
            follow_redirects=False,
        )
        connections = self._connections(base_url, settings.request_timeout_s)
        governor = Governor(self._limit(name), chance=self._chance)
        gate = Gate(governor, settings=settings, clock=self._clock, chance=self._chance)
        logins = self._logins(flow, http)
        return _Door(http, connections, NetsuiteClient(connections, base_url, logins, gate), logins, gate)

    def _connections(self, base_url: str, timeout_s: float) -> Connections:
        return Connections(base_url, tls=self._tls, allowed=self._settings.allowed_networks, timeout_s=timeout_s)

    def _logins(self, flow: Flow, http: httpx2.AsyncClient) -> Logins:
        side, m2m, tba = flow.netsuite, self._credential(NetsuiteM2M, flow), self._credential(NetsuiteTba, flow)
        return Logins(
            {
                "oauth2-m2m": Tokens(http, side.url, credential=m2m, clock=self._clock),
                "tba": Signing(side.account, credential=tba, clock=self._clock),
            }
        )

    def _credential(self, kind: type[C], flow: Flow) -> Callable[[], C]:
        owner = f"netsuite/{flow.netsuite.account}"
        return partial(self._directory.secret, kind, owner=owner, environment=flow.environment)

    def _hold(self, name: str, gate: Gate, tools: Tools) -> None:
        """Calls of a former owner may still be under way at NetSuite: for a moment they count as in flight."""
        hold_ms = int(self._settings.hold_s * 1000)
        now_ms, now_s = self._clock.now_ms(), self._clock.monotonic_s()
        for attempt in tools.store.attempts_of(name):
            newest_ms = max((doubt.at_ms for doubt in attempt.doubts), default=0)
            if newest_ms + hold_ms > now_ms:
                gate.hold(now_s + (newest_ms + hold_ms - now_ms) / 1000)
        for _ in (job for job in tools.store.jobs() if job.account.lower() == name):
            gate.hold(now_s + self._settings.hold_s)  # its submission, or a question about it

    def _limit(self, name: str) -> int:
        """The least that any flow of the account allows, less what stays for others; NetSuite counts over all."""
        sides = [flow.netsuite for flow in self._flows(name)]
        granted = self._granted.get(name, UNTIL_READ)
        limits = [granted if side.concurrency == "auto" else side.concurrency for side in sides]
        return max(1, min(limits, default=1) - max((side.reserve for side in sides), default=0))

    def _flows(self, name: str) -> list[Flow]:
        return [live.flow for live in self._directory.flows_of(name)]

    def _read_limit_if_due(self, name: str, door: _Door) -> None:
        now_s = self._clock.monotonic_s()
        due = now_s >= self._read_at_s.get(name, now_s)
        if due and any(flow.netsuite.concurrency == "auto" for flow in self._flows(name)):
            self._read_at_s[name] = now_s + READ_LIMITS_S
            task = asyncio.create_task(self._read_limit(name, door))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _read_limit(self, name: str, door: _Door) -> None:
        response = await door.client.governance_limits()
        granted = granted_by(response.body) if response.answer.status == 200 else None
        if granted is not None:
            self._granted[name] = granted
        else:
            self._granted.setdefault(name, SMALLEST)
            log.warning("limits_unreadable", account=name, status=response.answer.status, used=self._limit(name))
            if fault_of(response.answer) is not None:
                self._read_at_s[name] = self._clock.monotonic_s() + READ_AGAIN_S
        door.gate.governor.bound(self._limit(name))
        door.gate.wake()
