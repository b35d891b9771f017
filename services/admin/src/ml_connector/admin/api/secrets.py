"""/secrets: credentials go in, encrypted; what comes out is which there are, never a value."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from ml_connector.admin.api.flows import Why
from ml_connector.admin.api.models import In
from ml_connector.admin.api.problems import answers
from ml_connector.admin.api.services import Admin, Given
from ml_connector.admin.changing import Said
from ml_connector.admin.secrets.change import Place
from ml_connector.admin.secrets.look import Stored
from ml_connector.common.flows import Environment

router = APIRouter(prefix="/secrets", tags=["secrets"])

Kind = Annotated[Literal["flow", "pipedrive", "netsuite"], Path(description="what the owner is")]
Owner = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,63}$", examples=["acme-eu", "1234567_SB1"])]
Name = Annotated[str, Path(pattern=r"^[a-z0-9-]{1,40}$", examples=["webhook-hmac", "oauth2-m2m"])]
Expect = Annotated[
    int | None,
    Field(ge=0, le=2**31 - 1, description="the version you think is stored (0: there is none); else 409"),
]


class Set(In):
    value: Annotated[dict[str, Any], Field(repr=False, description="as docs/operating.md has it; never given back")]
    environment: Annotated[
        Environment | None, Field(description="null: that of the account, or of the flows that use it")
    ] = None
    expect: Expect = None
    reason: Why = ""


class DeleteQuery(In):
    expect: Expect = None
    reason: Why = ""
    force: Annotated[bool, Field(description="also what an active flow needs")] = False


class Secret(BaseModel):
    """A credential without what is in it."""

    key: Annotated[str, Field(examples=["flow/acme-eu/webhook-hmac"])]
    owner: str
    name: str
    environment: Environment
    version: int
    kek: Annotated[str, Field(description="the id of the key that it is encrypted with")]
    used_by: Annotated[list[str], Field(description="flows whose active version needs it")]


class Secrets(BaseModel):
    secrets: list[Secret]


@router.get("", responses=answers())
def list_secrets(given: Given, _: Admin) -> Secrets:
    """All credentials by key; never what is in them."""
    return Secrets(secrets=[_told(one) for one in given.secret_looks.all()])


@router.put("/{kind}/{owner}/{name}", responses=answers(409))
async def set_secret(given: Given, actor: Admin, kind: Kind, owner: Owner, name: Name, body: Set) -> Secret:
    """Check, encrypt and store a credential; the services work with it within seconds."""
    said = Said(actor, body.reason, body.expect)
    stored = await given.secrets.set(Place(f"{kind}/{owner}", name), body.value, said, body.environment)
    await given.outbox.publish()
    return _told(stored)


@router.delete("/{kind}/{owner}/{name}", responses=answers(404, 409))
async def delete_secret(
    given: Given, actor: Admin, kind: Kind, owner: Owner, name: Name, query: Annotated[DeleteQuery, Query()]
) -> Secret:
    """Delete a credential. The answer is what it was."""
    said = Said(actor, query.reason, query.expect)
    stored = await given.secrets.delete(Place(f"{kind}/{owner}", name), said, force=query.force)
    await given.outbox.publish()
    return _told(stored)


def _told(stored: Stored) -> Secret:
    return Secret(key=stored.key, **{**stored._asdict(), "used_by": list(stored.used_by)})
