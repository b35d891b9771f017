"""One Pipedrive company over REST v2: objects, field definitions, stages. Reads; only webhooks are ever changed.

Stays within the burst window and the token budget, and behind the company's breaker. Everything that another time may
go better is VendorUnavailable, which says when (facts/pipedrive.md section 10).
"""

from __future__ import annotations

import asyncio
import time
from email.utils import parsedate_to_datetime
from typing import Any, Final, Literal

import httpx2
import msgspec

from ml_connector.common import measuring, spans
from ml_connector.common.clock import Clock
from ml_connector.common.codec import decode_json
from ml_connector.common.errors import BadInput, Malformed, SecretUnreadable, VendorUnavailable
from ml_connector.common.flows import PipedriveLimits
from ml_connector.common.keys import Entity
from ml_connector.common.syncing import OBJECT_TOKENS
from ml_connector.resolver.message import Page, Read
from ml_connector.resolver.pipedrive.breaker import Breaker
from ml_connector.resolver.pipedrive.budget import Budget
from ml_connector.resolver.pipedrive.grant import ClientRefused, GrantRevoked
from ml_connector.resolver.pipedrive.login import Login, Signed
from ml_connector.resolver.pipedrive.trouble import REFUSED_PAUSE_S, Trouble, trouble
from ml_connector.resolver.pipedrive.window import burst_window
from ml_connector.resolver.standings import CompanyStanding

PAGE: Final = 500
MAX_PAGES: Final = 50  # of definitions; a cursor that never ends is a fault of theirs

# API tokens of one request (facts/pipedrive.md section 8).
FIELDS_TOKENS: Final = 10
STAGES_TOKENS: Final = 5


# Answers to a list that say something of the list, and nothing of the company.
LIST_REFUSED: Final = frozenset({400, 403, 404, 422})
NOT_FOUND: Final = frozenset({404})


class ListRefused(BadInput):
    """Pipedrive does not give this page, however often it is asked."""

    def __init__(self, status: int, path: str) -> None:
        super().__init__(f"Pipedrive does not give the list {path} (HTTP {status})")
        self.status = status


class _List(msgspec.Struct):
    data: list[msgspec.Raw] | None
    additional_data: dict[str, Any] | None = None


_LIST: Final = msgspec.json.Decoder(_List)


class PipedriveClient:
    """Requests of one company. Each raises VendorUnavailable."""

    def __init__(
        self,
        http: httpx2.AsyncClient,
        login: Login,
        *,
        breaker: Breaker,
        budget: Budget,
        limits: PipedriveLimits,
        standing: CompanyStanding,
        clock: Clock,
    ) -> None:
        self._http = http
        self._login = login
        self._breaker = breaker
        self._clock = clock
        self.budget = budget
        self.limits = limits
        self._standing = standing
        self._limiter = burst_window(limits.burst)

    def obey(self, limits: PipedriveLimits) -> None:
        """From now on these."""
        if limits != self.limits:
            self.limits = limits
            self._limiter = burst_window(limits.burst)

    async def read(self, entity: Entity, source_id: str) -> Read:
        """One object by id; also deleted ones, which say so."""
        started_ms = self._clock.now_ms()
        answer = await self._get(f"/api/v2/{entity}s/{source_id}", {}, tokens=OBJECT_TOKENS, also=NOT_FOUND)
        took_ms = self._clock.now_ms() - started_ms
        date_ms = _date_ms(answer, default=self._clock.now_ms())
        if answer.status_code == 404:
            return Read(None, date_ms, took_ms)
        data = self._body(answer).get("data")
        if not isinstance(data, dict):
            raise self._left_alone(Trouble("Pipedrive's answer holds no object"))
        return Read(data, date_ms, took_ms)

    async def page(self, path: str, query: dict[str, str | int], *, tokens: int) -> Page:
        """One page of a list of objects. Also raises ListRefused."""
        started_ms = self._clock.now_ms()
        answer = await self._get(path, query, tokens=tokens, also=LIST_REFUSED)
        took_ms = self._clock.now_ms() - started_ms
        if answer.status_code != 200:
            raise ListRefused(answer.status_code, path)
        try:
            found = _LIST.decode(answer.content)
        except (msgspec.DecodeError, RecursionError) as error:
            raise self._left_alone(Trouble("Pipedrive's answer holds no list")) from error
        cursor = (found.additional_data or {}).get("next_cursor")
        return Page(found.data or [], str(cursor or ""), _date_ms(answer, default=self._clock.now_ms()), took_ms)

    async def definitions(self, entity: Entity) -> list[dict[str, Any]]:
        return await self._pages(f"/api/v2/{entity}Fields", tokens=FIELDS_TOKENS)

    async def pipelines(self) -> list[dict[str, Any]]:
        return await self._pages("/api/v2/pipelines", tokens=STAGES_TOKENS)

    async def stages(self) -> list[dict[str, Any]]:
        return await self._pages("/api/v2/stages", tokens=STAGES_TOKENS)

    async def log_in(self) -> None:
        """Raises SecretUnreadable when there is no credential that fits, GrantRevoked, VendorUnavailable."""
        await self._signed()

    async def look(self, path: str, *, tokens: int, signed: bool = True) -> httpx2.Response:
        """Whatever is answered, also while the company is left alone: a person asks, who may just have mended it. A
        failure holds nobody up; 200 ends the pause. Raises httpx2.HTTPError, SecretUnreadable and GrantRevoked, too."""
        if tokens:
            self._refuse_beyond_budget(tokens)
        await self._limiter.try_acquire_async(self._login.base_url)
        answer = await (
            self._send(path, {}, tokens) if signed else self._ask(path, {}, Signed(self._login.base_url, {}))
        )
        if answer.status_code == 200:
            self._breaker.succeeded()
        return answer

    async def change(
        self, method: Literal["POST", "DELETE"], path: str, *, tokens: int, body: dict[str, str] | None = None
    ) -> httpx2.Response:
        """As `look`: because a person asks."""
        self._refuse_beyond_budget(tokens)
        await self._limiter.try_acquire_async(self._login.base_url)
        signed = await self._signed()
        self.budget.spend(tokens, self._clock.now_ms())
        headers = {"accept": "application/json", **signed.headers}
        return await self._request(method, f"{signed.base_url}{path}", json=body, headers=headers)

    async def _pages(self, path: str, *, tokens: int) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        query: dict[str, str | int] = {"limit": PAGE}
        for _ in range(MAX_PAGES):
            body = self._body(await self._get(path, query, tokens=tokens))
            rows += [row for row in body.get("data") or [] if isinstance(row, dict)]
            cursor = (body.get("additional_data") or {}).get("next_cursor")
            if not cursor:
                return rows
            query["cursor"] = str(cursor)
        raise self._left_alone(Trouble("Pipedrive's pages do not end"))

    async def _get(
        self, path: str, query: dict[str, str | int], *, tokens: int, also: frozenset[int] = frozenset()
    ) -> httpx2.Response:
        """200, or one of `also` if it is the API that says so, and not the edge before it."""
        self._refuse_while_closed(tokens)
        await self._limiter.try_acquire_async(self._login.base_url)
        self._refuse_while_closed(tokens)  # others may have failed while this one waited for the window
        self._breaker.begin()
        try:
            answer = await self._send(path, query, tokens)
        except GrantRevoked as error:
            raise self._left_alone(Trouble(str(error), REFUSED_PAUSE_S, outage=False)) from error
        except VendorUnavailable as error:
            raise self._left_alone(Trouble(str(error))) from error
        except (httpx2.HTTPError, SecretUnreadable) as error:
            raise self._left_alone(Trouble(f"Pipedrive: {type(error).__name__}")) from error
        except asyncio.CancelledError:
            self._left_alone(Trouble("Pipedrive is too slow"))
            raise
        from_api = answer.status_code != 403 or "json" in answer.headers.get("content-type", "")
        if answer.status_code != 200 and not (answer.status_code in also and from_api):
            raise self._left_alone(trouble(answer.status_code, answer.headers))
        self._breaker.succeeded()
        return answer

    async def _signed(self) -> Signed:
        """What only a person can mend is told."""
        try:
            return await self._login.signed()
        except (GrantRevoked, ClientRefused, SecretUnreadable) as error:
            await self._standing.stopped(str(error))
            raise

    async def _send(self, path: str, query: dict[str, str | int], tokens: int) -> httpx2.Response:
        """As `_signed`."""
        answer = await self._twice(path, query, tokens)
        if answer.status_code == 401:
            await self._standing.stopped(trouble(401, answer.headers).reason)
        elif answer.status_code in {200, 404}:
            await self._standing.works()
        return answer

    async def _twice(self, path: str, query: dict[str, str | int], tokens: int) -> httpx2.Response:
        """Once more when the credential has a successor."""
        signed = await self._signed()
        self.budget.spend(tokens, self._clock.now_ms())
        answer = await self._ask(path, query, signed)
        if answer.status_code != 401 or not self._login.refused(signed):
            return answer
        signed = await self._signed()
        await self._limiter.try_acquire_async(self._login.base_url)
        self.budget.spend(tokens, self._clock.now_ms())
        return await self._ask(path, query, signed)

    async def _ask(self, path: str, query: dict[str, str | int], signed: Signed) -> httpx2.Response:
        headers = {"accept": "application/json", **signed.headers}
        return await self._request("GET", f"{signed.base_url}{path}", headers=headers, params=query)

    async def _request(self, method: str, url: str, **more: Any) -> httpx2.Response:
        began_s = time.perf_counter()
        status = "none"
        where = httpx2.URL(url)
        with spans.request(method, where.host, where.path) as span:
            try:
                answer = await self._http.request(method, where, **more)
                status = str(answer.status_code)
                spans.answered(span, answer.status_code)
            finally:
                measuring.took("pipedrive", method, status, time.perf_counter() - began_s)
        return answer

    def _refuse_while_closed(self, tokens: int) -> None:
        """No call while the breaker is open or the budget is spent."""
        wait_s = self._breaker.wait_s(self._clock.monotonic_s())
        if wait_s > 0:
            raise VendorUnavailable(f"left alone for a while: {self._breaker.reason}", after_s=wait_s)
        self._refuse_beyond_budget(tokens)

    def _refuse_beyond_budget(self, tokens: int) -> None:
        wait_s = self.budget.wait_s(tokens, self.limits.daily_spendable, self._clock.now_ms())
        if wait_s > 0:
            raise VendorUnavailable("the flow's share of Pipedrive's daily tokens is spent", after_s=wait_s)

    def _left_alone(self, found: Trouble) -> VendorUnavailable:
        after_s = self._breaker.failed(
            self._clock.monotonic_s(), found.reason, pause_s=found.pause_s, outage=found.outage
        )
        return VendorUnavailable(found.reason, after_s=after_s)

    def _body(self, answer: httpx2.Response) -> dict[str, Any]:
        try:
            body = decode_json(answer.content)
        except Malformed as error:
            raise self._left_alone(Trouble("Pipedrive's answer is not JSON")) from error
        if not isinstance(body, dict):
            raise self._left_alone(Trouble("Pipedrive's answer is not an object"))
        return body


def _date_ms(answer: httpx2.Response, *, default: int) -> int:
    try:
        return int(parsedate_to_datetime(answer.headers["date"]).timestamp() * 1000)
    except (KeyError, ValueError, TypeError):
        return default
