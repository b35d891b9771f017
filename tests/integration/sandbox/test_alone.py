"""A stand-in run by itself, as docs/sandbox.md says."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

MLC = Path(sys.executable).with_name("mlc")


@pytest.mark.parametrize("vendor", ["pipedrive", "netsuite"])
def test_it_says_where_it_listens_and_stops_in_order(vendor: str) -> None:
    with subprocess.Popen([MLC, "sandbox", vendor, "--port", "0"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        facts = json.loads(process.stdout.readline())
        answer = httpx2.get(f"{facts['url']}/_sandbox/nothing")
        process.terminate()

        assert process.wait(10) == 0
    assert facts["name"] == vendor
    assert (answer.status_code, answer.json()) == (404, {"error": "no such admin route"})


@pytest.mark.parametrize("vendor", ["pipedrive", "netsuite"])
def test_a_taken_port_is_named(vendor: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        ended = subprocess.run(
            [MLC, "sandbox", vendor, "--port", str(port)], capture_output=True, text=True, timeout=30, check=False
        )

    assert ended.returncode == 1
    assert (
        ended.stderr.strip() == f"cannot listen on 127.0.0.1:{port}: address already in use; choose another port, or 0"
    )
