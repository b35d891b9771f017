"""What the owner of a company or an account is asked, and what it answers.

A request is a message in `pipedrive.requests` or `netsuite.requests` with `headers.KIND` and `headers.REQUEST_ID`; the
answer is in `connector.replies` under that id. Nothing waits for it but who asked: a lost one is asked again.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from ml_connector.common.codec import Wire

CheckResult = Literal["ok", "warning", "failed", "skipped"]


class Check(Wire, frozen=True):
    """Kind `check`: look at your side of this flow, from the name in DNS to the permissions.

    `document`: of a flow that is not applied yet. Then a resolver only looks whether it fits the company's definitions.
    """

    flow: str
    document: dict[str, Any] | None = None


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that was looked at. `says` and `fix` are sentences for a person; neither holds a secret."""

    check: str  # "<side>.<what>": "netsuite.authentication"
    result: CheckResult
    says: str
    fix: str = ""
    took_ms: int = 0


class Checked(Wire, frozen=True):
    """The answer to a Check, in the order in which things were looked at."""

    findings: tuple[Finding, ...]


class Webhooks(Wire, frozen=True):
    """Kind `webhooks`: which subscriptions the company has; with `install`, those that the flow needs are made."""

    flow: str
    url: str = ""  # where ingest is reached from outside; with `relay` where the relay is
    install: bool = False
    relay: bool = False


class Subscription(msgspec.Struct, frozen=True, omit_defaults=True):
    """A webhook as Pipedrive lists it. Of one that is not ours `url` names the host only: there may be a key in it."""

    id: int
    entity: str
    action: str
    url: str
    ours: bool = False
    active: bool = True
    last_delivery: str = ""
    last_status: int | None = None


class Subscribed(Wire, frozen=True):
    """The answer to Webhooks. `refused`: why nothing, or not all, was done."""

    address: str = ""
    subscriptions: tuple[Subscription, ...] = ()
    created: tuple[Subscription, ...] = ()
    removed: tuple[Subscription, ...] = ()
    refused: str = ""
