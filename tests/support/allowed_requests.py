"""What we may ask of the vendors: Pipedrive is read, but for webhooks; in NetSuite three record types are written.

Judged by the stand-ins' own logs (`GET /_sandbox/log`), whatever a test has done.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import httpx2

_PIPEDRIVE: Final = re.compile(r"GET /.*|(POST|DELETE) (/api)?/v1/webhooks(/[0-9]+)?|POST /oauth/token")
_REST: Final = "/services/rest"
_NETSUITE: Final = re.compile(
    rf"GET /.*|POST {_REST}/auth/oauth2/v1/token|POST {_REST}/query/v1/suiteql"
    rf"|(POST|PUT|PATCH|DELETE) {_REST}/record/v1/(customer|contact|opportunity)(/[^/]+)?"
)


def pipedrive_strays(log: Iterable[Mapping[str, Any]]) -> list[str]:
    return _strays(log, _PIPEDRIVE)


def netsuite_strays(log: Iterable[Mapping[str, Any]]) -> list[str]:
    return _strays(log, _NETSUITE)


def _strays(log: Iterable[Mapping[str, Any]], allowed: re.Pattern[str]) -> list[str]:
    asked = {f"{line['method']} {line['path'].partition('?')[0]}" for line in log}
    return sorted(one for one in asked if not allowed.fullmatch(one))


async def refuse_strays(urls: Mapping[str, str], *, pipedrive_too: bool = True) -> None:
    """`pipedrive_too`: unless the test itself makes changes there."""
    async with httpx2.AsyncClient() as client:
        if "netsuite" in urls:
            assert netsuite_strays((await client.get(f"{urls['netsuite']}/_sandbox/log")).json()["entries"]) == []
        if "pipedrive" in urls and pipedrive_too:
            assert pipedrive_strays((await client.get(f"{urls['pipedrive']}/_sandbox/log")).json()) == []
