"""`mlc up`: everything in one terminal, with prefixed logs, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from ml_connector.cli.running import forget, tell
from ml_connector.cli.stack import ALL, Stack, StackOptions
from ml_connector.common.signals import set_by_signal

_WIDTH = max(len(name) for name in ALL) + 2
_COLOURS = dict(zip(ALL, (90, 35, 36, 32, 33, 34, 31), strict=True))


async def run_up(options: StackOptions, ready_file: Path | None) -> int:
    """The exit code: 0 after a signal, 1 when a process died."""
    stop = set_by_signal(asyncio.Event())
    stack = Stack(options, on_line=print_line)
    starting = asyncio.create_task(stack.__aenter__())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        return 0
    await starting
    try:
        _report(stack, ready_file)
        died = asyncio.create_task(stack.died.wait())
        await asyncio.wait([stopping, died], return_when=asyncio.FIRST_COMPLETED)
    finally:
        forget()
        await stack.__aexit__(None, None, None)
    if stack.died.is_set():
        sys.stderr.write(f"mlc: {stack.death}\n")
        return 1
    return 0


def print_line(name: str, line: str) -> None:
    """One line of a child, with its name in front; coloured on a terminal."""
    label = f"{name:<{_WIDTH}}"
    if sys.stdout.isatty():
        label = f"\x1b[{_COLOURS.get(name.partition('#')[0], 0)}m{label}\x1b[0m"
    sys.stdout.write(f"{label}| {line}\n")
    sys.stdout.flush()


def _report(stack: Stack, ready_file: Path | None) -> None:
    tell(stack.commands_environment())
    text = stack.ready_json()
    if ready_file is not None:
        partial = ready_file.with_suffix(".partial")
        partial.write_text(text)
        partial.rename(ready_file)
    sys.stdout.write(f"ready {text}\n")
    sys.stdout.flush()
