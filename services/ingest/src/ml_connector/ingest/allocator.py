"""What the HTTP server no longer needs goes back to the kernel, instead of being kept for later.

Each connection has a read buffer of 8 KiB. Its allocator (jemalloc) would hand on those that others have filled, so
that even one that says nothing costs all of it; one that comes fresh from the kernel costs what is written to it.
"""

from __future__ import annotations

import os
from typing import Final

VARIABLE: Final = "_RJEM_MALLOC_CONF"
CONF: Final = "dirty_decay_ms:0,muzzy_decay_ms:0,narenas:1"


def give_back_at_once() -> None:
    """Before the server is imported: its allocator reads this as it is loaded. What the operator has set stays."""
    os.environ.setdefault(VARIABLE, CONF)
