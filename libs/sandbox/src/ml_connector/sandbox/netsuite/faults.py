"""Faults on command: what shall go wrong with which requests, how often, counted."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from ml_connector.sandbox.netsuite.errors import NetsuiteError, invalid_login, too_many_requests, unexpected, user_error
from ml_connector.sandbox.web import Request

Kind = Literal[
    "error_before_commit",
    "error_after_commit",
    "timeout_after_commit",
    "late_commit",
    "reset",
    "status_429",
    "status_400_concurrency",
    "status_5xx",
    "token_revoked",
    "locked_record",
    "optimistic_lock",
    "maintenance",
]


@dataclass(slots=True)
class Fault:
    """`count` None: until removed. `delay_s`: of the answer (timeout_after_commit) or the commit (late_commit)."""

    id: int
    kind: Kind
    account: str | None = None
    method: str | None = None
    path: str | None = None
    count: int | None = 1
    delay_s: float = 1.0
    probability: float = 1.0
    seed: int = 0
    hits: int = 0
    chance: random.Random = field(default_factory=random.Random)

    def matches(self, request: Request, account: str) -> bool:
        if self.count is not None and self.hits >= self.count:
            return False
        fits = (
            self.account in {None, account}
            and self.method in {None, request.method}
            and (self.path is None or re.search(self.path, request.path) is not None)
        )
        return fits and (self.probability >= 1.0 or self.chance.random() < self.probability)


class Faults:
    """All faults that are set."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._last_id = 0

    def add(self, facts: dict[str, Any]) -> Fault:
        """Raises ValueError on a kind that does not exist."""
        if facts.get("kind") not in get_args(Kind):
            raise ValueError(f"kind must be one of {', '.join(get_args(Kind))}")
        self._last_id += 1
        match = facts.get("match", {})
        fault = Fault(
            self._last_id,
            facts["kind"],
            facts.get("account"),
            match.get("method"),
            match.get("path"),
            facts.get("count", 1),
            float(facts.get("delay_s", 1.0)),
            float(facts.get("probability", 1.0)),
            int(facts.get("seed", 0)),
        )
        fault.chance.seed(fault.seed)
        self._faults.append(fault)
        return fault

    def clear(self) -> None:
        self._faults.clear()

    def report(self) -> list[dict[str, Any]]:
        return [{"id": f.id, "kind": f.kind, "hits": f.hits, "count": f.count} for f in self._faults]

    def hit(self, request: Request, account: str) -> Fault | None:
        """The fault that this request meets; it is counted."""
        for fault in self._faults:
            if fault.matches(request, account):
                fault.hits += 1
                return fault
        return None


def error_of(kind: Kind) -> NetsuiteError | None:
    """What is answered instead of doing it; None for faults of another sort."""
    match kind:
        case "error_before_commit" | "status_5xx":
            return unexpected()
        case "maintenance":
            return NetsuiteError(503, "SERVICE_UNAVAILABLE", "NetSuite is down for maintenance.")
        case "status_429":
            return too_many_requests()
        case "status_400_concurrency":
            return NetsuiteError(
                400, "CONCURRENCY_LIMIT_EXCEEDED", "Concurrent request limit exceeded. Request blocked."
            )
        case "token_revoked":
            return invalid_login()
        case "locked_record":
            return user_error("This record has been locked by a user defined workflow.")
        case "optimistic_lock":
            return NetsuiteError(400, "RCRD_HAS_BEEN_CHANGED", "Record has been changed")
    return None
