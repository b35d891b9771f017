"""HTTP by hand: what no client library would send."""

from __future__ import annotations

import asyncio
import re
from urllib.parse import urlsplit


async def talk(url: str, *parts: bytes, within_s: float = 15.0, end: bool = False) -> bytes:
    """Send the parts one by one, with `end` close our side, and read until the server closes or time is over."""
    host, port = place_of(url)
    reader, writer = await asyncio.open_connection(host, port)
    found = bytearray()
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
        if end:
            writer.write_eof()
        async with asyncio.timeout(within_s):
            while chunk := await reader.read(65536):
                found += chunk
    except (OSError, TimeoutError):
        pass  # what was heard until then is the answer
    finally:
        writer.close()
    return bytes(found)


def place_of(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    assert parts.hostname is not None and parts.port is not None
    return parts.hostname, parts.port


def statuses(heard: bytes) -> list[int]:
    """Of every answer in what was heard."""
    return [int(code) for code in re.findall(rb"HTTP/1\.[01] (\d{3}) ", heard)]
