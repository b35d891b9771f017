"""Say what becomes of one record after one answer. This table is the whole policy (DESIGN section 6). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# By code, whatever the status: 429 as documented, 400 as seen by others (facts/netsuite.md section 7).
OVERLOAD_CODES = frozenset({"CONCURRENCY_LIMIT_EXCEEDED", "SSS_REQUEST_LIMIT_EXCEEDED", "WS_REQUEST_BLOCKED"})
LOGIN_CODES = frozenset({"INVALID_LOGIN", "INVALID_LOGIN_ATTEMPT"})
# Somebody else is at the record right now; the same request works later.
BUSY_CODES = frozenset({"RCRD_HAS_BEEN_CHANGED"})
BUSY_TEXTS = ("record has been changed", "has been locked", "deleted since you retrieved it")
OWN_EXTERNAL_ID_TEXT = "this entity already exists"
DUPLICATE_TEXTS = ("already exists", "must have a unique name", "must enter a unique")


@dataclass(frozen=True, slots=True)
class Answer:
    """What NetSuite said to one request. `status` 0: nothing; `sent` False: it never had the request."""

    status: int
    code: str = ""
    detail: str = ""
    internal_id: str | None = None
    sent: bool = True


@dataclass(frozen=True, slots=True)
class Written:
    """NetSuite holds this state now."""

    internal_id: str | None


@dataclass(frozen=True, slots=True)
class Landed:
    """The record exists already under our external id: an earlier call did succeed. Look it up and go on."""


@dataclass(frozen=True, slots=True)
class NothingToDo:
    """There is no record that could be changed."""

    reason: str


@dataclass(frozen=True, slots=True)
class TryAgain:
    """Not this time. `unknown`: NetSuite may have executed the request, or may yet."""

    unknown: bool


@dataclass(frozen=True, slots=True)
class Overloaded:
    """Too many requests in flight; says nothing about the record."""


@dataclass(frozen=True, slots=True)
class Unauthorized:
    """Our credentials were refused; says nothing about the record."""


@dataclass(frozen=True, slots=True)
class Reject:
    """A person has to change something."""

    code: str
    message: str


Verdict = Written | Landed | NothingToDo | TryAgain | Overloaded | Unauthorized | Reject


def settle(answer: Answer, kind: Literal["upsert", "inactivate"]) -> Verdict:
    """The verdict on one answer to one call."""
    text = answer.detail.lower()
    match answer:
        case Answer(status=200 | 201 | 204):
            return Written(answer.internal_id)
        case Answer(status=0):
            return TryAgain(unknown=answer.sent)
        case Answer(status=429) | Answer(code="CONCURRENCY_LIMIT_EXCEEDED"):
            return Overloaded()
        case Answer(code=code) if code in OVERLOAD_CODES:
            return Overloaded()
        case Answer(status=401):
            return Unauthorized()
        case Answer(code=code) if code in LOGIN_CODES:
            return Unauthorized()
        case Answer(status=status) if status >= 500 or status in {408, 425}:
            return TryAgain(unknown=True)
        case Answer(code=code) if code in BUSY_CODES or any(busy in text for busy in BUSY_TEXTS):
            return TryAgain(unknown=False)
        case Answer(status=404) if kind == "inactivate":
            return NothingToDo("NetSuite has no such record")
        case Answer(status=400) if OWN_EXTERNAL_ID_TEXT in text:
            return Landed()
        case Answer(status=400) if any(duplicate in text for duplicate in DUPLICATE_TEXTS):
            return Reject("DUPLICATE", answer.detail)
        case Answer(status=400 | 403 | 404 | 405 | 409 | 413 | 422, code=code) if code:
            return Reject(code, answer.detail)
    return Reject("unclassified", f"status {answer.status}: {answer.detail}"[:300])
