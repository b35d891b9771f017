"""Puts the clock of a service that it is on the path of ahead, by as many seconds as the file AHEAD_FILE says now.

Python imports a module of this name before a program's own; the product knows nothing of it. Time that is counted, not
told (`monotonic_s`), goes on as it is: so far as the services see, the machine's clock was put forward.
"""

from __future__ import annotations

import os
from pathlib import Path


def put_ahead(file: Path) -> None:
    from ml_connector.common.clock import SystemClock

    real = SystemClock.now_ms

    def now_ms(self: SystemClock) -> int:
        return real(self) + int(file.read_text()) * 1000

    setattr(SystemClock, "now_ms", now_ms)  # noqa: B010  mypy knows it as a method


if "AHEAD_FILE" in os.environ:
    put_ahead(Path(os.environ["AHEAD_FILE"]))
