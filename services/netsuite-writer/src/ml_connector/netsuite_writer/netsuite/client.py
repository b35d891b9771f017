"""One NetSuite account over HTTP: write a record, find one, run a batch, ask a question in SuiteQL.

Only customer, contact and opportunity can be written, and only by external id: NetSuite's own ids mean something else
after a sandbox refresh. (One exception: adopting a record that the match query has just found.)
Every request passes the account's gate. Never: retries, limits, decisions; those are `settle.py` and `gate.py`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Protocol

import httpx2
import msgspec

from ml_connector.common import measuring, spans
from ml_connector.common.errors import ConnectorError, SecretUnreadable, TryLater
from ml_connector.common.headers import TRACEPARENT
from ml_connector.common.keys import RecordType
from ml_connector.common.logs import get_logger
from ml_connector.netsuite_writer.gate import Gate, Slot
from ml_connector.netsuite_writer.netsuite.reading import UNREADABLE, Reply, looked_up, read_answer, read_rows
from ml_connector.netsuite_writer.netsuite.tokens import TokenRefused
from ml_connector.netsuite_writer.settle import Answer
from ml_connector.netsuite_writer.write import RECORD_PATH, Request

log = get_logger()

WRITABLE: Final = frozenset({"customer", "contact", "opportunity"})
JOB_PATH: Final = "/services/rest/async/v1/job"
SUITEQL_PATH: Final = "/services/rest/query/v1/suiteql?limit=1000"
LIMITS_PATH: Final = "/services/rest/system/v1/governanceLimits"

_NOT_SENT: Final = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
# A misspelt field is an error, not dropped (facts/netsuite.md section 5).
_STRICT: Final = {"x-netsuite-propertynamevalidation": "error"}
_AGENT: Final = {"user-agent": "ml-connector"}
_JSON: Final = {"content-type": "application/json"}
_COLLECTION: Final = {"content-type": "application/vnd.oracle.resource+json; type=collection"}


@dataclass(frozen=True, slots=True)
class Response:
    """An answer, and the bytes that it came from."""

    answer: Answer
    body: bytes = b""


class Http(Protocol):
    """How requests travel."""

    async def request(self, method: str, url: str, *, content: bytes | None, headers: Mapping[str, str]) -> Reply:
        """The answer with its body. Raises httpx2.HTTPError."""
        ...

    async def close(self) -> None: ...


class _Asked(NamedTuple):
    """A request without its credentials."""

    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = MappingProxyType({})
    attempt: int = 1


class Login(Protocol):
    """Who is asking, as a header."""

    async def authorization(self, method: str, url: str) -> str:
        """Of one request. Raises TokenRefused, VendorUnavailable, SecretUnreadable."""
        ...

    def refused(self, authorization: str) -> None:
        """NetSuite did not take it."""
        ...


class NetsuiteClient:
    """Requests of one account. Every failure is an `Answer`; only of those that change something comes through what the
    gate's `admit` raises."""

    def __init__(self, http: Http, base_url: str, login: Login, gate: Gate) -> None:
        self._http = http
        self._base_url = base_url
        self._host = httpx2.URL(base_url).host
        self._login = login
        self._gate = gate

    async def write(self, request: Request, *, traceparent: str, attempt: int = 1) -> Response:
        """One record. `attempt`: how often it was asked for, with this one."""
        _refuse_others(request.record_type)
        headers = {**_JSON, **_STRICT, TRACEPARENT: traceparent}
        asked = _Asked(request.method, request.path, request.payload, headers, attempt)
        return await self._send(asked, changes=True, urgent=False)

    async def find(self, request: Request, *, traceparent: str, spare: bool = False) -> Response:
        """The record under the request's external id; its internal id, or status 404. `spare`: as of a query."""
        path = request.as_("upsert").path
        found = await self._send(_Asked("GET", path, headers={TRACEPARENT: traceparent}), urgent=False, spare=spare)
        return replace(found, answer=looked_up(found.answer))

    async def submit(
        self, record_type: RecordType, items: list[bytes], *, idempotency_key: str, parallel: bool
    ) -> Response:
        """Upsert up to 100 records of one type asynchronously (Oracle article_0127092747).

        The answer's `location` names the job: after status 202, or 400 IDEMPOTENCY_ERROR when an earlier try arrived.
        """
        _refuse_others(record_type)
        prefer = 'respond-async, batch-processing="parallel"' if parallel else "respond-async"
        headers = {**_COLLECTION, **_STRICT, "prefer": prefer, "x-netsuite-idempotency-key": idempotency_key}
        body = b'{"items":[' + b",".join(items) + b"]}"
        return await self._send(_Asked("PUT", RECORD_PATH + record_type, body, headers), changes=True)

    async def job(self, path: str) -> Response:
        """`<job id>` or `<job id>/task/`."""
        return await self._send(_Asked("GET", f"{JOB_PATH}/{path}"))

    async def result(self, path: str) -> Response:
        """`<job id>/task/<n>/result`: what NetSuite answered to one record then; of the account it says nothing now."""
        return await self._send(_Asked("GET", f"{JOB_PATH}/{path}"), says_now=False)

    async def governance_limits(self) -> Response:
        """What the account grants; administrators only (Oracle article_0625010817)."""
        return await self._send(_Asked("GET", LIMITS_PATH))

    async def query(self, suiteql: str, *, spare: bool = False) -> tuple[Answer, list[dict[str, Any]]]:
        """The first 1000 rows. `spare`: it can wait for all others."""
        body = msgspec.json.encode({"q": suiteql})
        headers = {**_JSON, "prefer": "transient"}
        response = await self._send(_Asked("POST", SUITEQL_PATH, body, headers), spare=spare)
        if response.answer.status != 200:
            return looked_up(response.answer), []
        rows = read_rows(response.body)
        if rows is None:
            return Answer(UNREADABLE, detail="the answer is not a SuiteQL page"), []
        return response.answer, rows

    async def _send(
        self,
        asked: _Asked,
        *,
        changes: bool = False,
        urgent: bool = True,
        spare: bool = False,
        says_now: bool = True,
    ) -> Response:
        """One request in a slot. A refused token is renewed once, in the same slot: tokens can be revoked before they
        end, so a first 401 says nothing yet."""
        slot = await self._gate.enter(urgent=urgent, spare=spare)
        told: Answer | None = None
        try:
            response = await self._authorized(asked, slot)
            if response.answer.status == 401 and response.answer.sent and not response.answer.under_load:
                response = await self._authorized(asked, slot)
            told = response.answer if says_now or response.answer.status == 0 else None
        except TryLater as error:
            if changes:
                raise
            response = Response(Answer(0, detail=str(error), sent=False))
        finally:
            self._gate.leave(told, slot)
        return response

    async def _authorized(self, asked: _Asked, slot: Slot) -> Response:
        try:
            authorization = await self._login.authorization(asked.method, f"{self._base_url}{asked.path}")
        except (TokenRefused, SecretUnreadable) as error:
            log.warning("credentials_refused", problem=str(error))
            return Response(Answer(401, sent=False))
        except ConnectorError as error:
            return Response(Answer(0, detail=str(error), sent=False))
        await self._gate.admit()
        response = await self._once(asked, {**asked.headers, "authorization": authorization, **_AGENT})
        if response.answer.status == 401:
            if self._gate.disguises_overload(slot):
                return Response(replace(response.answer, under_load=True), response.body)
            self._login.refused(authorization)
        return response

    async def _once(self, asked: _Asked, headers: dict[str, str]) -> Response:
        began_s = time.perf_counter()
        status = "none"
        parent = headers.get(TRACEPARENT, "")
        with spans.request(asked.method, self._host, asked.path, parent=parent, attempt=asked.attempt) as span:
            if parent:
                headers[TRACEPARENT] = span.traceparent
            try:
                url = f"{self._base_url}{asked.path}"
                answer = await self._http.request(asked.method, url, content=asked.body or None, headers=headers)
                status = str(answer.status_code)
                spans.answered(span, answer.status_code)
            except _NOT_SENT as error:
                span.fail(type(error).__name__)
                return Response(Answer(0, detail=type(error).__name__, sent=False))
            except httpx2.HTTPError as error:
                span.fail(type(error).__name__)
                return Response(Answer(0, detail=type(error).__name__))
            except asyncio.CancelledError:
                self._gate.given_up()
                raise
            finally:
                measuring.took("netsuite", asked.method, status, time.perf_counter() - began_s)
        return Response(read_answer(answer), answer.content)


def _refuse_others(record_type: str) -> None:
    if record_type not in WRITABLE:
        raise ValueError(f"{record_type} is not a record type that ml-connector may write")
