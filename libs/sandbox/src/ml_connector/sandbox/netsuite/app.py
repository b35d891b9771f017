"""Wire the NetSuite stand-in: log in, take a slot, meet a fault, do it, write it down."""

from __future__ import annotations

import asyncio
from typing import Any

from ml_connector.sandbox.netsuite import rest, suiteql
from ml_connector.sandbox.netsuite.accounts import TOKEN_PATH, Account, Accounts
from ml_connector.sandbox.netsuite.errors import NetsuiteError, malformed, no_such_record, too_many_requests
from ml_connector.sandbox.netsuite.faults import Fault, Faults, error_of
from ml_connector.sandbox.netsuite.journal import Journal, Line
from ml_connector.sandbox.netsuite.settings import NetsuiteStandInSettings
from ml_connector.sandbox.web import (
    Receive,
    Reply,
    Request,
    Scope,
    Send,
    json_reply,
    read_request,
    send_reply,
    serve,
)

GOVERNANCE_PATH = "/services/rest/system/v1/governanceLimits"
ADMIN = "/_sandbox/"


class NetsuiteStandIn:
    """An ASGI application."""

    def __init__(self, *, latency_ms: float = 0) -> None:
        self.latency_ms = latency_ms
        self.accounts = Accounts()
        self.faults = Faults()
        self.journal = Journal()
        self._late: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = await read_request(scope, receive)
        reply = await self.answer(request)
        if reply is not None:
            await send_reply(send, reply)

    async def answer(self, request: Request) -> Reply | None:
        """None: the connection is dropped without an answer."""
        if request.path.startswith(ADMIN):
            return self._admin(request)
        if request.path == TOKEN_PATH:
            return self.accounts.token(request)
        try:
            account = self.accounts.of_request(request)
        except NetsuiteError as error:
            return error.reply()
        return await self._governed(account, request)

    async def _governed(self, account: Account, request: Request) -> Reply | None:
        line = self.journal.begin(request, account=account.name, in_flight=account.in_flight)
        if account.in_flight >= account.concurrency_limit:
            account.refused_for_concurrency += 1
            return self._refused(line, too_many_requests())
        account.in_flight += 1
        account.peak_in_flight = max(account.peak_in_flight, account.in_flight)
        try:
            return await self._do(account, request, line)
        except NetsuiteError as error:
            return self._refused(line, error)
        finally:
            account.in_flight -= 1

    async def _do(self, account: Account, request: Request, line: Line) -> Reply | None:
        if self.latency_ms:
            await asyncio.sleep(self.latency_ms / 1000)
        fault = self.faults.hit(request, account.name)
        if fault is None:
            reply = self._execute(account, request, line)
            self.journal.end(line, status=reply.status)
            return reply
        return await self._fail(fault, account, request, line)

    async def _fail(self, fault: Fault, account: Account, request: Request, line: Line) -> Reply | None:
        error = error_of(fault.kind)
        if error is not None:
            if fault.kind == "token_revoked":
                self.accounts.revoke(account.name)
            raise error
        if fault.kind == "late_commit":
            task = asyncio.create_task(self._commit_late(fault.delay_s, account, request, line))
            self._late.add(task)
            task.add_done_callback(self._late.discard)
        elif fault.kind != "reset":
            self._execute(account, request, line)
        if fault.kind == "timeout_after_commit":
            await asyncio.sleep(fault.delay_s)
        self.journal.end(line, status=0, code=fault.kind)
        if fault.kind == "error_after_commit":
            return NetsuiteError(500, "UNEXPECTED_ERROR", "An unexpected error occurred. Error ID: after").reply()
        return None

    async def _commit_late(self, delay_s: float, account: Account, request: Request, line: Line) -> None:
        await asyncio.sleep(delay_s)
        try:
            self._execute(account, request, line)
        except NetsuiteError as error:
            line.code = f"late: {error.code}"

    def _execute(self, account: Account, request: Request, line: Line) -> Reply:
        if request.path.startswith(rest.PREFIX):
            done = rest.handle(account, request)
            if done.changed is not None:
                account.commits += 1
                self.journal.commit(line, done.changed.id)
            return done.reply
        if request.path == suiteql.PATH:
            return suiteql.handle(account, request)
        if request.path == GOVERNANCE_PATH:
            return json_reply(200, _governance(account))
        raise no_such_record() if request.path.startswith("/services/rest/") else malformed()

    def _refused(self, line: Line, error: NetsuiteError) -> Reply:
        self.journal.end(line, status=error.status, code=error.code)
        return error.reply()

    def _admin(self, request: Request) -> Reply:
        """`/_sandbox/...`: for tests and the demo; asks for no credentials, so it listens on loopback only."""
        try:
            return self._admin_reply(request.method, request.path[len(ADMIN) :], request)
        except (ValueError, KeyError, TypeError) as error:
            return json_reply(400, {"error": str(error)})

    def _admin_reply(self, method: str, path: str, request: Request) -> Reply:
        match (method, path.split("/")):
            case ("POST", ["accounts"]):
                return json_reply(200, {"account": self.accounts.register(request.json()).name})
            case ("GET", ["log"]):
                return json_reply(200, {"entries": self.journal.after(int(request.query.get("after", 0)))})
            case ("GET", ["stats"]):
                return json_reply(200, {name: _stats(account) for name, account in self.accounts.by_name.items()})
            case ("GET", ["records", account, kind]):
                return json_reply(200, _dump(self.accounts.by_name[account], kind))
            case ("POST", ["faults"]):
                return json_reply(200, {"id": self.faults.add(request.json()).id})
            case ("GET", ["faults"]):
                return json_reply(200, self.faults.report())
            case ("DELETE", ["faults"]):
                self.faults.clear()
                return Reply(204)
            case ("POST", ["settings"]):
                self.latency_ms = float(request.json().get("latency_ms", self.latency_ms))
                return Reply(204)
            case ("POST", ["reset"]):
                self.journal.clear()
                self.faults.clear()
                return Reply(204)
        return json_reply(404, {"error": "no such admin route"})


def _governance(account: Account) -> dict[str, Any]:
    return {
        "accountConcurrencyLimit": account.concurrency_limit,
        "accountUnallocatedConcurrencyLimit": account.concurrency_limit,
        "integrationLimitType": "accountLimit",
    }


def _stats(account: Account) -> dict[str, int]:
    return {
        "commits": account.commits,
        "creates": account.creates,
        "updates": account.updates,
        "in_flight": account.in_flight,
        "peak_in_flight": account.peak_in_flight,
        "refused_for_concurrency": account.refused_for_concurrency,
        **{kind: len(account.records.all(kind)) for kind in ("customer", "contact", "opportunity")},
    }


def _dump(account: Account, kind: str) -> list[dict[str, Any]]:
    return [
        {
            "id": record.id,
            "externalId": record.external_id,
            **{name: getattr(value, "id", value) for name, value in record.fields.items()},
        }
        for record in account.records.all(kind)
    ]


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    import uvloop

    settings = NetsuiteStandInSettings()
    app = NetsuiteStandIn(latency_ms=settings.latency_ms)
    uvloop.run(serve(app, host=settings.host, port=settings.port, ready_file=settings.ready_file, name="netsuite"))
