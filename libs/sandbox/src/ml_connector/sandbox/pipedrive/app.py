"""Wire the Pipedrive stand-in: who asks, may they, do it, tell the subscribers."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any

from ml_connector.sandbox.pipedrive.body import Change
from ml_connector.sandbox.pipedrive.company import Company
from ml_connector.sandbox.pipedrive.rest import Api, ApiError
from ml_connector.sandbox.pipedrive.sender import Delivery, Sender
from ml_connector.sandbox.pipedrive.settings import PipedriveStandInSettings
from ml_connector.sandbox.web import Receive, Reply, Request, Scope, Send, json_reply, read_request, send_reply, serve

ADMIN = "/_sandbox/"
WINDOW_S = 2.0


@dataclass(slots=True)
class Fault:
    """What shall go wrong with requests whose path starts with `match`."""

    company: str | None
    match: str
    status: int
    delay_s: float
    count: int | None
    hits: int = 0


class PipedriveStandIn:
    """An ASGI application."""

    def __init__(self, settings: PipedriveStandInSettings) -> None:
        self._settings = settings
        self._companies: dict[str, Company] = {}
        self._by_token: dict[str, Company] = {}
        self._faults: list[Fault] = []
        self._log: list[dict[str, Any]] = []
        self.sender = Sender(settings.clock_speed, settings.permitted_users)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = await read_request(scope, receive)
        reply = await self.answer(request)
        headers = {**reply.headers, "date": formatdate(usegmt=True)}
        await send_reply(send, Reply(reply.status, reply.body, headers))

    async def answer(self, request: Request) -> Reply:
        if request.path.startswith(ADMIN):
            try:
                return await self._admin(request.method, request.path[len(ADMIN) :].split("/"), request)
            except (ValueError, KeyError, TypeError) as error:
                return json_reply(400, {"error": f"{type(error).__name__}: {error}"})
        started_ms = time.time() * 1000
        company = self._by_token.get(_token(request))
        reply = await self._reply(company, request)
        self._log.append(
            {
                "company": company.name if company is not None else None,
                "method": request.method,
                "path": request.path,
                "status": reply.status,
                "start_ms": started_ms,
                "tokens": int(reply.headers.get("x-token-cost", 0)),
            }
        )
        return reply

    async def _reply(self, company: Company | None, request: Request) -> Reply:
        if company is None:
            return ApiError(401, "unauthorized access").reply()
        limits = self._take_place(company)
        if limits is None:
            reply = ApiError(429, "request over limit").reply()
            return Reply(
                reply.status, reply.body, {**reply.headers, "x-ratelimit-remaining": "0", "x-ratelimit-reset": "2"}
            )
        fault = self._fault(company, request)
        if fault is not None:
            await asyncio.sleep(fault.delay_s)
            if fault.status:
                return ApiError(fault.status, "a fault on command").reply()
        try:
            delivery = Delivery.parse(request.headers.get("x-sandbox-delivery", ""))
            reply = Api(company, request, self._teller(company, delivery)).handle()
        except ApiError as error:
            return error.reply()
        company.tokens_spent += int(reply.headers.get("x-token-cost", 0))
        return Reply(reply.status, reply.body, {**reply.headers, **limits})

    def _teller(self, company: Company, delivery: Delivery) -> Callable[[Change], None]:
        return lambda change: self.sender.send(company, change, delivery)

    def _take_place(self, company: Company) -> dict[str, str] | None:
        """Rolling window; None when the burst limit is reached."""
        limit = self._settings.burst_limit
        if not limit:
            return {}
        now_s = time.monotonic()
        while company.requests and company.requests[0] < now_s - WINDOW_S:
            company.requests.popleft()
        if len(company.requests) >= limit:
            return None
        company.requests.append(now_s)
        return {"x-ratelimit-limit": str(limit), "x-ratelimit-remaining": str(limit - len(company.requests))}

    def _fault(self, company: Company, request: Request) -> Fault | None:
        for fault in self._faults:
            fits = fault.company in {None, company.name} and request.path.startswith(fault.match)
            if fits and (fault.count is None or fault.hits < fault.count):
                fault.hits += 1
                return fault
        return None

    async def _admin(self, method: str, path: list[str], request: Request) -> Reply:
        """`/_sandbox/...`: for tests and the demo; loopback only."""
        match (method, path):
            case ("POST", ["companies"]):
                return self._register(request.json())
            case ("GET", ["companies", name]):
                return json_reply(200, _facts(self._companies[name]))
            case ("POST", ["webhooks", number, "signing"]):
                return self._sign(int(number), request.json()["secret"])
            case ("GET", ["log"]):
                return json_reply(200, self._log)
            case ("GET", ["deliveries"]):
                return json_reply(200, self.sender.deliveries())
            case ("GET", ["quiet"]):
                return await self._quiet(float(request.query.get("timeout_s", 30)))
            case ("POST", ["faults"]):
                return self._add_fault(request.json())
            case ("DELETE", ["faults"]):
                self._faults.clear()
                return Reply(204)
        return json_reply(404, {"error": "no such admin route"})

    def _register(self, facts: dict[str, Any]) -> Reply:
        company = Company(facts["company"], int(facts["company_id"]), facts["api_token"], facts.get("host", ""))
        self._companies[company.name] = company
        self._by_token[company.api_token] = company
        return json_reply(200, _facts(company))

    def _sign(self, number: int, secret: str) -> Reply:
        for company in self._companies.values():
            if number in company.webhooks:
                company.webhooks[number].signing_secret = secret.encode()
                return Reply(204)
        return json_reply(404, {"error": "no such webhook"})

    def _add_fault(self, facts: dict[str, Any]) -> Reply:
        self._faults.append(
            Fault(
                facts.get("company"),
                facts.get("match", "/"),
                int(facts.get("status", 0)),
                float(facts.get("delay_s", 0)),
                facts.get("count"),
            )
        )
        return Reply(204)

    async def _quiet(self, timeout_s: float) -> Reply:
        """Answers once no delivery is under way."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.sender.quiet(), timeout_s)
        return json_reply(200, {"pending": self.sender.pending})


def _facts(company: Company) -> dict[str, Any]:
    return {
        "company": company.name,
        "company_id": company.company_id,
        "fields": company.definitions,
        "stages": company.stages,
        "pipelines": company.pipelines,
        "tokens_spent": company.tokens_spent,
        "lost": sum(webhook.lost for webhook in company.webhooks.values()),
    }


def _token(request: Request) -> str:
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    return request.headers.get("x-api-token") or (bearer if scheme.lower() == "bearer" else "")


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    import uvloop

    settings = PipedriveStandInSettings()
    app = PipedriveStandIn(settings)
    uvloop.run(serve(app, host=settings.host, port=settings.port, ready_file=settings.ready_file, name="pipedrive"))
