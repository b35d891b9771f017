"""/flows/{flow}/webhooks: which of the company's webhooks lead to the flow; make those that it needs."""

from __future__ import annotations

import asyncio
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from ml_connector.admin.acts import record_act
from ml_connector.admin.api.flows import FlowName
from ml_connector.admin.api.models import In
from ml_connector.admin.api.problems import answers
from ml_connector.admin.api.services import Admin, Given, Services, Viewer
from ml_connector.admin.identity.roles import Actor
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


@router.get("/{flow}/webhooks", responses=answers(404, 409))
async def webhooks(given: Given, _: Viewer, flow: FlowName, url: Url = "", relay: bool = False) -> Subscriptions:
    """Ask Pipedrive for them. Without `url` those are ours that lead to the flow's path on any host."""
    return _told(flow, await given.webhooks.ask(asking.Webhooks(flow=flow, url=url, relay=relay)))


@router.post("/{flow}/webhooks", responses=answers(404, 409))
async def install(given: Given, actor: Admin, flow: FlowName, body: Install) -> Subscriptions:
    """Make what is missing, remove what leads to the same URL and is not needed. Again: nothing changes."""
    await asyncio.to_thread(_note, given, actor, flow, body)
    await given.outbox.publish()
    asked = asking.Webhooks(flow=flow, url=body.url, install=True, relay=body.relay)
    return _told(flow, await given.webhooks.ask(asked))


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
