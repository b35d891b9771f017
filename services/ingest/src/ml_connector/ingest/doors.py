"""What each flow's webhook address needs, prepared once per change of the flow or its keys."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from ml_connector.common import headers as h
from ml_connector.common.asking import AtTheDoor, Refused, Why
from ml_connector.common.credentials import WebhookBasic, WebhookHmac
from ml_connector.common.deliveries import EPISODE_MS
from ml_connector.common.directory import Directory, LiveFlow
from ml_connector.common.errors import SecretUnreadable
from ml_connector.common.headers import Headers
from ml_connector.common.measuring import Reading
from ml_connector.ingest.address import Network
from ml_connector.ingest.verify import BasicProof, HmacProof, Proof

_PROOFS: Final = {WebhookHmac: "hmac-sha256", WebhookBasic: "basic"}  # as `verify` names them


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


class Doors:
    """All flows' addresses."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._doors: dict[str, Door] = {}
        self._counts: dict[str, Counts] = {}
        directory.on_change(self._doors.clear)

    def find(self, name: str) -> Door | None:
        """None: there is no such flow, or none that webhooks lead to."""
        door = self._doors.get(name)
        if door is None:
            live = self._directory.flow(name)
            if live is None or live.flow.pipedrive.events == "none":
                return None
            door = self._doors[name] = self._make(live)
        return door

    def problems(self) -> list[str]:
        """Why flows are closed; empty when all are open."""
        doors = (self.find(live.flow.flow) for live in self._directory.flows())
        return [door.problem for door in doors if door is not None and door.problem is not None]

    def counts(self) -> dict[str, Counts]:
        return self._counts

    def readings(self) -> list[Reading]:
        """The counts, for the metric."""
        return [
            (number, {"flow": flow, "result": result})
            for flow, counts in self._counts.items()
            for result, number in (
                ("accepted", counts.accepted),
                ("refused", counts.refused),
                ("unavailable", counts.unavailable),
            )
        ]

    def rotating(self) -> dict[str, tuple[str, ...]]:
        """Of each flow with two keys for the same proof: all that it believes, as its next delivery will meet them.

        After a change this looks at all flows, so it makes no door: only a changed credential is opened again.
        """
        found: dict[str, tuple[str, ...]] = {}
        for live in self._directory.flows():
            if live.flow.pipedrive.events == "none":
                continue
            try:
                given = list(self._credentials(live))
            except SecretUnreadable:
                continue
            if any(len(one.keys) > 1 for one in given):
                found[live.flow.flow] = tuple(f"{_PROOFS[type(one)]}:{key.id}" for one in given for key in one.keys)
        return found

    def _make(self, live: LiveFlow) -> Door:
        flow = live.flow
        proofs: tuple[Proof, ...] = ()
        problem = None
        try:
            proofs = self._proofs(live)
        except SecretUnreadable as error:
            problem = str(error)
        counts = self._counts.setdefault(flow.flow, Counts())
        company = flow.pipedrive.company.encode()
        stamped = {h.FLOW: flow.flow.encode(), h.COMPANY: company, h.ACCOUNT: flow.netsuite.account.encode()}
        return Door(flow.flow, proofs, flow.pipedrive.webhook.allow_from, problem, company, stamped, counts)

    def _proofs(self, live: LiveFlow) -> tuple[Proof, ...]:
        return tuple(
            HmacProof.of(one) if isinstance(one, WebhookHmac) else BasicProof.of(one) for one in self._credentials(live)
        )

    def _credentials(self, live: LiveFlow) -> Iterator[WebhookHmac | WebhookBasic]:
        """Raises SecretUnreadable."""
        flow = live.flow
        owner, environment, verify = f"flow/{flow.flow}", flow.environment, flow.pipedrive.webhook.verify
        if verify in {"hmac-sha256", "both"}:
            yield self._directory.secret(WebhookHmac, owner=owner, environment=environment)
        if verify in {"basic", "both"}:
            yield self._directory.secret(WebhookBasic, owner=owner, environment=environment)
