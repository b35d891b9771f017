"""/vault: which keys encrypt the credentials, and wrapping all of them anew under the first."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field

from ml_connector.admin.api.flows import Why
from ml_connector.admin.api.models import In
from ml_connector.admin.api.problems import answers
from ml_connector.admin.api.services import Admin, Given
from ml_connector.admin.changing import Said

router = APIRouter(prefix="/vault", tags=["secrets"])


class Rotate(In):
    reason: Why = ""


class VaultKey(BaseModel):
    id: str
    entries: Annotated[int, Field(description="credentials and tokens that it encrypts")]
    tokens: Annotated[int, Field(description="of them tokens, which get the active key when they are refreshed")]
    here: Annotated[bool, Field(description="whether the admin service has it")]
    removable: Annotated[bool, Field(description="nothing needs it any more")]


class Vault(BaseModel):
    active: Annotated[str, Field(description="the id of the key that encrypts: the first one")]
    keys: list[VaultKey]
    untold: Annotated[
        int, Field(description="changes that the services are not told of yet; until they are, no key is removable")
    ]


class Rotated(BaseModel):
    active: Annotated[str, Field(description="the id of the key that encrypts now")]
    rewrapped: Annotated[int, Field(description="credentials that were under another key")]
    unreadable: Annotated[list[str], Field(description="credentials that no key opens: left as they are")]


@router.get("", responses=answers(409))
async def vault_status(given: Given, _: Admin) -> Vault:
    """The keys by id, what each encrypts, and which may be removed."""
    await given.outbox.publish()
    status = await given.rotation.status()
    keys = [VaultKey(**key._asdict()) for key in status.keys]
    return Vault(active=status.active, keys=keys, untold=status.untold)


@router.post("/rotate", responses=answers(409))
async def rotate_vault(given: Given, actor: Admin, body: Rotate) -> Rotated:
    """Wrap every credential under the active key; stopped anywhere, the next call does what is left."""
    done = await given.rotation.rotate(Said(actor, body.reason))
    await given.outbox.publish()
    return Rotated(active=done.active, rewrapped=len(done.rewrapped), unreadable=list(done.unreadable))
