"""A bare closed loop of httpx2 workers: what the writer is measured against, in a process of its own.

In (stdin): `Task` as JSON. Out (stdout): CPU seconds of the calls. Each worker sends the next request as soon as it
has its answer; nothing else happens: no queue, no attempt, no outcome.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Final

import httpx2
import msgspec
import uvloop

from ml_connector.common.interpreter import prefer_latency

TRACEPARENT: Final = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"  # the writer sends one with each


class Task(msgspec.Struct):
    """`requests`: path and body of each PUT."""

    url: str
    authorization: str
    workers: int
    requests: list[tuple[str, str]]


async def run(task: Task) -> float:
    """CPU seconds of this process for all requests."""
    headers = {
        "content-type": "application/json",
        "x-netsuite-propertynamevalidation": "error",
        "traceparent": TRACEPARENT,
        "authorization": task.authorization,
    }
    waiting = [(f"{task.url}{path}", body.encode()) for path, body in reversed(task.requests)]
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=1000)  # as the writer's
    async with httpx2.AsyncClient(timeout=60, limits=limits, follow_redirects=False) as client:

        async def work() -> None:
            while waiting:
                url, body = waiting.pop()
                answer = await client.request("PUT", url, content=body, headers=headers)
                if answer.status_code >= 300:
                    raise SystemExit(f"{answer.status_code}, the figures would mean nothing: {answer.text[:300]}")

        prefer_latency()
        before_s = time.process_time()
        await asyncio.gather(*(work() for _ in range(task.workers)))
        return time.process_time() - before_s


if __name__ == "__main__":
    print(uvloop.run(run(msgspec.json.decode(sys.stdin.buffer.read(), type=Task))))
