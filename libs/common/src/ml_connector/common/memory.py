"""How a service that lives long collects its garbage."""

from __future__ import annotations

import gc
from typing import Final

YOUNG: Final = 50_000


def rarely_collect() -> None:
    """Call it once everything is loaded.

    What is loaded stays: going through it again and again would hold up every request for some 30 ms. Requests and
    messages leave hardly any cycles, so the collector comes round less often (measured in docs/performance.md).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 20, 20)
