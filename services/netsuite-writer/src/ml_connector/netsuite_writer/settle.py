"""Say what one answer means: for the account (`fault_of`) and for one record (`settle`). Pure.

These two tables are the whole policy (DESIGN section 6, facts/netsuite.md section 7).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# By code, whatever the status: 429 as documented, 400 as seen by others (facts/netsuite.md section 7).
OVERLOAD_CODES = frozenset({"CONCURRENCY_LIMIT_EXCEEDED", "SSS_REQUEST_LIMIT_EXCEEDED", "WS_REQUEST_BLOCKED"})
LOGIN_CODES = frozenset({"INVALID_LOGIN", "INVALID_LOGIN_ATTEMPT"})
# Somebody else is at the record right now; the same request works later.
BUSY_CODES = frozenset({"RCRD_HAS_BEEN_CHANGED"})
BUSY_TEXTS = ("record has been changed", "has been locked", "deleted since you retrieved it")
PERMISSION_CODES = frozenset({"INSUFFICIENT_PERMISSION"})
PERMISSION_TEXT = "does not have permission"
OWN_EXTERNAL_ID_TEXT = "this entity already exists"
METHOD_REFUSED = 405  # seen of a PUT, with a body that nobody noted
DUPLICATE = "DUPLICATE"
DUPLICATE_TEXTS = ("already exists", "must have a unique name", "must enter a unique")


@dataclass(frozen=True, slots=True)
class Answer:
    """What NetSuite said to one request. `status` 0: nothing; `sent` False: it never had the request.

    `under_load`: other requests with the same token succeeded while this one was under way. `foreign`: a refusal
    without NetSuite's error body (facts/netsuite.md section 7), as by a proxy's page.
    """

    status: int
    code: str = ""
    detail: str = ""
    internal_id: str | None = None
    sent: bool = True
    under_load: bool = False
    foreign: bool = False
    location: str = ""  # of a job
    retry_after_s: float = 0.0  # what it asks for; 0: nothing

    @property
    def shown(self) -> str:
        """The status as metrics name it."""
        return str(self.status) if self.status else "none"


# What an answer says about the account rather than about one record.
Fault = Literal["overloaded", "unauthorized", "unavailable"]

# What a request does: upsert is PUT by external id; update and inactivate PATCH by external id; create is POST;
# adopt gives an existing record our external id.
Kind = Literal["upsert", "update", "create", "adopt", "inactivate"]


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
class Vanished:
    """The record that was to be changed is not there any more: look again, and create it if need be."""


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
class Forbidden:
    """The role may not do this. If it may not for any record of the type, the type is suspended."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Reject:
    """A person has to change something."""

    code: str
    message: str


Verdict = Written | Landed | NothingToDo | Vanished | TryAgain | Overloaded | Unauthorized | Forbidden | Reject


def fault_of(answer: Answer) -> Fault | None:
    """What the answer to any request says about the account; None: NetSuite works, and let us in."""
    match answer:
        case Answer(code=code) if code in OVERLOAD_CODES:
            return "overloaded"
        case Answer(status=429):
            return "overloaded"
        case Answer(status=status, code=code) if status == 401 or code in LOGIN_CODES:
            return "overloaded" if answer.under_load else "unauthorized"
        case Answer(status=status) if status == 0 or status >= 500 or status in {408, 425}:
            return "unavailable"
        case Answer(foreign=True, status=status) if status != METHOD_REFUSED:
            return "unavailable"
    return None


def settle(answer: Answer, kind: Kind) -> Verdict:
    """The verdict on one record."""
    match fault_of(answer):
        case "overloaded":
            return Overloaded()
        case "unauthorized":
            return Unauthorized()
        case "unavailable":
            return TryAgain(unknown=answer.sent)
    if answer.status == METHOD_REFUSED and kind == "upsert":
        text = "This account refuses PUT: set netsuite.opportunities: look-up in the flow."
        return Reject("UPSERT_REFUSED", text)
    return TryAgain(unknown=True) if answer.foreign else _of_record(answer, kind)


def _of_record(answer: Answer, kind: Kind) -> Verdict:
    """What NetSuite itself said of it."""
    text = answer.detail.lower()
    match answer:
        case Answer(status=200 | 201 | 204):
            return Written(answer.internal_id)
        case Answer(code=code) if code in BUSY_CODES or any(busy in text for busy in BUSY_TEXTS):
            return TryAgain(unknown=False)
        case Answer(code=code) if code in PERMISSION_CODES or PERMISSION_TEXT in text:
            return Forbidden(code, answer.detail)
        case Answer(status=404) if kind == "inactivate":
            return NothingToDo("NetSuite has no such record")
        case Answer(status=404) if kind in {"update", "adopt"}:
            return Vanished()
        case Answer(status=400) if OWN_EXTERNAL_ID_TEXT in text:
            return Landed()
        case Answer(status=400) if any(duplicate in text for duplicate in DUPLICATE_TEXTS):
            return Reject(DUPLICATE, answer.detail)
        case Answer(status=400 | 403 | 404 | 405 | 409 | 413 | 422, code=code) if code:
            return Reject(code, answer.detail)
    return Reject("unclassified", f"status {answer.status}: {answer.detail}"[:300])
