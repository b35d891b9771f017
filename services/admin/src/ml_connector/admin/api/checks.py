"""/flows/{flow}/check: does it work, from our credentials to the company's stages and the account's fields?"""

from __future__ import annotations

import asyncio
from typing import Annotated

import msgspec
from fastapi import APIRouter
from pydantic import BaseModel, Field

from ml_connector.admin.acts import record_act
from ml_connector.admin.api.flows import FlowName
from ml_connector.admin.api.problems import answers
from ml_connector.admin.api.services import Given, Operator, Services
from ml_connector.admin.identity.roles import Actor
from ml_connector.common.asking import CheckResult
from ml_connector.common.asking import Finding as Found
from ml_connector.common.flows import Environment

router = APIRouter(prefix="/flows", tags=["flows"])


class Finding(BaseModel):
    """One thing that was looked at."""

    check: Annotated[str, Field(examples=["netsuite.authentication"])]
    result: CheckResult
    says: Annotated[str, Field(examples=["NetSuite does not know the certificate"])]
    fix: Annotated[str, Field(description="what to do; empty when nothing is to be done")]
    took_ms: int


class Check(BaseModel):
    """Nothing failed when `ok`; there may be warnings."""

    flow: str
    version: int
    environment: Environment
    ok: bool
    findings: list[Finding]


@router.post("/{flow}/check", responses=answers(404))
async def check(given: Given, actor: Operator, flow: FlowName) -> Check:
    """Ask the owners of the company and the account to look. Only reads; takes up to half a minute."""
    live, findings = await given.checks.run(flow)
    await asyncio.to_thread(_note, given, actor, flow)
    await given.outbox.publish()
    return Check(
        flow=flow,
        version=live.version,
        environment=live.flow.environment,
        ok=not any(one.result == "failed" for one in findings),
        findings=[_told(one) for one in findings],
    )


def _note(given: Services, actor: Actor, flow: str) -> None:
    with given.database.write() as connection:
        record_act(connection, "flow.check", by=actor, now_ms=given.clock.now_ms(), targets=[flow])


def _told(one: Found) -> Finding:
    return Finding(**msgspec.structs.asdict(one))
