"""One NetSuite account over HTTP: write a record, find one, ask a question in SuiteQL.

Only customer, contact and opportunity can be written, and only by external id: NetSuite's own ids mean something else
after a sandbox refresh. Never: retries, limits, decisions; those are `settle.py` and `govern.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import httpx2
import msgspec

from ml_connector.common.headers import TRACEPARENT
from ml_connector.netsuite_writer.netsuite.tokens import Tokens
from ml_connector.netsuite_writer.settle import Answer
from ml_connector.netsuite_writer.write import Request

WRITABLE: Final = frozenset({"customer", "contact", "opportunity"})
MAX_KEPT_BYTES: Final = 64 * 1024  # of an answer, for the audit and dead letters
MAX_DETAIL_CHARS: Final = 300

_NOT_SENT: Final = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)


@dataclass(frozen=True, slots=True)
class Response:
    """An answer, and the bytes that it came from."""

    answer: Answer
    body: bytes = b""


class NetsuiteClient:
    """Requests of one account. Raises what `Tokens.get` raises; every other failure is an `Answer`."""

    def __init__(self, http: httpx2.AsyncClient, base_url: str, tokens: Tokens) -> None:
        self._http = http
        self._base_url = base_url
        self._tokens = tokens

    async def write(self, request: Request, *, traceparent: str) -> Response:
        """PUT or PATCH by external id; a misspelt field is an error, not dropped (facts/netsuite.md section 5)."""
        if request.record_type not in WRITABLE:
            raise ValueError(f"{request.record_type} is not a record type that ml-connector may write")
        headers = {"content-type": "application/json", "x-netsuite-propertynamevalidation": "error"}
        return await self._send(request.method, request.path, request.body, {**headers, TRACEPARENT: traceparent})

    async def find(self, request: Request, *, traceparent: str) -> Response:
        """The record under the request's external id; its internal id, or status 404."""
        return await self._send("GET", request.path, b"", {TRACEPARENT: traceparent})

    async def query(self, suiteql: str) -> tuple[Answer, list[dict[str, Any]]]:
        """The first 1000 rows."""
        body = msgspec.json.encode({"q": suiteql})
        headers = {"content-type": "application/json", "prefer": "transient"}
        response = await self._send("POST", "/services/rest/query/v1/suiteql?limit=1000", body, headers)
        if response.answer.status != 200:
            return response.answer, []
        try:
            rows: list[dict[str, Any]] = msgspec.json.decode(response.body)["items"]
        except (msgspec.DecodeError, KeyError, TypeError):
            return Answer(502, detail="the answer is not a SuiteQL page"), []
        return response.answer, rows

    async def _send(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Response:
        """One request; a refused token is renewed once: tokens can be revoked before they end."""
        response = Response(Answer(0, sent=False))
        for _ in range(2):
            token = await self._tokens.get()
            response = await self._once(method, path, body, {**headers, "authorization": f"Bearer {token}"})
            if response.answer.status != 401:
                break
            self._tokens.drop(token)
        return response

    async def _once(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Response:
        try:
            answer = await self._http.request(method, f"{self._base_url}{path}", content=body or None, headers=headers)
        except _NOT_SENT as error:
            return Response(Answer(0, detail=type(error).__name__, sent=False))
        except httpx2.HTTPError as error:
            return Response(Answer(0, detail=type(error).__name__))
        return Response(read_answer(answer), answer.content)


def read_answer(response: httpx2.Response) -> Answer:
    if response.status_code < 300:
        return Answer(response.status_code, internal_id=_internal_id(response))
    code, detail = _error(response.content)
    return Answer(response.status_code, code, detail[:MAX_DETAIL_CHARS])


def _internal_id(response: httpx2.Response) -> str | None:
    """After a write the last segment of `Location`; after a read the member `id`."""
    location = response.headers.get("location")
    if location:
        return str(location).rstrip("/").rpartition("/")[2] or None
    try:
        found = msgspec.json.decode(response.content)
    except msgspec.DecodeError:
        return None
    return str(found["id"]) if isinstance(found, dict) and "id" in found else None


def _error(body: bytes) -> tuple[str, str]:
    """The code and text of the first detail; the printed 429 has a misleading code at top level."""
    try:
        found = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return "", "the answer is not JSON"
    if not isinstance(found, dict):
        return "", "the answer is not an error body"
    details = found.get("o:errorDetails")
    first = details[0] if isinstance(details, list) and details and isinstance(details[0], dict) else found
    return str(first.get("o:errorCode", "")), str(first.get("detail") or found.get("title") or "")
