"""The admin service on HTTP: the routes, who is let in, the server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from ml_connector.admin.api import (
    catch_ups,
    checks,
    dead_letters,
    drift,
    flows,
    pipedrive,
    problems,
    reconciles,
    records,
    replays,
    schedules,
    secrets,
    status,
    syncs,
    vault,
    webhooks,
)
from ml_connector.admin.api.services import Services
from ml_connector.admin.connect.connect import CALLBACK
from ml_connector.admin.guard import Guard
from ml_connector.admin.identity.door import Door
from ml_connector.admin.identity.tokens import Verifier
from ml_connector.admin.settings import AdminSettings

HEADER_READ_MS: Final = 5_000
MAX_HEADER_BYTES: Final = 64 * 1024  # a token has 16 KiB at most
PUBLIC: Final = frozenset({"/livez", "/readyz", CALLBACK})
_PARTS: Final = (
    records,
    dead_letters,
    replays,
    flows,
    syncs,
    reconciles,
    drift,
    schedules,
    catch_ups,
    secrets,
    vault,
    checks,
    webhooks,
    pipedrive,
    status,
)
DESCRIPTION: Final = """What happened to a record, why it failed, and doing it again.

Every call needs a bearer token of the configured issuer with the role viewer, operator or admin."""


def make_api(services: Services) -> FastAPI:
    """The routes and what their answers may be."""
    api = FastAPI(
        title="ml-connector admin",
        version="1",
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        openapi_url="/v1/openapi.json",
        telemetry={
            "tracing": False,
            "metrics": False,
            "logs": False,
        },  # it would export queries: a customer's name, a state, a code
    )
    api.state.services = services
    problems.install(api)
    for part in _PARTS:
        api.include_router(part.router, prefix="/v1")
    return api


def make_asgi(
    services: Services, verifier: Verifier, *, not_ready: Callable[[], str | None], max_body_bytes: int
) -> Any:
    """The API behind its door, within its guard, and the two probes beside it."""
    api = make_api(services)

    @api.get("/livez", include_in_schema=False)
    async def livez() -> PlainTextResponse:
        return PlainTextResponse("ok\n")

    @api.get("/readyz", include_in_schema=False)
    async def readyz() -> PlainTextResponse:
        problem = not_ready()
        return PlainTextResponse(f"{problem or 'ok'}\n", status_code=503 if problem else 200)

    return Guard(within_door(api, verifier), max_body_bytes=max_body_bytes)


def within_door(api: FastAPI, verifier: Verifier) -> Door:
    return Door(api, verifier, public=PUBLIC)


def make_server(asgi: Any, settings: AdminSettings, port: int) -> Server:
    return Server(
        asgi,
        address=settings.http_host,
        port=port,
        interface=Interfaces.ASGINL,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=HEADER_READ_MS, max_buffer_size=MAX_HEADER_BYTES),
        websockets=False,
        log_enabled=False,
    )
