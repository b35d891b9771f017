"""Wire the NetSuite stand-in: log in, take a slot, wait, meet a fault, do it, write it down."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Final

from ml_connector.sandbox.clock import Clock
from ml_connector.sandbox.netsuite import admin, catalog, faults, suiteql
from ml_connector.sandbox.netsuite.accounts import Account, Accounts
from ml_connector.sandbox.netsuite.errors import (
    NetsuiteError,
    invalid_login,
    malformed,
    no_such_record,
    not_allowed,
    too_many_requests,
)
from ml_connector.sandbox.netsuite.jobs import JOB_PATH, Jobs
from ml_connector.sandbox.netsuite.journal import Journal, Line
from ml_connector.sandbox.netsuite.latency import Latency, kind_of
from ml_connector.sandbox.netsuite.login import TOKEN_PATH, Login
from ml_connector.sandbox.netsuite.push import Push
from ml_connector.sandbox.netsuite.rest import RecordService
from ml_connector.sandbox.netsuite.settings import NetsuiteStandInSettings
from ml_connector.sandbox.netsuite.shown import RECORD_PATH
from ml_connector.sandbox.server import Broken, serve
from ml_connector.sandbox.web import Reply, Request, json_reply

GOVERNANCE_PATH: Final = "/services/rest/system/v1/governanceLimits"


class NetsuiteStandIn:
    """All accounts of one process."""

    def __init__(self, *, latency_ms: float = 0.0, wall_s: Callable[[], float] = time.time) -> None:
        self.clock = Clock(wall_s=wall_s)
        self.accounts = Accounts()
        self.login = Login(self.accounts, self.clock)
        self.service = RecordService(self.clock)
        self.latency = Latency(latency_ms)
        self.faults = faults.Faults()
        self.journal = Journal(wall_s)
        self.push = Push()
        self.jobs = Jobs(self.clock, self._execute_in_job)
        self._late: set[asyncio.Task[None]] = set()

    def reset(self, *, records: bool) -> None:
        """Forget requests and faults; with `records` the accounts and all that they hold."""
        self.journal.clear()
        self.faults.clear()
        if records:
            self.accounts.by_name.clear()

    async def answer(self, request: Request) -> Reply | Broken:
        """One HTTP request. `Date` tells the time of the stand-in, which may be another than the machine's."""
        found = await self._answered(request)
        if isinstance(found, Broken):
            return found
        return Reply(found.status, found.body, {"date": formatdate(self.clock.now_s(), usegmt=True), **found.headers})

    async def _answered(self, request: Request) -> Reply | Broken:
        if request.path.startswith(admin.PREFIX):
            return admin.answer(self, request)
        if request.path == TOKEN_PATH:
            line = self.journal.begin(request, account="", in_flight=0)
            return await self._do(None, request, line)
        try:
            account = self.login.account_of(request)
        except NetsuiteError as error:
            return error.reply()
        return await self._governed(account, request)

    async def _governed(self, account: Account, request: Request) -> Reply | Broken:
        line = self.journal.begin(request, account=account.name, in_flight=account.in_flight)
        if account.full:
            account.refused_for_concurrency += 1
            return await self._overloaded(account, line)
        account.in_flight += 1
        account.peak_in_flight = max(account.peak_in_flight, account.in_flight)
        try:
            return await self._do(account, request, line)
        finally:
            account.in_flight -= 1

    async def _overloaded(self, account: Account, line: Line) -> Reply:
        """One request too many: mostly 429, at times disguised as a failed login (facts/netsuite.md section 9)."""
        switches = account.switches
        if switches.overload_answer == "masked_login":
            await asyncio.sleep(switches.masked_login_after_s)
            return self._refused(line, invalid_login())
        status = int(switches.overload_answer)
        return self._refused(line, too_many_requests(status=status, retry_after_s=switches.retry_after_s))

    async def _do(self, account: Account | None, request: Request, line: Line) -> Reply | Broken:
        name = account.name if account is not None else self.login.claimed(request)
        await self.latency.wait(kind_of(request.method, request.path), name)
        fault = self.faults.hit(request, name, in_job=bool(line.job))
        if fault is not None:
            return await self._fail(fault, account, request, line)
        return self._execute(account, request, line)

    def _execute(self, account: Account | None, request: Request, line: Line) -> Reply:
        try:
            reply = self._executed(account, request, line)
        except NetsuiteError as error:
            return self._refused(line, error)
        self.journal.end(line, status=reply.status)
        return reply

    def _executed(self, account: Account | None, request: Request, line: Line) -> Reply:
        """Raises NetsuiteError."""
        if account is None:
            return self.login.token(request)
        if request.path.startswith(catalog.CATALOG_PATH):
            return catalog.handle(account, request)
        if request.path.startswith(RECORD_PATH):
            return self._record(account, request, line)
        if request.path.startswith(JOB_PATH):
            return self.jobs.answer(account, request)
        if request.path == suiteql.PATH:
            return suiteql.handle(account, request)
        if request.path == GOVERNANCE_PATH and request.method == "GET":
            return _governance(account)
        raise no_such_record() if request.path.startswith("/services/rest/") else malformed()

    def _record(self, account: Account, request: Request, line: Line) -> Reply:
        if "respond-async" in request.headers.get("prefer", ""):
            accepted = self.jobs.submit(account, request)
            line.submitted = accepted.headers["location"].rpartition("/")[2]
            return accepted
        if "type=collection" in request.headers.get("content-type", "").replace(" ", ""):
            raise not_allowed("Batches are always asynchronous: Prefer: respond-async.")
        done = self.service.handle(account, request)
        if done.changed is not None:
            account.commits += 1
            self.journal.commit(line, done.changed.id, done.changed.external_id)
            self.push.tell(account, done.changed, done.what)
        return done.reply

    async def _execute_in_job(self, account: Account, request: Request, job: str) -> Reply:
        """One record of a job: takes no slot, but the time of a request."""
        line = self.journal.begin(request, account=account.name, in_flight=account.in_flight, job=job)
        found = await self._do(account, request, line)
        return found.reply if isinstance(found, Broken) else found

    # -- faults ------------------------------------------------------------------------------------------------------

    async def _fail(self, fault: faults.Fault, account: Account | None, request: Request, line: Line) -> Reply | Broken:
        error = faults.error_of(fault.kind)
        if error is not None:
            if fault.kind == "token_revoked" and account is not None:
                self.login.revoke(account.name)
            return self._refused(line, error)
        if fault.kind == "reset":
            return self._lost(fault, line)
        if fault.kind == "late_commit":
            self._commit_late(fault.delay_s, account, request, line)
            return self._lost(fault, line)
        return await self._fail_after(fault, self._execute(account, request, line), line)

    async def _fail_after(self, fault: faults.Fault, reply: Reply, line: Line) -> Reply | Broken:
        match fault.kind:
            case "error_after_commit":
                return self._refused(line, NetsuiteError(500, "UNEXPECTED_ERROR", "An unexpected error occurred."))
            case "timeout_after_commit":
                await asyncio.sleep(fault.delay_s)
                return self._lost(fault, line)
            case "slow_body":
                return Broken("slow", reply, fault.delay_s)
            case "truncated_body":
                return Broken("truncated", reply)
            case "wrong_content_type":
                return Reply(reply.status, b"<html><body>NetSuite</body></html>", {"content-type": "text/html"})
        return self._lost(fault, line)

    def _commit_late(self, delay_s: float, account: Account | None, request: Request, line: Line) -> None:
        async def commit() -> None:
            await asyncio.sleep(delay_s)
            ended_ms = line.end_ms
            self._execute(account, request, line)
            line.end_ms, line.status, line.code = ended_ms, 0, "late_commit"  # what the client saw

        task = asyncio.create_task(commit())
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    def _lost(self, fault: faults.Fault, line: Line) -> Broken:
        self.journal.end(line, status=0, code=fault.kind)
        return Broken("reset", NetsuiteError(500, "UNEXPECTED_ERROR", "An unexpected error occurred.").reply())

    def _refused(self, line: Line, error: NetsuiteError) -> Reply:
        self.journal.end(line, status=error.status, code=error.code)
        return error.reply()


def _governance(account: Account) -> Reply:
    """Three shapes, told apart by `integrationLimitType` (Oracle article_0625010817)."""
    slots, own = account.switches.slots, account.switches.integration_limit
    limits: dict[str, int | str] = {
        "accountConcurrencyLimit": slots,
        "accountUnallocatedConcurrencyLimit": slots - (own or 0),
        "integrationLimitType": "accountLimit" if own is None else "integrationSpecific",
    }
    if own is not None:
        limits["integrationConcurrencyLimit"] = own
    return json_reply(200, limits)


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    import uvloop

    settings = NetsuiteStandInSettings()
    standin = NetsuiteStandIn(latency_ms=settings.latency_ms)
    tls = None
    if settings.tls_certificate is not None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(settings.tls_certificate, settings.tls_key)
    uvloop.run(
        serve(
            standin.answer, host=settings.host, port=settings.port, ready_file=settings.ready_file, name="netsuite",
            tls=tls,
        )
    )  # fmt: skip
