"""How CPython runs a service that lives long: its garbage collector and its lock."""

from __future__ import annotations

import gc
import sys
from typing import Final

YOUNG: Final = 50_000
SWITCH_S: Final = 0.0005


def prefer_latency() -> None:
    """Call it once everything is loaded.

    What is loaded stays: going through it again and again would hold up every request for some 30 ms. Requests and
    messages leave hardly any cycles, so the collector comes round less often. The event loop gets the interpreter's
    lock back from the threads of the Kafka clients after half a millisecond instead of five (docs/performance.md).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 20, 20)
    sys.setswitchinterval(SWITCH_S)
