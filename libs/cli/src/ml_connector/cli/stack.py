"""Broker, stand-ins and services as one: started, made ready, stopped in order.

For `mlc up`, the demo, the tests and the benchmarks.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import httpx2

from ml_connector.cli.developing import ACCOUNT, COMPANY, COMPANY_ID, FLOW, STAND_INS, DevelopmentFlow
from ml_connector.cli.processes import Child, OnLine
from ml_connector.cli.publishing import TopicWriter
from ml_connector.cli.tokens import ISSUER, jwks_of, new_signing_key
from ml_connector.common import topics
from ml_connector.common.kafka.admin import TopicSpec, ensure_topics
from ml_connector.common.ports import free_ports
from ml_connector.common.vault import Vault, new_key

BROKER: Final = "broker"
SERVICES: Final = ("ingest", "resolver", "netsuite-writer")
ADMIN: Final = "admin"
FLOWING: Final = (BROKER, *STAND_INS, *SERVICES)  # what an event passes on its way
ALL: Final = (*FLOWING, ADMIN)
# Whoever sends stops first, whoever is needed by others last.
STOP_ORDER: Final = ("pipedrive", ADMIN, "ingest", "resolver", "netsuite-writer", "netsuite", BROKER)

OWN_METRICS_PORT: Final = ("ingest", ADMIN)  # the others have no public port

__all__ = [
    "ACCOUNT",
    "ADMIN",
    "ALL",
    "BROKER",
    "COMPANY",
    "COMPANY_ID",
    "FLOW",
    "FLOWING",
    "SERVICES",
    "STAND_INS",
    "Facts",
    "Stack",
    "StackFailed",
    "StackOptions",
]

READY_DEADLINE_S: Final = 90.0
STOP_DEADLINE_S: Final = 30.0
RESTART_PAUSE_S: Final = 1.0


class StackFailed(Exception):
    """Something did not start or died; the text names it and its last words."""


@dataclass(frozen=True, slots=True)
class StackOptions:
    """`environment`: more variables by process name, without a replica's number."""

    processes: tuple[str, ...] = FLOWING
    scale: Mapping[str, int] = field(default_factory=dict)
    keep_alive: bool = False
    data_dir: Path | None = None
    netsuite_concurrency: int = 5
    netsuite_latency_ms: float = 0
    environment: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(slots=True)
class Facts:
    """What a caller may want to know of a running stack. The signing key is not among them."""

    bootstrap_servers: str = ""
    broker: str = ""
    flow: str = FLOW
    account: str = ACCOUNT
    company: str = COMPANY
    company_id: str = COMPANY_ID
    urls: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, str] = field(default_factory=dict)
    pids: dict[str, int] = field(default_factory=dict)


class Stack:
    """`async with Stack(options) as stack:`; everything is ready inside and gone after."""

    def __init__(self, options: StackOptions | None = None, *, on_line: OnLine = lambda _, __: None) -> None:
        self.options = options or StackOptions()
        self.facts = Facts()
        self._development = DevelopmentFlow(self.facts.urls, concurrency=self.options.netsuite_concurrency)
        self.vault_key = new_key("dev")
        self.admin_key_pem = new_signing_key()
        self.died = asyncio.Event()
        self.death = ""
        self._on_line = on_line
        self._children: dict[str, Child] = {}
        self._watchers: set[asyncio.Task[None]] = set()
        self._temporary = tempfile.TemporaryDirectory(prefix="ml-connector-", ignore_cleanup_errors=True)
        self._home = self.options.data_dir or Path(self._temporary.name)

    # -- for callers -------------------------------------------------------------------------------------------------

    @property
    def urls(self) -> dict[str, str]:
        return self.facts.urls

    @property
    def bootstrap(self) -> str:
        return self.facts.bootstrap_servers

    @property
    def signing_key(self) -> str:
        return self._development.signing_key

    @property
    def api_token(self) -> str:
        return self._development.api_token

    @property
    def private_key_pem(self) -> str:
        return self._development.private_key_pem

    @property
    def flow(self) -> str:
        return self.facts.flow

    @property
    def company_id(self) -> str:
        return self.facts.company_id

    def pids(self) -> dict[str, int]:
        return {name: child.pid for name, child in self._children.items()}

    def ready_json(self) -> str:
        """One line for machines."""
        self.facts.pids = self.pids()
        return json.dumps(asdict(self.facts))

    def environment(self, **more: str) -> dict[str, str]:
        """What a service, or `mlc` itself, needs to work with this stack."""
        return {
            "MLC_KAFKA_BOOTSTRAP_SERVERS": self.bootstrap,
            "MLC_VAULT_KEYS": self.vault_key,
            "MLC_STORE_DIR": str(self._home / "store"),
            **more,
        }

    def commands_environment(self) -> dict[str, str]:
        """What `mlc` in another terminal needs; it holds keys."""
        known = {"MLC_INGEST_URL": self.urls.get("ingest"), "MLC_ADMIN_URL": self.urls.get(ADMIN)}
        key_file = {"MLC_ADMIN_SIGNING_KEY_FILE": str(self._home / "admin-key.pem")} if ADMIN in self.urls else {}
        return self.environment(**{name: url for name, url in known.items() if url}, **key_file)

    async def kill(self, name: str) -> None:
        """SIGKILL, as a crash would; nobody restarts it."""
        await self._children[name].kill()

    async def stop_one(self, name: str) -> int:
        """SIGTERM; the exit code."""
        return await self._children[name].stop(STOP_DEADLINE_S)

    async def until_ended(self, name: str) -> int:
        """Until it ends by itself, or by a kill; the exit code."""
        return await self._children[name].wait()

    async def start_one(self, name: str) -> None:
        """Start a process again and wait until it is ready."""
        await self._children[name].start()
        self._watch(self._children[name])
        await self.until_ready(name)

    def last_lines(self, name: str) -> list[str]:
        return list(self._children[name].last_lines)

    # -- life --------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:  # whatever it was, what was started must not stay
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    async def _start(self) -> None:
        wanted = self.options.processes
        if BROKER in wanted:
            await self._start_broker()
        await asyncio.gather(*(self._start_stand_in(name) for name in STAND_INS if name in wanted))
        if self.bootstrap:
            await self._prepare()
        names = [replica for name in (*SERVICES, ADMIN) if name in wanted for replica in self._replicas(name)]
        await asyncio.gather(*(self._start_service(name) for name in names))
        if {"pipedrive", "ingest"} <= set(wanted):
            await self._development.subscribe(self.urls["pipedrive"], self.urls["ingest"])

    async def _stop(self) -> None:
        for task in self._watchers:
            task.cancel()
        for kind in STOP_ORDER:
            children = [child for name, child in self._children.items() if _kind(name) == kind]
            await asyncio.gather(*(child.stop(STOP_DEADLINE_S) for child in children))
        self._temporary.cleanup()

    async def _start_broker(self) -> None:
        ready_file = self._home / "broker.json"
        arguments = ["--ready-file", str(ready_file), "--data-dir", str(self._home / "broker")]
        await self._spawn(BROKER, ["ml_connector.sandbox.broker", *arguments], {})
        facts = await self._read_ready_file(BROKER, ready_file)
        self.facts.bootstrap_servers = facts["bootstrap_servers"]
        self.facts.broker = facts["description"]

    async def _start_stand_in(self, name: str) -> None:
        ready_file = self._home / f"{name}.json"
        prefix = f"MLC_SANDBOX_{name.upper()}_"
        environment = {f"{prefix}READY_FILE": str(ready_file), f"{prefix}PORT": "0"}
        if name == "netsuite":
            environment[f"{prefix}LATENCY_MS"] = str(self.options.netsuite_latency_ms)
        await self._spawn(name, [f"ml_connector.sandbox.{name}"], environment)
        self.urls[name] = (await self._read_ready_file(name, ready_file))["url"]

    async def _start_service(self, name: str) -> None:
        port, other_port = free_ports(2)
        environment = self.environment(MLC_HTTP_PORT=str(port), MLC_STORE_DIR=str(self._home / name / "store"))
        self.urls[name] = f"http://127.0.0.1:{port}"
        if _kind(name) in OWN_METRICS_PORT:
            port = other_port
            environment["MLC_METRICS_PORT"] = str(port)
        self.facts.metrics[name] = f"http://127.0.0.1:{port}/metrics"
        if _kind(name) == ADMIN:
            environment |= {**self._admin_environment(), "MLC_ADMIN_PUBLIC_URL": self.urls[name]}
        module = f"ml_connector.{_kind(name).replace('-', '_')}"
        await self._spawn(name, [module], environment)
        await self.until_ready(name)

    def _admin_environment(self) -> dict[str, str]:
        """Its own issuer: whoever has the key makes tokens."""
        keys, key = self._home / "jwks.json", self._home / "admin-key.pem"
        keys.write_text(json.dumps(jwks_of(self.admin_key_pem)))
        key.touch(mode=0o600)
        key.write_text(self.admin_key_pem)
        return {
            "MLC_ADMIN_DATABASE_URL": f"sqlite:///{self._home / 'admin.sqlite'}",
            "MLC_ADMIN_ISSUER": ISSUER,
            "MLC_ADMIN_JWKS_FILE": str(keys),
            "MLC_ADMIN_LEASE_S": "3",
        }

    async def _spawn(self, name: str, arguments: list[str], environment: Mapping[str, str]) -> None:
        more = self.options.environment.get(_kind(name), {})
        child = Child(name, [sys.executable, "-m", *arguments], {**environment, **more}, self._on_line)
        self._children[name] = child
        await child.start()
        self._watch(child)

    def _replicas(self, name: str) -> list[str]:
        count = self.options.scale.get(name, 1)
        return [name, *(f"{name}#{number}" for number in range(2, count + 1))]

    # -- readiness and death -----------------------------------------------------------------------------------------

    async def _read_ready_file(self, name: str, path: Path) -> dict[str, Any]:
        await self._wait(name, lambda: asyncio.to_thread(path.exists))
        found: dict[str, Any] = json.loads(await asyncio.to_thread(path.read_text))
        return found

    async def until_ready(self, name: str) -> None:
        """Until `/readyz` says so. Raises StackFailed when it ends first, or takes too long."""
        async with httpx2.AsyncClient(timeout=2) as client:

            async def ready() -> bool:
                try:
                    return (await client.get(f"{self.urls[name]}/readyz")).status_code == 200
                except httpx2.HTTPError:
                    return False

            await self._wait(name, ready)

    async def _wait(self, name: str, condition: Any) -> None:
        child = self._children[name]
        try:
            async with asyncio.timeout(READY_DEADLINE_S):
                while not await condition():
                    if child.ended is not None:
                        raise StackFailed(_last_words(child))
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise StackFailed(f"{name} was not ready after {READY_DEADLINE_S:.0f} s; {_last_words(child)}") from None

    def _watch(self, child: Child) -> None:
        task = asyncio.create_task(self._guard(child), name=f"watch-{child.name}")
        self._watchers.add(task)
        task.add_done_callback(self._watchers.discard)

    async def _guard(self, child: Child) -> None:
        await child.wait()
        while not child.stopping:
            self._on_line(child.name, _last_words(child))
            if not self.options.keep_alive:
                self.death = _last_words(child)
                self.died.set()
                return
            await asyncio.sleep(RESTART_PAUSE_S)
            await child.start()
            await child.wait()

    # -- a development flow ------------------------------------------------------------------------------------------

    async def _prepare(self) -> None:
        """Topics, a flow, its secrets, and the stand-ins' side of them."""
        specs = [TopicSpec(name, count, config) for name, count, config in topics.with_prefix("", 4)]
        await asyncio.to_thread(ensure_topics, {"bootstrap.servers": self.bootstrap}, specs, replication_factor=1)
        writer = TopicWriter({"bootstrap.servers": self.bootstrap}, prefix="", vault=Vault.from_text(self.vault_key))
        await asyncio.to_thread(self._development.write, writer, by="mlc up")
        await self._development.register(self.urls)

    def flow_document(self) -> dict[str, Any]:
        """The development flow, pointed at the stand-ins."""
        return self._development.document()


def _kind(name: str) -> str:
    """`resolver#2` is a resolver."""
    return name.partition("#")[0]


def _last_words(child: Child) -> str:
    words = "\n  ".join(list(child.last_lines)[-8:]) or "nothing"
    return f"{child.name} ended with exit code {child.ended}; it said last:\n  {words}"
