"""Kills the process that it is on the path of at one chosen line, once.

Python imports a module of this name before a program's own; the product knows nothing of it.
CRASH_AT: `<module>:<class>.<method>:before|after`. CRASH_MARK: a file that is made just before the kill, and that keeps
the next process alive.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import os
import signal
from pathlib import Path
from typing import Any


def arm(at: str, mark: Path) -> None:
    module, path, moment = at.split(":")
    class_name, method_name = path.split(".")
    owner = getattr(importlib.import_module(module), class_name)
    method = getattr(owner, method_name)

    def die() -> None:
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)

    @functools.wraps(method)
    async def crashing_async(*arguments: Any, **named: Any) -> Any:
        if moment == "after":
            await method(*arguments, **named)
        die()

    @functools.wraps(method)
    def crashing(*arguments: Any, **named: Any) -> Any:
        if moment == "after":
            method(*arguments, **named)
        die()

    setattr(owner, method_name, crashing_async if asyncio.iscoroutinefunction(method) else crashing)


if "CRASH_AT" in os.environ and not Path(os.environ["CRASH_MARK"]).exists():
    arm(os.environ["CRASH_AT"], Path(os.environ["CRASH_MARK"]))
