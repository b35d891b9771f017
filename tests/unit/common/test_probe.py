"""The image's health check."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from ml_connector.common.health import HealthServer


@pytest.mark.parametrize(
    ("problem", "said", "code"), [(None, "ok\n", 0), ("not in the group yet", "not in the group yet\n", 1)]
)
async def test_exit_code_and_words_are_those_of_the_service(problem: str | None, said: str, code: int) -> None:
    server = HealthServer("127.0.0.1", 0, live=lambda: None, ready=lambda: problem)
    port = await server.start()
    try:
        done = await asyncio.to_thread(probe, {"MLC_HTTP_PORT": str(port)})
    finally:
        await server.close()

    assert (done.returncode, done.stdout) == (code, said)


def test_nobody_there_is_unhealthy_and_says_where_it_looked() -> None:
    done = probe({"MLC_HTTP_PORT": "1"})

    assert (done.returncode, done.stdout) == (1, "http://127.0.0.1:1/readyz does not answer (ConnectionRefusedError)\n")


def probe(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ml_connector.common.probe"]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=30)
