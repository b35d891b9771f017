"""The signals that end a process."""

from __future__ import annotations

import asyncio
import signal


def set_by_signal(stop: asyncio.Event) -> asyncio.Event:
    """By SIGTERM or SIGINT, which do nothing else from now on."""
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop
