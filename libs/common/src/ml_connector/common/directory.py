"""The flows and credentials that a service works with, kept current from `connector.flows` and `connector.secrets`.

Parsing and decryption happen once per change, never on the hot path. A flow that does not hold (edited topic,
newer schema) is left out and named in `problems`; a secret that no key opens stays closed.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeVar, get_args

import msgspec

from ml_connector.common import topics
from ml_connector.common.clock import Clock, Deadline, SystemClock
from ml_connector.common.credentials import Credential
from ml_connector.common.errors import ConnectorError, InvalidFlow, SecretUnreadable
from ml_connector.common.flows import ActiveFlow, Environment, Flow, FlowVersion
from ml_connector.common.kafka.table import CompactedTable
from ml_connector.common.logs import get_logger
from ml_connector.common.settings import Settings
from ml_connector.common.vault import SecretEntry, secret_key
from ml_connector.common.vault_keys import VaultKeys

log = get_logger()
C = TypeVar("C", bound=Credential)

_ENVIRONMENTS: Final[tuple[Environment, ...]] = get_args(Environment)


@dataclass(frozen=True, slots=True)
class LiveFlow:
    """The active version of a flow."""

    flow: Flow
    version: int
    paused: bool
    resumed_at_ms: int = 0


class FlowBook:
    """Folds `connector.flows`; of each flow the versions and which one is active (by the highest revision)."""

    def __init__(self) -> None:
        self._versions: dict[str, dict[int, Flow]] = {}
        self._active: dict[str, ActiveFlow] = {}
        self.problems: dict[str, str] = {}

    def fold(self, key: str, value: bytes | None) -> None:
        """One message; None deletes. A message that does not hold is named in `problems`, the one before stays."""
        try:
            self._fold(key, value)
            self.problems.pop(key, None)
        except ConnectorError as error:
            self.problems[key] = str(error)

    def _fold(self, key: str, value: bytes | None) -> None:
        name, separator, version = key.partition("/v")
        if separator:
            versions = self._versions.setdefault(name, {})
            if value is None:
                versions.pop(_number(version), None)
            else:
                versions[_number(version)] = _as_before(_called(key, FlowVersion.decode(value)), versions)
        elif value is None:
            self._active.pop(name, None)
        else:
            entry = ActiveFlow.decode(value)
            if entry.revision >= self.revision(name):
                self._active[name] = entry

    def live(self, name: str) -> LiveFlow | None:
        active = self._active.get(name)
        if active is None:
            return None
        flow = self.version(name, active.version)
        return None if flow is None else LiveFlow(flow, active.version, active.paused, active.resumed_at_ms)

    def version(self, name: str, version: int) -> Flow | None:
        return self._versions.get(name, {}).get(version)

    def newest(self, name: str) -> int:
        """The highest version ever applied; 0 for a new flow."""
        return max(self._versions.get(name, {}), default=0)

    def revision(self, name: str) -> int:
        """Of the entry that says which version is active; 0 for a new flow."""
        active = self._active.get(name)
        return 0 if active is None else active.revision

    def names(self) -> list[str]:
        return sorted(self._active)


def _number(version: str) -> int:
    if not (version.isascii() and version.isdigit()):
        raise InvalidFlow(["a version's key is `<flow>/v<number>`"])
    return int(version)


def _called(key: str, applied: FlowVersion) -> Flow:
    """Refuse a version that was copied from another flow."""
    flow = applied.read()
    if not key == f"{flow.flow}/v{applied.version}" == f"{applied.flow}/v{applied.version}":
        raise InvalidFlow([f"this is version {applied.version} of flow {flow.flow!r}, and belongs under its key"])
    return flow


def _as_before(flow: Flow, versions: dict[int, Flow]) -> Flow:
    """Company, account, environment and prefix never change; a topic that was edited may say otherwise."""
    identity = _identity(flow)
    for number, other in versions.items():
        if _identity(other) != identity:
            raise InvalidFlow([f"company, account, environment or prefix differ from those of version {number}"])
    return flow


def _identity(flow: Flow) -> tuple[str, ...]:
    return flow.pipedrive.company, flow.netsuite.account, flow.environment, flow.external_ids


class Directory:
    """What a service asks. Start it before anything else, close it last."""

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self._keys = VaultKeys(settings, clock or SystemClock())
        self._following: asyncio.Task[None] | None = None
        self._book = FlowBook()
        self._live: dict[str, LiveFlow] = {}
        self._entries: dict[str, SecretEntry] = {}
        self._opened: dict[tuple[str, Environment], Credential | SecretUnreadable] = {}
        self._of_account: defaultdict[str, dict[str, LiveFlow]] = defaultdict(dict)
        self._on_flows: list[Callable[[Flow], None]] = []
        self._on_secrets: list[Callable[[str], None]] = []
        self._flows = CompactedTable[bytes](
            settings.kafka(), topics.FLOWS.full_name(settings.topic_prefix), decode=bytes
        )
        self._secrets = CompactedTable[SecretEntry](
            settings.kafka(), topics.SECRETS.full_name(settings.topic_prefix), decode=SecretEntry.decode
        )

    async def start(self, deadline: Deadline) -> None:
        """Read both topics to their end, then follow them."""
        self._flows.subscribe(self._on_flow)
        self._secrets.subscribe(self._on_secret)
        await self._flows.load(deadline)
        await self._secrets.load(deadline)
        self._following = asyncio.create_task(self.follow_keys())

    async def follow_keys(self) -> None:
        """Until cancelled: what no key opened is opened anew once the key is there. `start` sees to it."""
        await self._keys.follow(self._on_keys)

    async def close(self) -> None:
        if self._following is not None:
            self._following.cancel()
            with suppress(asyncio.CancelledError):
                await self._following
        await self._flows.close()
        await self._secrets.close()

    @property
    def ready(self) -> bool:
        return self._flows.ready and self._secrets.ready

    @property
    def problems(self) -> dict[str, str]:
        """Messages of `connector.flows` that do not hold, and why."""
        return self._book.problems

    def on_flow(self, listener: Callable[[Flow], None]) -> None:
        """Call `listener` on the event loop after every change of a flow: as it is now, or was before it went."""
        self._on_flows.append(listener)

    def on_secret(self, listener: Callable[[str], None]) -> None:
        """Call `listener` on the event loop after every change of a secret, with its owner; "": it may be any.

        The token of each company changes once an hour.
        """
        self._on_secrets.append(listener)

    def flow(self, name: str) -> LiveFlow | None:
        return self._live.get(name)

    def version(self, name: str, version: int) -> Flow | None:
        """One version of a flow, active or not."""
        return self._book.version(name, version)

    def flows(self) -> Iterator[LiveFlow]:
        return iter(tuple(self._live.values()))

    def flows_of(self, account: str) -> list[LiveFlow]:
        """Those that write to this account, in whatever letters they name it."""
        return list(self._of_account.get(account.lower(), {}).values())

    def secret(self, kind: type[C], *, owner: str, environment: Environment) -> C:
        """A credential, decrypted once per change. Raises SecretUnreadable."""
        key = (secret_key(owner, kind.NAME), environment)
        if key not in self._opened:
            self._opened[key] = self._open(kind, owner, environment)
        found = self._opened[key]
        if isinstance(found, SecretUnreadable):
            raise found
        if not isinstance(found, kind):
            raise SecretUnreadable(f"{key[0]}: not a {kind.NAME}")
        return found

    def version_of(self, kind: type[Credential], *, owner: str) -> int:
        """Of a credential; 0 when it is not set."""
        entry = self._entries.get(secret_key(owner, kind.NAME))
        return 0 if entry is None else entry.version

    def sealed(self, credential: Credential, *, owner: str, environment: Environment, version: int) -> SecretEntry:
        """Encrypted, to be written by the one who may write this key."""
        value = msgspec.to_builtins(credential)
        return self._keys.vault.encrypt(owner, credential.NAME, environment, version=version, value=value)

    def _open(self, kind: type[Credential], owner: str, environment: Environment) -> Credential | SecretUnreadable:
        key = secret_key(owner, kind.NAME)
        entry = self._entries.get(key)
        if entry is None:
            return SecretUnreadable(f"{key}: not set; `mlc secrets set {owner} {kind.NAME}` sets it")
        if entry.kek not in self._keys.vault.ids and self._keys.look():
            self._forget_failures()
        try:
            return kind.read(self._keys.vault.decrypt(entry, owner=owner, name=kind.NAME, environment=environment))
        except SecretUnreadable as error:
            return error

    def _on_flow(self, key: str, value: bytes | None) -> None:
        self._book.fold(key, value)
        if key in self._book.problems:
            log.error("flow_refused", flow=key, problem=self._book.problems[key])
        name = key.partition("/v")[0]
        before, live = self._live.pop(name, None), self._book.live(name)
        if before is not None:
            del self._of_account[before.flow.netsuite.account.lower()][name]
        if live is not None:
            self._live[name] = self._of_account[live.flow.netsuite.account.lower()][name] = live
        changed = live or before
        if changed is not None:
            for listener in self._on_flows:
                listener(changed.flow)

    def _on_secret(self, key: str, entry: SecretEntry | None) -> None:
        if entry is None:
            self._entries.pop(key, None)
        else:
            self._entries[key] = entry
        for environment in _ENVIRONMENTS:
            self._opened.pop((key, environment), None)
        self._tell_of_secret(key.rpartition("/")[0])

    def _on_keys(self) -> None:
        self._forget_failures()
        self._tell_of_secret("")

    def _forget_failures(self) -> None:
        """What is open stays so, also when its key was taken away too early."""
        self._opened = {at: found for at, found in self._opened.items() if not isinstance(found, SecretUnreadable)}

    def _tell_of_secret(self, owner: str) -> None:
        for listener in self._on_secrets:
            listener(owner)
