"""Requests of the writer to a vendor that is in this process: by way of a transport of httpx2."""

from __future__ import annotations

from collections.abc import Mapping

import httpx2


class OverTransport:
    """In the place of the writer's `Connections`."""

    def __init__(self, transport: httpx2.AsyncBaseTransport) -> None:
        self._transport = transport

    async def request(
        self, method: str, url: str, *, content: bytes | None, headers: Mapping[str, str]
    ) -> httpx2.Response:
        """The answer with its body. Raises httpx2.HTTPError."""
        request = httpx2.Request(method, url, content=content, headers=headers)
        response = await self._transport.handle_async_request(request)
        response.request = request
        await response.aread()
        return response

    async def close(self) -> None:
        """Nothing is open."""
