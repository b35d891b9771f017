"""Which ids were looked at, in few bytes: a sorted set of Pipedrive's ids as the steps between them.

A step below 128 takes one byte, and they are deflated: 500 ids that follow each other take about 20 bytes, 500 of
which each is some thousand above the last about 1000.
"""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Iterable
from typing import Final

from ml_connector.common.errors import Malformed

MAX_ID: Final = 2**63 - 1


def pack(ids: Iterable[int]) -> bytes:
    """Of ids from 1 to MAX_ID, in any order. None are no bytes."""
    steps = bytearray()
    last = 0
    for one in sorted(set(ids)):
        step, last = one - last, one
        while step > 0x7F:
            steps.append(step & 0x7F | 0x80)
            step >>= 7
        steps.append(step)
    return zlib.compress(bytes(steps)) if steps else b""


def unpack(packed: bytes) -> array[int]:
    """Sorted. Raises Malformed."""
    found = array("q")
    if not packed:
        return found
    last = step = shift = 0
    try:
        for byte in zlib.decompress(packed):
            step |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                last += step
                found.append(last)
                step = shift = 0
    except (zlib.error, OverflowError) as error:
        raise Malformed("no packed ids") from error
    return found
