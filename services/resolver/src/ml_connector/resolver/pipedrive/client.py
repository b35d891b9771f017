"""One Pipedrive company over REST v2: objects, field definitions, stages. Only reads.

Stays within the burst window and behind the company's breaker. Everything that another time may go better is
VendorUnavailable (facts/pipedrive.md section 10).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final

import httpx2
from pyrate_limiter import Limiter, Rate

from ml_connector.common.clock import Clock
from ml_connector.common.codec import decode_json
from ml_connector.common.credentials import ApiToken
from ml_connector.common.errors import Malformed, SecretUnreadable, VendorUnavailable
from ml_connector.common.keys import Entity
from ml_connector.resolver.pipedrive.breaker import Breaker

WINDOW_MS: Final = 2_000  # Pipedrive counts in a rolling window of 2 s
PAGE: Final = 500
MAX_PAGES: Final = 50  # of definitions; a cursor that never ends is a fault of theirs


@dataclass(frozen=True, slots=True)
class Read:
    """One object, or None when there is none. `date_ms`: the answer's Date; `took_ms`: of the request."""

    data: dict[str, Any] | None
    date_ms: int
    took_ms: int


class PipedriveClient:
    """Requests of one company. Each raises VendorUnavailable."""

    def __init__(
        self,
        http: httpx2.AsyncClient,
        base_url: str,
        *,
        credential: Callable[[], ApiToken],
        breaker: Breaker,
        burst_requests: int,
        clock: Clock,
    ) -> None:
        self._http = http
        self._base_url = base_url
        self._credential = credential
        self._breaker = breaker
        self._limiter = Limiter(Rate(burst_requests, WINDOW_MS))
        self._clock = clock

    async def read(self, entity: Entity, source_id: str) -> Read:
        """One object by id; also deleted ones, which say so."""
        started_ms = self._clock.now_ms()
        answer = await self._get(f"/api/v2/{entity}s/{source_id}", {})
        took_ms = self._clock.now_ms() - started_ms
        date_ms = _date_ms(answer, default=self._clock.now_ms())
        return Read(None if answer.status_code == 404 else _data(answer), date_ms, took_ms)

    async def definitions(self, entity: Entity) -> list[dict[str, Any]]:
        return await self._pages(f"/api/v2/{entity}Fields")

    async def pipelines(self) -> list[dict[str, Any]]:
        return await self._pages("/api/v2/pipelines")

    async def stages(self) -> list[dict[str, Any]]:
        return await self._pages("/api/v2/stages")

    async def _pages(self, path: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        query: dict[str, str | int] = {"limit": PAGE}
        for _ in range(MAX_PAGES):
            answer = await self._get(path, query)
            body = _body(answer)
            rows += [row for row in body.get("data") or [] if isinstance(row, dict)]
            cursor = (body.get("additional_data") or {}).get("next_cursor")
            if not cursor:
                return rows
            query["cursor"] = str(cursor)
        raise VendorUnavailable("Pipedrive's pages do not end")

    async def _get(self, path: str, query: dict[str, str | int]) -> httpx2.Response:
        if not self._breaker.allows(self._clock.monotonic_s()):
            raise VendorUnavailable("Pipedrive is left alone for a while")
        try:
            await self._limiter.try_acquire_async(self._base_url)
            headers = {"x-api-token": self._credential().token, "accept": "application/json"}
            answer = await self._http.get(f"{self._base_url}{path}", params=query, headers=headers)
        except (httpx2.HTTPError, SecretUnreadable) as error:
            self._breaker.failed(self._clock.monotonic_s())
            raise VendorUnavailable(f"Pipedrive: {type(error).__name__}") from error
        return self._judge(answer)

    def _judge(self, answer: httpx2.Response) -> httpx2.Response:
        """200 and 404 are answers; everything else opens the breaker."""
        if answer.status_code in {200, 404}:
            self._breaker.succeeded()
            return answer
        reset_s = answer.headers.get("x-ratelimit-reset", "")
        after_s = float(reset_s) if answer.status_code == 429 and reset_s.isdigit() else None
        self._breaker.failed(self._clock.monotonic_s(), after_s)
        raise VendorUnavailable(f"Pipedrive answered {answer.status_code}", after_s=after_s)


def _body(answer: httpx2.Response) -> dict[str, Any]:
    try:
        body = decode_json(answer.content)
    except Malformed as error:
        raise VendorUnavailable("Pipedrive's answer is not JSON") from error
    if answer.status_code != 200 or not isinstance(body, dict):
        raise VendorUnavailable(f"Pipedrive answered {answer.status_code} where a page was expected")
    return body


def _data(answer: httpx2.Response) -> dict[str, Any]:
    data = _body(answer).get("data")
    if not isinstance(data, dict):
        raise VendorUnavailable("Pipedrive's answer holds no object")
    return data


def _date_ms(answer: httpx2.Response, *, default: int) -> int:
    try:
        return int(parsedate_to_datetime(answer.headers["date"]).timestamp() * 1000)
    except (KeyError, ValueError, TypeError):
        return default
