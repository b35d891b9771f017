"""Look at an account for a check: one request at a time, each in a slot of the account, on connections of its own.

New connections, so that a name, an address or a certificate that has become wrong shows. What is found decides nothing
for the account, except that NetSuite works or is full. Only reads: no record changes by anything here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

import httpx2
import msgspec

from ml_connector.common.errors import TryLater
from ml_connector.common.keys import RecordType
from ml_connector.netsuite_writer.gate import Admit, Gate
from ml_connector.netsuite_writer.netsuite.client import Http
from ml_connector.netsuite_writer.netsuite.reading import read_answer
from ml_connector.netsuite_writer.netsuite.tokens import TOKEN_PATH
from ml_connector.netsuite_writer.settle import Answer, fault_of

QUERY_PATH: Final = "/services/rest/query/v1/suiteql?limit=1000"
CATALOG_PATH: Final = "/services/rest/record/v1/metadata-catalog/"
DESCRIBE_S: Final = 8.0  # all types take over a minute (facts/netsuite.md section 15), one nobody knows how long
_SCHEMA: Final = {"accept": "application/schema+json"}
_FORM: Final = {"content-type": "application/x-www-form-urlencoded"}
_QUERY: Final = {"content-type": "application/json", "prefer": "transient"}


@dataclass(frozen=True, slots=True)
class Seen:
    """What came back; `error` when nothing did."""

    answer: Answer
    body: bytes = b""
    date: str = ""
    error: Exception | None = None


class Looking:
    """At one account, for one check."""

    def __init__(self, base_url: str, *, http: Http, gate: Gate, admit: Admit) -> None:
        self.base_url = base_url
        self._http = http
        self._gate = gate
        self._admit = admit
        self._authorize: Callable[[str, str], str] | None = None

    async def close(self) -> None:
        await self._http.close()

    def use(self, authorize: Callable[[str, str], str]) -> None:
        """From now on: the header of one request, of its method and URL."""
        self._authorize = authorize

    async def get(self, path: str) -> Seen:
        return await self._ask("GET", path, b"", {})

    async def query(self, suiteql: str) -> Seen:
        return await self._ask("POST", QUERY_PATH, msgspec.json.encode({"q": suiteql}), _QUERY)

    async def describe(self, kind: RecordType) -> Seen:
        """Which fields such records have in this account."""
        try:
            async with asyncio.timeout(DESCRIBE_S):
                return await self._ask("GET", f"{CATALOG_PATH}{kind}", b"", _SCHEMA)
        except TimeoutError as error:
            return Seen(Answer(0), error=error)

    async def ask_for_token(self, form: dict[str, str]) -> Seen:
        return await self._ask("POST", TOKEN_PATH, urlencode(form).encode(), _FORM)

    async def _ask(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Seen:
        slot = await self._gate.look()
        told: Answer | None = None
        try:
            await self._admit()
            seen = await self._once(method, path, body, headers)
            if fault_of(seen.answer) in {None, "overloaded"} and self._authorize is not None:
                told = seen.answer
        except TryLater as error:
            seen = Seen(Answer(0, sent=False), error=error)
        finally:
            self._gate.leave(told, slot)
        return seen

    async def _once(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Seen:
        url = f"{self.base_url}{path}"
        headers = {"user-agent": "ml-connector", **headers}
        if self._authorize is not None:
            headers["authorization"] = self._authorize(method, url)
        try:
            response = await self._http.request(method, url, content=body or None, headers=headers)
        except httpx2.HTTPError as error:
            return Seen(Answer(0), error=error)
        except asyncio.CancelledError:
            self._gate.given_up()
            raise
        return Seen(read_answer(response), response.content, str(response.headers.get("date", "")))
