"""One running writer for all tests that bring an account of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from support.writing import Writing

SHORT = {
    "MLC_BATCH_FROM": "20",
    "MLC_BACKOFF_FIRST_S": "0.1",
    "MLC_BACKOFF_LONGEST_S": "0.5",
    "MLC_HOLD_S": "2",
    "MLC_SUSPEND_S": "1",
    "MLC_SUSPEND_LONGEST_S": "1",
    "MLC_FLOOD_RUN": "6",
    "MLC_SESSION_TIMEOUT_S": "3",
}


@pytest.fixture(scope="session")
def lines() -> list[str]:
    """All that the processes printed so far."""
    return []


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def writing(lines: list[str]) -> AsyncIterator[Writing]:
    async with Writing(environment=SHORT, on_line=lambda _, line: lines.append(line)) as started:
        yield started
