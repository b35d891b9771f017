"""What the owner of a company or an account is asked, and what it answers.

A request is a message in `pipedrive.requests` or `netsuite.requests` with `headers.KIND` and `headers.REQUEST_ID`; the
answer is in `connector.replies` under that id. Nothing waits for it but who asked: a lost one is asked again.

Nobody asks ingest, since each of its processes would have to answer: it tells of itself, in the same topic.
"""

from __future__ import annotations

from typing import Any, Final, Literal, NamedTuple

import msgspec

from ml_connector.common.codec import Wire
from ml_connector.common.keys import Entity
from ml_connector.common.syncing import Shelf

CheckResult = Literal["ok", "warning", "failed", "skipped"]
Why = Literal[
    "unsigned",  # no signature, though the flow wants one
    "basic_instead",  # no signature, but HTTP Basic: so does Pipedrive itself
    "signature",  # of another key, or of another body
    "no_basic",
    "basic",  # another user or password
    "address",  # not of a network that may deliver
    "no_secret",  # a push without the shared secret
    "secret",  # a push with another one
]

INGEST: Final = "ingest/"  # begins the keys of what ingest tells of itself
TOLD_EVERY_S: Final = 10.0  # a person who rotates a key waits for it; a message has some hundred bytes


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


class Looked(NamedTuple):
    """A Finding without its name and time."""

    result: CheckResult
    says: str
    fix: str = ""


class Checked(Wire, frozen=True):
    """The answer to a Check, in the order in which things were looked at."""

    findings: tuple[Finding, ...]


class Draft(Wire, frozen=True):
    """Kind `preview` with `headers.DRAFT`: an event, and the document of a flow that is not applied yet."""

    document: dict[str, Any]
    event: msgspec.Raw


class Webhooks(Wire, frozen=True):
    """Kind `webhooks`: which subscriptions the company has; with `install`, those that the flow needs are made.

    `renew`: the id of the flow's new key for HTTP Basic. Ours that were made with another are made anew with it.
    """

    flow: str
    url: str = ""  # where ingest is reached from outside; with `relay` where the relay is
    install: bool = False
    relay: bool = False
    renew: str = ""


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
    name: str = ""


class Subscribed(Wire, frozen=True):
    """The answer to Webhooks. `refused`: why nothing, or not all, was done."""

    address: str = ""
    subscriptions: tuple[Subscription, ...] = ()
    created: tuple[Subscription, ...] = ()
    removed: tuple[Subscription, ...] = ()
    refused: str = ""


class ListIds(Wire, frozen=True):
    """Kind `list-ids`: the ids of one page of all objects of an entity, deleted ones left out. Nothing is made of them.

    `token_share`: as of a sync's page.
    """

    flow: str
    entity: Entity
    shelf: Shelf = "current"
    cursor: str = ""
    token_share: float = 0.5


class ListedIds(Wire, frozen=True):
    """The answer to ListIds. `refused`: why there are none; `wait_s`: then there may be."""

    ids: tuple[str, ...] = ()
    cursor: str = ""  # of the next page; empty: this was the last one
    tokens: int = 0
    refused: str = ""
    wait_s: float = 0.0


class Refused(msgspec.Struct, frozen=True):
    """Deliveries of one flow that were refused alike, since the process began."""

    why: Why
    count: int
    last_ms: int


class AtTheDoor(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one ingest has to say of a flow.

    `keys`: the ids of the keys that it believes, as `basic:<id>`, while a credential has two; never what is in them.
    """

    keys: tuple[str, ...] = ()
    accepted_ms: int = 0  # the last; 0: none since the process began
    refused: tuple[Refused, ...] = ()
    unavailable_ms: tuple[int, int] | None = None  # of those lately that could not be stored, the first and the last
    pushed_ms: int = 0  # the last push of NetSuite's that was accepted
    pushes_refused: tuple[Refused, ...] = ()


class AtIngest(Wire, frozen=True):
    """What one ingest process works with, under `ingest/<instance>`: at its start, every TOLD_EVERY_S, and as soon as
    `keys` of a flow change. `flows`: those of which there is something to say; `left`: it has answered its last
    delivery."""

    instance: str
    at_ms: int
    flows: dict[str, AtTheDoor]
    began_ms: int = 0  # it takes deliveries since
    left: bool = False
