"""Prometheus' own tool, from Debian's package. Where it is not installed, apt is there and we are root, it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from support.postgres import Missing, install


def promtool(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Raises Missing."""
    found = shutil.which("promtool")
    if found is None:
        install("prometheus")
        found = shutil.which("promtool", path=f"{os.environ['PATH']}:/usr/bin")
    if found is None:
        raise Missing("apt-get installed no promtool")
    return subprocess.run([found, *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=60)
