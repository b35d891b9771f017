"""Child processes that are watched, that never outlive us, and whose last words are kept."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

LAST_LINES: Final = 20
_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None)

OnLine = Callable[[str, str], None]


class Child:
    """One process. `on_line(name, line)` hears what it prints."""

    def __init__(self, name: str, command: list[str], environment: Mapping[str, str], on_line: OnLine) -> None:
        self.name = name
        self._command = command
        self._environment = dict(environment)
        self._on_line = on_line
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self.last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self.stopping = False

    async def start(self) -> None:
        """In a session of its own: Ctrl-C in the terminal is ours to pass on, in order."""
        self.stopping = False
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            env={**os.environ, **self._environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
        self._reading = asyncio.create_task(self._read(self._process), name=f"read-{self.name}")

    @property
    def pid(self) -> int:
        return self._process.pid if self._process is not None else 0

    @property
    def ended(self) -> int | None:
        """The exit code; None while it runs."""
        return self._process.returncode if self._process is not None else None

    async def wait(self) -> int:
        """Until it has ended, and everything that it printed was heard."""
        if self._process is None or self._reading is None:
            return 0
        code = await self._process.wait()
        await self._reading
        return code

    async def stop(self, within_s: float) -> int:
        """SIGTERM, then SIGKILL."""
        self.stopping = True
        self.signal(signal.SIGTERM)
        try:
            return await asyncio.wait_for(self.wait(), within_s)
        except TimeoutError:
            self._on_line(self.name, f"did not stop within {within_s:.0f} s: killed")
            return await self.kill()

    async def kill(self) -> int:
        """SIGKILL to the process and what it started."""
        self.stopping = True
        self.signal(signal.SIGKILL)
        return await self.wait()

    def signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                if number == signal.SIGKILL:
                    os.killpg(self._process.pid, number)
                else:
                    self._process.send_signal(number)

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        if process.stdout is None:
            return
        async for raw in process.stdout:
            line = raw.decode(errors="replace").rstrip()
            self.last_lines.append(line)
            self._on_line(self.name, line)


def _die_with_parent() -> None:
    """Runs between fork and exec: one system call, nothing else."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
