"""The connections of one account, each used by one request at a time.

(A client with one pool of them looks at every idle connection for every request; measured at 15 slots: a quarter of
what a request costs. docs/performance.md.)
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx2


class Connections:
    """As many as requests were ever in flight. The one used last is used next, so what is not needed goes idle."""

    def __init__(self, make: Callable[[], httpx2.AsyncClient]) -> None:
        self._make = make
        self._idle: list[httpx2.AsyncClient] = []
        self._all: list[httpx2.AsyncClient] = []

    async def request(
        self, method: str, url: str, *, content: bytes | None, headers: dict[str, str]
    ) -> httpx2.Response:
        """Raises httpx2.HTTPError."""
        client = self._idle.pop() if self._idle else self._one_more()
        try:
            return await client.request(method, url, content=content, headers=headers)
        finally:
            self._idle.append(client)

    async def close(self) -> None:
        await asyncio.gather(*(client.aclose() for client in self._all))

    def _one_more(self) -> httpx2.AsyncClient:
        client = self._make()
        self._all.append(client)
        return client
