"""`mlc` as a person meets it: starts, stops, complains."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from support.writing import until

MLC = str(Path(sys.executable).parent / "mlc")


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def started(tmp_path: Path, *arguments: str) -> tuple[asyncio.subprocess.Process, dict[str, int]]:
    ready = tmp_path / "ready.json"
    process = await asyncio.create_subprocess_exec(
        MLC,
        "up",
        "--ready-file",
        str(ready),
        *arguments,
        env={**os.environ, "MLC_UP_FILE": str(tmp_path / "up.json")},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )

    async def is_ready() -> bool:
        return ready.exists()

    await until(is_ready, within_s=90)
    return process, json.loads(ready.read_text())["pids"]


async def test_ctrl_c_stops_everything_and_leaves_nothing(tmp_path: Path) -> None:
    process, pids = await started(tmp_path)
    told = tmp_path / "up.json"  # for `mlc` in other terminals
    assert told.stat().st_mode & 0o777 == 0o600

    process.send_signal(signal.SIGINT)
    output, _ = await asyncio.wait_for(process.communicate(), 60)

    assert process.returncode == 0
    assert set(pids) == {"broker", "pipedrive", "netsuite", "ingest", "resolver", "netsuite-writer", "admin"}
    assert not told.exists()
    assert not [name for name, pid in pids.items() if alive(pid)]
    assert b"\nready {" in output


async def test_child_that_dies_is_reported_with_its_last_words(tmp_path: Path) -> None:
    process, pids = await started(tmp_path, "--only", "broker,netsuite")

    os.kill(pids["netsuite"], signal.SIGKILL)
    _, complaint = await asyncio.wait_for(process.communicate(), 60)

    assert process.returncode == 1
    assert b"netsuite ended with exit code -9; it said last:" in complaint
    assert not [name for name, pid in pids.items() if alive(pid)]


async def test_killed_itself_it_leaves_nothing_behind(tmp_path: Path) -> None:
    process, pids = await started(tmp_path, "--only", "broker,pipedrive,netsuite")

    process.kill()
    await process.wait()

    async def all_gone() -> bool:
        return not [name for name, pid in pids.items() if alive(pid)]

    await until(all_gone)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    return subprocess.run([MLC, *arguments], capture_output=True, text=True, env=environment, check=False, timeout=60)


def test_wrong_usage_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    flow = tmp_path / "flow.yaml"
    flow.write_text("flow: x\n  bad: [")
    cases = {
        ("up", "--only", "kafka"): "kafka is no process: use broker",
        ("up", "--scale", "resolver"): "--scale resolver: write <process>=<number>",
        ("topics", "apply"): "MLC_KAFKA_BOOTSTRAP_SERVERS: Field required",
        ("secrets", "set", "flow/x", "webhook-hmac", "--environment", "test"): "must be sandbox or production",
    }

    for arguments, expected in cases.items():
        done = run(*arguments)
        assert (done.returncode, expected in done.stderr) == (2, True), (arguments, done.stderr)
        assert len(done.stderr.strip().splitlines()) == 1


def test_help_names_every_command() -> None:
    done = run("--help")

    assert done.returncode == 0
    for command in ("up", "demo", "accounting", "send", "tail", "sandbox", "topics", "flows", "secrets", "vault"):
        assert command in done.stdout
