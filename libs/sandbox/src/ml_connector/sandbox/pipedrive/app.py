"""Wire the Pipedrive stand-in: who asks, may they, do it, tell the subscribers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from email.utils import formatdate
from typing import Any

from ml_connector.sandbox.clock import Clock
from ml_connector.sandbox.pipedrive import admin, limits
from ml_connector.sandbox.pipedrive.body import Change
from ml_connector.sandbox.pipedrive.company import Company
from ml_connector.sandbox.pipedrive.errors import ApiError
from ml_connector.sandbox.pipedrive.faults import Fault
from ml_connector.sandbox.pipedrive.fields import Definition
from ml_connector.sandbox.pipedrive.members import Item
from ml_connector.sandbox.pipedrive.oauth import Grant, OAuth
from ml_connector.sandbox.pipedrive.objects import Objects
from ml_connector.sandbox.pipedrive.rest import Api, Call
from ml_connector.sandbox.pipedrive.sender import Delivery, Sender
from ml_connector.sandbox.pipedrive.settings import PipedriveStandInSettings
from ml_connector.sandbox.server import serve
from ml_connector.sandbox.web import Reply, Request


class PipedriveStandIn:
    """All companies of one process."""

    def __init__(self, settings: PipedriveStandInSettings) -> None:
        self.clock = Clock(settings.clock_speed)
        self.companies: dict[str, Company] = {}
        self.by_token: dict[str, Company] = {}
        self.oauth = OAuth(self.clock)
        self.faults: list[Fault] = []
        self.log: list[dict[str, Any]] = []
        self.sender = Sender(self.clock, settings.permitted_users)
        self._under_way: set[asyncio.Task[None]] = set()

    async def answer(self, request: Request) -> Reply:
        """One HTTP request."""
        if request.path.startswith(admin.PREFIX):
            return await admin.answer(self, request)
        if request.path.startswith("/oauth/"):
            return self._logged(self.oauth.answer(request), request)
        started_ms = time.time() * 1000
        company, token, grant = self._who(request)
        reply = await self._reply(company, token, grant, request)
        self.log.append(
            {
                "company": company.name if company is not None else None,
                "method": request.method,
                "path": request.path,
                "status": reply.status,
                "start_ms": started_ms,
                "tokens": int(reply.headers.get("x-token-cost", 0)),
            }
        )
        return Reply(reply.status, reply.body, {**reply.headers, "date": formatdate(self.clock.now_s(), usegmt=True)})

    def _logged(self, reply: Reply, request: Request) -> Reply:
        """Of a login, which belongs to no company yet."""
        line = {"company": None, "method": request.method, "path": request.path, "status": reply.status}
        self.log.append({**line, "start_ms": time.time() * 1000, "tokens": 0})
        return reply

    def _who(self, request: Request) -> tuple[Company | None, str, Grant | None]:
        """With both credentials set the API token wins (npm README); older clients still send it in the query."""
        token = request.headers.get("x-api-token") or request.query.get("api_token", "")
        if token:
            return self.by_token.get(token), token, None
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        grant = self.oauth.grant_of(bearer) if scheme.lower() == "bearer" else None
        return (grant.app.company, bearer, grant) if grant is not None else (None, "", None)

    async def _reply(self, company: Company | None, token: str, grant: Grant | None, request: Request) -> Reply:
        if company is None:
            return ApiError(401, "unauthorized access", "Please check developers.pipedrive.com").reply()
        try:
            call = self._api(company, Delivery.parse(request.headers.get("x-sandbox-delivery", ""))).call(request)
            _check_scopes(call, grant)
        except ApiError as error:
            return error.reply()
        except ValueError as error:
            return ApiError(400, str(error)).reply()
        place = limits.take(company, request, token, oauth=grant is not None, cost=call.cost)
        if isinstance(place, Reply):
            return place
        fault = next((fault for fault in self.faults if fault.strikes(company.name, request.path)), None)
        if fault is not None:
            await asyncio.sleep(fault.delay_s)
            if fault.status:
                return ApiError(fault.status, "a fault on command", headers=place).reply()
        try:
            reply = call.do()
        except ApiError as error:
            reply = error.reply()
        return Reply(reply.status, reply.body, {**reply.headers, **place, "x-token-cost": str(call.cost)})

    def _api(self, company: Company, delivery: Delivery) -> Api:
        def redefined(entity: str, action: str, definition: Definition) -> None:
            form = company.terms.field_events
            if form != "none":
                name = f"{entity}Field" if form == "entityField" else f"{entity}_field"
                change = Change(action, name, 0, None, dict(definition), at=self.clock.now())
                self.sender.send(company, change, delivery)

        return Api(company, lambda change: self.sender.send(company, change, delivery), redefined)

    def change(self, company: Company, entity: str, number: int, body: Item, delivery: Delivery) -> None:
        """An edit that somebody makes in Pipedrive's pages."""
        request = Request("PATCH", "", {}, {}, b"")
        changed = Objects(company, entity, request, lambda change: self.sender.send(company, change, delivery))
        changed.update(str(number), body)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """In the background; `quiet` waits for it."""
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def quiet(self) -> None:
        """Until nobody edits and no delivery is under way."""
        while self._under_way:
            await asyncio.wait(self._under_way)
        await self.sender.quiet()


def _check_scopes(call: Call, grant: Grant | None) -> None:
    """An API token may do everything its user may."""
    if grant is not None and call.scopes and not call.scopes & grant.app.scopes:
        raise ApiError(403, "Scope and URL mismatch", f"one of {', '.join(sorted(call.scopes))} is needed")


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    import uvloop

    settings = PipedriveStandInSettings()
    standin = PipedriveStandIn(settings)
    uvloop.run(
        serve(
            standin.answer, host=settings.host, port=settings.port, ready_file=settings.ready_file, name="pipedrive"
        )
    )  # fmt: skip
