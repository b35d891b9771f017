"""The addresses that flows are delivered to, each prepared once per change of its flow or its keys."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field

from ml_connector.common.asking import AtTheDoor, Refused, Why
from ml_connector.common.deliveries import EPISODE_MS
from ml_connector.common.directory import Directory, LiveFlow
from ml_connector.common.errors import KeyMissing, SecretUnreadable
from ml_connector.common.flows import Flow
from ml_connector.common.headers import Headers
from ml_connector.common.vault import flow_of
from ml_connector.ingest.address import Network
from ml_connector.ingest.verify import Proof


@dataclass(slots=True)
class Counts:
    """Deliveries of one flow since the start."""

    accepted: int = 0
    refused: int = 0
    unavailable: int = 0
    accepted_ms: int = 0  # when the last of them came
    reasons: dict[Why, tuple[int, int]] = field(default_factory=dict)  # how many, and when the last one came
    unavailable_ms: tuple[int, int] | None = None  # the first and the last of those that came without a long pause

    @property
    def last_ms(self) -> int:
        """When something was turned away last; 0: never."""
        unavailable_ms = 0 if self.unavailable_ms is None else self.unavailable_ms[1]
        return max([unavailable_ms, *(last_ms for _, last_ms in self.reasons.values())])

    def refuse(self, why: Why, now_ms: int) -> None:
        self.refused += 1
        self.reasons[why] = (self.reasons.get(why, (0, 0))[0] + 1, now_ms)

    def turn_away(self, now_ms: int) -> None:
        """Not for its own fault: it was not stored."""
        self.unavailable += 1
        before = self.unavailable_ms
        goes_on = before is not None and now_ms - before[1] < EPISODE_MS
        self.unavailable_ms = (before[0] if before is not None and goes_on else now_ms, now_ms)

    def told(self, keys: tuple[str, ...]) -> AtTheDoor:
        refused = tuple(Refused(why, count, last_ms) for why, (count, last_ms) in self.reasons.items())
        return AtTheDoor(keys, self.accepted_ms, refused, self.unavailable_ms)


@dataclass(frozen=True, slots=True)
class Door:
    """One flow's address. `problem`: why it is closed, although the flow exists."""

    flow: str
    proofs: tuple[Proof, ...]
    allow_from: tuple[Network, ...]
    problem: str | None
    key: bytes  # of its messages
    stamped: Headers  # what each of its messages says
    counts: Counts = field(default_factory=Counts)
    elsewhere: bool = False  # closed here, but another process may have the key


class Doors(ABC):
    """One kind of address, of all flows."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._doors: dict[str, Door | None] = {}
        self._counts: dict[str, Counts] = {}
        directory.on_flow(self._flow_changed)
        directory.on_secret(self._secret_changed)

    @abstractmethod
    def _make(self, live: LiveFlow) -> Door | None:
        """None: the flow has no address of this kind."""

    @abstractmethod
    def _proofs(self, live: LiveFlow) -> Iterator[Proof]:
        """Raises SecretUnreadable."""

    def find(self, name: str) -> Door | None:
        """None: there is no such flow, or nobody may deliver to it so."""
        if name not in self._doors:
            live = self._directory.flow(name)
            if live is None:  # not kept: strangers may think of many names
                return None
            self._doors[name] = self._make(live)
        return self._doors[name]

    def _flow_changed(self, flow: Flow) -> None:
        self._forget({flow.flow})

    def _secret_changed(self, owner: str) -> None:
        if not owner:
            self._forget({live.flow.flow for live in self._directory.flows()})
        elif (flow := flow_of(owner)) is not None:
            self._forget({flow})

    def _forget(self, flows: set[str]) -> None:
        """What they need has changed: their doors are made anew when asked for next."""
        for flow in flows:
            self._doors.pop(flow, None)

    def counts(self) -> dict[str, Counts]:
        """By flow."""
        return self._counts

    def _door(self, live: LiveFlow, allow_from: tuple[Network, ...], *, key: bytes, stamped: Headers) -> Door:
        """Closed, with the reason, if a credential of it cannot be opened."""
        proofs: tuple[Proof, ...] = ()
        problem, elsewhere = None, False
        try:
            proofs = tuple(self._proofs(live))
        except SecretUnreadable as error:
            problem, elsewhere = str(error), isinstance(error, KeyMissing)
        flow = live.flow.flow
        counts = self._counts.setdefault(flow, Counts())
        return Door(flow, proofs, allow_from, problem, key, stamped, counts, elsewhere)
