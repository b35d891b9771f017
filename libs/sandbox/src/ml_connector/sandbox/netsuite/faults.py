"""Faults on command: what shall go wrong with which requests, how often, counted."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from ml_connector.sandbox.netsuite.errors import NetsuiteError, invalid_login, too_many_requests, unexpected, user_error
from ml_connector.sandbox.web import Request

Kind = Literal[
    # instead of doing it
    "error_before_commit",
    "status_5xx",
    "status_429",
    "status_400_concurrency",
    "masked_login",
    "token_revoked",
    "locked_record",
    "optimistic_lock",
    "no_permission",
    "insufficient_permission",
    "maintenance",
    "reset",
    # it is done, but the answer says otherwise or gets lost
    "error_after_commit",
    "timeout_after_commit",
    "lost_answer",  # of a batch's submit: the lost 202
    "late_commit",
    # it is done and answered, badly
    "slow_body",
    "truncated_body",
    "wrong_content_type",
]


@dataclass(slots=True)
class Fault:
    """`count` None: until removed. `delay_s`: of the answer, or of the commit (late_commit). `in_job`: meets records of
    asynchronous jobs instead of requests."""

    id: int
    kind: Kind
    account: str | None = None
    method: str | None = None
    path: str | None = None
    in_job: bool = False
    count: int | None = 1
    delay_s: float = 1.0
    probability: float = 1.0
    seed: int = 0
    hits: int = 0
    chance: random.Random = field(default_factory=random.Random)

    def matches(self, request: Request, account: str, *, in_job: bool) -> bool:
        if self.in_job is not in_job or (self.count is not None and self.hits >= self.count):
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
            bool(match.get("in_job", False)),
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

    def hit(self, request: Request, account: str, *, in_job: bool = False) -> Fault | None:
        """The fault that this request meets; it is counted."""
        for fault in self._faults:
            if fault.matches(request, account, in_job=in_job):
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
            return too_many_requests(status=400)
        case "token_revoked" | "masked_login":
            return invalid_login()
        case "locked_record":
            return user_error("This record has been locked by a user defined workflow.")
        case "no_permission":
            return user_error("Your current role does not have permission to perform this action.")
        case "insufficient_permission":
            return NetsuiteError(403, "INSUFFICIENT_PERMISSION", "Permission violation.")
        case "optimistic_lock":
            return NetsuiteError(400, "RCRD_HAS_BEEN_CHANGED", "Record has been changed")
    return None
