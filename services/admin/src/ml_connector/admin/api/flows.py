"""/flows: what is synchronized with what, and how; versions that never change, of which one is active."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from ml_connector.admin.api.models import In, at
from ml_connector.admin.api.models import Stop as Stopped
from ml_connector.admin.api.previews import Previewed, previewed
from ml_connector.admin.api.problems import answers
from ml_connector.admin.api.services import Admin, Given, Operator, Viewer
from ml_connector.admin.api.status import stop_of
from ml_connector.admin.changing import Said
from ml_connector.admin.flows.change import Changed
from ml_connector.admin.flows.look import Known
from ml_connector.admin.flows.stops import Stop, stops_of
from ml_connector.common.flows import FlowVersion, environment_of

router = APIRouter(prefix="/flows", tags=["flows"])

FlowName = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$", examples=["acme-eu"])]
Number = Annotated[int, Field(ge=1, le=2**31 - 1)]
Why = Annotated[str, Field(max_length=500, description="kept with the act", examples=["a new status"])]
Expect = Annotated[
    int | None,
    Field(ge=0, le=2**31 - 1, description="the version you think is active (0: there is no such flow); else 409"),
]


class Because(In):
    reason: Why = ""
    expect: Expect = None


class Apply(Because):
    document: Annotated[dict[str, Any], Field(description="a flow, as docs/flows.md has it")]
    check: Annotated[bool, Field(description="against the company's own custom fields and stages")] = True


class Activate(Because):
    version: Number


class Event(In):
    event: Annotated[dict[str, Any], Field(description="a webhook body, as Pipedrive sends it")]
    version: Annotated[Number | None, Field(description="map with this one (default: the active one)")] = None


class Draft(In):
    document: Annotated[dict[str, Any], Field(description="a flow, as docs/flows.md has it; it need not be applied")]
    event: Annotated[dict[str, Any], Field(description="a webhook body, as Pipedrive sends it")]


class Flow(BaseModel):
    """A flow and its active version."""

    flow: str
    version: int
    paused: bool
    company: str
    account: str
    environment: str
    applied_at: datetime | None
    applied_by: str
    stopped: Annotated[list[Stopped], Field(description="what stops it, besides a person")]
    changed: Annotated[bool, Field(description="of a change: False when it was like that already")] = False
    unchecked: Annotated[str, Field(description="of an apply: why the company's definitions were not looked at")] = ""


class Flows(BaseModel):
    flows: list[Flow]


class Version(BaseModel):
    version: int
    active: bool
    applied_at: datetime | None
    applied_by: str


class FlowDetail(Flow):
    document: dict[str, Any]
    versions: Annotated[list[Version], Field(description="newest first")]


class Document(BaseModel):
    """One version as it was applied."""

    flow: str
    version: int
    applied_at: datetime | None
    applied_by: str
    document: dict[str, Any]


@router.get("", responses=answers())
def list_flows(given: Given, _: Viewer) -> Flows:
    """All flows by name, each with its active version."""
    stops = {stop.subject: stop for stop in given.flow_looks.stops()}
    return Flows(flows=[Flow(**_told(one, stops_of(one.version, stops))) for one in given.flow_looks.all()])


@router.post("", responses=answers(409))
async def apply(given: Given, actor: Admin, body: Apply) -> Flow:
    """Check a document, give it the next version and activate it. Every problem is in `details`.

    A company that cannot be looked at now keeps nobody from applying: `unchecked` says so."""
    return await _done(given, await given.flows.apply(body.document, _said(actor, body), check=body.check))


@router.get("/{flow}", responses=answers(404))
def show(given: Given, _: Viewer, flow: FlowName) -> FlowDetail:
    """Its active version in full, and which others there are."""
    known = given.flow_looks.one(flow)
    versions = [
        Version(
            version=one.version,
            active=one.version == known.active.version,
            applied_at=at(one.applied_at_ms),
            applied_by=one.applied_by,
        )
        for one in given.flow_looks.versions(flow)
    ]
    told = _told(known, given.flow_looks.stops_of(known.version))
    return FlowDetail(**told, document=known.version.document, versions=versions)


@router.get("/{flow}/versions/{version}", responses=answers(404))
def show_version(
    given: Given, _: Viewer, flow: FlowName, version: Annotated[int, Path(ge=1, le=2**31 - 1)]
) -> Document:
    """One version as it was applied, active or not."""
    found = given.flow_looks.version(flow, version)
    return Document(
        flow=found.flow,
        version=found.version,
        applied_at=at(found.applied_at_ms),
        applied_by=found.applied_by,
        document=found.document,
    )


@router.post("/{flow}/activate", responses=answers(404, 409))
async def activate(given: Given, actor: Admin, flow: FlowName, body: Activate) -> Flow:
    """Go back, or forth, to a version that was applied before."""
    return await _done(given, await given.flows.activate(flow, body.version, _said(actor, body)))


@router.post("/{flow}/pause", responses=answers(404, 409))
async def pause(given: Given, actor: Operator, flow: FlowName, body: Because) -> Flow:
    """Write nothing of it to NetSuite; its events go on being accepted and wait."""
    return await _done(given, await given.flows.pause(flow, _said(actor, body)))


@router.post("/{flow}/resume", responses=answers(404, 409))
async def resume(given: Given, actor: Operator, flow: FlowName, body: Because) -> Flow:
    """Let it go on, whether a person has paused it or it was halted by rejections."""
    return await _done(given, await given.flows.resume(flow, _said(actor, body)))


@router.post("/{flow}/preview", responses=answers(404))
async def preview(given: Given, _: Viewer, flow: FlowName, body: Event) -> Previewed:
    """What the mapping makes of an event, field by field. Nothing is written, here or at NetSuite."""
    return previewed(await given.flow_previews.run(flow, body.event, body.version))


@router.post("/preview", responses=answers())
async def preview_draft(given: Given, _: Admin, body: Draft) -> Previewed:
    """As the preview of a flow, of a document that is not applied yet. Every problem of it is in `details`.

    It takes the role admin: the document says where the company's credential is sent."""
    return previewed(await given.flow_previews.run_draft(body.document, body.event))


def _said(actor: Admin, body: Because) -> Said:
    return Said(actor, body.reason, body.expect)


async def _done(given: Given, found: Changed) -> Flow:
    if found.changed:
        await given.outbox.publish()
    stops = await asyncio.to_thread(given.flow_looks.stops_of, found.known.version)
    return Flow(**{**_told(found.known, stops), "changed": found.changed, "unchecked": found.unchecked})


def _told(known: Known, stops: Sequence[Stop]) -> dict[str, Any]:
    version: FlowVersion = known.version
    account = version.document["netsuite"]["account"]
    return {
        "flow": version.flow,
        "version": version.version,
        "paused": known.active.paused,
        "stopped": [stop_of(stop) for stop in stops],
        "company": version.document["pipedrive"]["company"],
        "account": account,
        "environment": environment_of(account),
        "applied_at": at(version.applied_at_ms),
        "applied_by": version.applied_by,
    }
