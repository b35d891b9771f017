"""/flows/{flow}/webhooks: which of the company's webhooks lead to the flow; make those that it needs; give them a new
key."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from ml_connector.admin.acts import record_act
from ml_connector.admin.api import models as m
from ml_connector.admin.api.flows import FlowName, Why
from ml_connector.admin.api.models import In
from ml_connector.admin.api.problems import answers
from ml_connector.admin.api.services import Admin, Given, Services, Viewer
from ml_connector.admin.changing import Said
from ml_connector.admin.identity.roles import Actor
from ml_connector.admin.webhooks.keys import Proof
from ml_connector.admin.webhooks.rotate import Rotate
from ml_connector.common import asking

router = APIRouter(prefix="/flows", tags=["flows"])

MAX_URL = 500
Url = Annotated[str, Query(max_length=MAX_URL, examples=["https://in.example.com"])]


class Subscription(BaseModel):
    """One webhook, as Pipedrive lists it."""

    id: int
    entity: Annotated[str, Field(examples=["organization"])]
    action: Annotated[str, Field(description="`*`: create, change and delete")]
    url: Annotated[str, Field(description="of one that is not ours: its host only")]
    ours: Annotated[bool, Field(description="whether it leads to this flow")]
    active: bool
    last_delivery: Annotated[str, Field(description="as Pipedrive writes it; empty for never")]
    last_status: int | None


class Subscriptions(BaseModel):
    """What the company has now; `created` and `removed` are what was done for it."""

    flow: str
    address: Annotated[str, Field(description="what is subscribed; empty when no URL was given")]
    subscriptions: list[Subscription]
    created: list[Subscription]
    removed: list[Subscription]


class Install(In):
    """Where deliveries shall go."""

    url: Annotated[
        str,
        Field(
            max_length=MAX_URL,
            description="where ingest is reached from outside; with `relay` the relay's, as it is",
            examples=["https://in.example.com"],
        ),
    ]
    relay: Annotated[bool, Field(description="a relay signs what Pipedrive sends, and passes it on to ingest")] = False


class RotateKey(In):
    """Which key, and what is needed to give it out."""

    proof: Annotated[Proof | None, Field(description="null: the one that deliveries to the flow carry")] = None
    secret: Annotated[
        str | None,
        Field(min_length=16, max_length=500, repr=False, description="the new signing key; for hmac-sha256 only"),
    ] = None
    url: Annotated[
        str, Field(max_length=MAX_URL, description="as at install; empty: all webhooks that lead to the flow's path")
    ] = ""
    relay: Annotated[bool, Field(description="`url` is a relay's")] = False
    finish: Annotated[bool, Field(description="remove the old key; 409 before `finish_at`")] = False
    reason: Why = ""


class RotatedKey(BaseModel):
    """How far it is; asked again it goes on."""

    flow: str
    proof: Proof
    step: Annotated[
        Literal["overlapping", "finished"],
        Field(description="overlapping: both keys are good, and the new one is in use, or may be given to the relay"),
    ]
    key: Annotated[str, Field(description="the new key's id")]
    old_key: Annotated[str | None, Field(description="the old key's id; null: there is none")]
    finish_at: Annotated[datetime | None, Field(description="from then on the old key may go")]
    ingests: Annotated[list[str], Field(description="who believes the new key: every ingest that lives")]
    created: list[Subscription]
    removed: list[Subscription]


@router.get("/{flow}/webhooks", responses=answers(404, 409))
async def webhooks(given: Given, _: Viewer, flow: FlowName, url: Url = "", relay: bool = False) -> Subscriptions:
    """Ask Pipedrive for them. Without `url` those are ours that lead to the flow's path on any host."""
    return _told(flow, await given.webhooks.ask(asking.Webhooks(flow=flow, url=url, relay=relay)))


@router.post("/{flow}/webhooks", responses=answers(404, 409))
async def install(given: Given, actor: Admin, flow: FlowName, body: Install) -> Subscriptions:
    """Make what is missing, remove what leads to the same URL and is not needed. Again: nothing changes."""
    await given.webhook_rotation.until_believed(flow, Said(actor))
    await asyncio.to_thread(_note, given, actor, flow, body)
    await given.outbox.publish()
    asked = asking.Webhooks(flow=flow, url=body.url, install=True, relay=body.relay)
    return _told(flow, await given.webhooks.ask(asked))


@router.post("/{flow}/webhooks/rotate", responses=answers(404, 409))
async def rotate(given: Given, actor: Admin, flow: FlowName, body: RotateKey) -> RotatedKey:
    """Replace the key that deliveries carry, while they go on. Stopped anywhere, ask again. Takes up to a minute."""
    asked = Rotate(flow, body.proof, body.secret or "", body.url, body.relay, body.finish)
    found = await given.webhook_rotation.run(asked, Said(actor, body.reason))
    return RotatedKey(
        flow=flow,
        proof=found.proof,
        step=found.step,
        key=found.key,
        old_key=found.old_key or None,
        finish_at=None if found.finish_at_ms is None else m.at(found.finish_at_ms),
        ingests=list(found.ingests),
        created=[_row(one) for one in found.subscribed.created],
        removed=[_row(one) for one in found.subscribed.removed],
    )


def _note(given: Services, actor: Actor, flow: str, body: Install) -> None:
    """Before it is done: an answer may be lost. The URL is not noted: what a person pastes may hold a key."""
    given.flow_looks.active(flow)
    now_ms, detail = given.clock.now_ms(), {"relay": body.relay}
    with given.database.write() as connection:
        record_act(connection, "webhooks.install", by=actor, now_ms=now_ms, targets=[flow], detail=detail)


def _told(flow: str, found: asking.Subscribed) -> Subscriptions:
    return Subscriptions(
        flow=flow,
        address=found.address,
        subscriptions=[_row(one) for one in found.subscriptions],
        created=[_row(one) for one in found.created],
        removed=[_row(one) for one in found.removed],
    )


def _row(one: asking.Subscription) -> Subscription:
    return Subscription(**msgspec.structs.asdict(one))
