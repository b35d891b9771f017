"""/pipedrive: the address where a company's administrator lets us in, and where their browser comes back to."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Final

from fastapi import APIRouter, Path, Request
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, Field
from starlette.datastructures import QueryParams

from ml_connector.admin.api.flows import Why
from ml_connector.admin.api.models import In
from ml_connector.admin.api.problems import answers
from ml_connector.admin.api.services import Admin, Given
from ml_connector.admin.changing import Said
from ml_connector.admin.connect.connect import Came
from ml_connector.admin.connect.pages import PAGES, Ending, page_of
from ml_connector.common.flows import Environment

router = APIRouter(prefix="/pipedrive", tags=["pipedrive"])

Company = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$", examples=["acme-eu"])]
_STATE: Final = re.compile(r"[A-Za-z0-9_-]{43}\Z")
MAX_CODE: Final = 2048  # characters; Pipedrive names no length


class Connect(In):
    environment: Annotated[Environment | None, Field(description="null: that of the flows that use the company")] = None
    reason: Why = ""


class Connecting(BaseModel):
    """Open the URL in a browser, as an administrator of the company."""

    authorize_url: Annotated[str, Field(description="good once; who has it may connect another company's access")]
    expires_at: datetime
    environment: Environment
    version: Annotated[int, Field(description="of the grant that is stored now (0: none is); it grows when connected")]


@router.post("/{company}/connect", responses=answers(409))
async def connect(given: Given, actor: Admin, company: Company, body: Connect) -> Connecting:
    """Begin an authorization at Pipedrive (OAuth 2.0). Nothing is stored before the browser comes back from there."""
    begun = await given.connects.begin(company, Said(actor, body.reason), body.environment)
    await given.outbox.publish()
    return Connecting(
        authorize_url=begun.authorize_url,
        expires_at=datetime.fromtimestamp(begun.expires_at_ms / 1000, UTC),
        environment=begun.environment,
        version=begun.version,
    )


@router.get("/callback", include_in_schema=False)
async def callback(given: Given, request: Request) -> HTMLResponse:
    """A page for a person, so no part of the document. It needs no token: the state says who asked."""
    came = _came(request.query_params)
    if came is None:
        return _page(Ending.malformed)
    ending, company = await given.connects.finish(came)
    await given.outbox.publish()
    return _page(ending, company)


def _came(query: QueryParams) -> Came | None:
    """Each member at most once; a code or an error. What else is there is left alone."""
    state, code, error = (query.getlist(name) for name in ("state", "code", "error"))
    if len(state) != 1 or not _STATE.match(state[0]) or len(code) + len(error) != 1:
        return None
    if not 0 < len((code + error)[0]) <= MAX_CODE:
        return None
    return Came(state[0], "".join(code), "".join(error))


def _page(ending: Ending, company: str = "") -> HTMLResponse:
    return HTMLResponse(page_of(ending, company), status_code=PAGES[ending].status)
