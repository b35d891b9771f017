"""The demo itself, small: on the embedded broker, where neither Java nor Maven is to be found."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

MLC = str(Path(sys.executable).parent / "mlc")


@pytest.mark.timeout(180)
def test_demo_on_the_embedded_broker_says_so_and_balances(tmp_path: Path) -> None:
    environment = {"PATH": str(tmp_path), "HOME": str(tmp_path)}
    done = subprocess.run(
        [MLC, "demo", "--share", "0.02", "--json"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        timeout=170,
    )

    result = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == 0, done.stderr
    assert result["broker"].startswith("noida-db") and "log compaction" in result["broker"]
    assert result["accepted"] == sum(result[name] for name in ("written", "superseded", "ignored", "dead_lettered"))
    assert left_behind(tmp_path) == []
    assert (result["waiting"], result["mismatches"], result["duplicates"], result["dead_lettered"]) == (0, 0, 1, 1)


def left_behind(home: Path) -> list[str]:
    """Processes that were started with this home and still run."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has just ended, or is not ours
            if f"HOME={home}".encode() in (process / "environ").read_bytes().split(b"\0"):
                found.append((process / "cmdline").read_text().replace("\0", " "))
    return found
