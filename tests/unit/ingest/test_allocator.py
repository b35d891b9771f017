"""The HTTP server's allocator does as it is told: it says so itself as the process ends."""

from __future__ import annotations

import os
import subprocess
import sys

from ml_connector.ingest.allocator import VARIABLE

# It ends at once, because it has no settings; by then the server is imported.
PROGRAM = """
import runpy
from ml_connector.ingest import allocator
allocator.CONF += ",stats_print:true"
runpy.run_module("ml_connector.ingest", run_name="__main__")
"""


def _said(**more: str) -> str:
    environment = {
        name: value for name, value in os.environ.items() if name != VARIABLE and not name.startswith("MLC_")
    }
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        check=False,
        env={**environment, **more},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 2, ended.stderr[-500:]
    return ended.stderr


def test_what_is_free_goes_back_at_once() -> None:
    said = _said()

    assert "opt.dirty_decay_ms: 0 " in said
    assert "opt.muzzy_decay_ms: 0 " in said
    assert "opt.narenas: 1\n" in said


def test_what_the_operator_has_set_stays() -> None:
    said = _said(**{VARIABLE: "dirty_decay_ms:500,stats_print:true"})

    assert "opt.dirty_decay_ms: 500 " in said
