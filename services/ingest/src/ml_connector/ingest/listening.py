"""Stop taking connections without cutting those that wait: the kernel drops new SYNs, the rest is served.

Closing a listening socket resets every connection that is established but not accepted yet, with its request in it. So
before that a socket filter (Linux, socket(7)) lets nobody new in: their connect goes on trying, and is refused later.
"""

from __future__ import annotations

import contextlib
import ctypes
import socket
import struct
from typing import Final

_SO_ATTACH_FILTER: Final = 26
_FLAGS_AT: Final = 13  # of a TCP header
_SYN: Final = 0x02
# Classic BPF, one (code, jump if true, jump if false, operand) a line.
_DROP_SYN: Final = b"".join(
    struct.pack("HBBI", *instruction)
    for instruction in (
        (0x30, 0, 0, _FLAGS_AT),  # load the byte of the flags
        (0x45, 0, 1, _SYN),  # is it a SYN?
        (0x06, 0, 0, 0),  # yes: drop
        (0x06, 0, 0, 0xFFFFFFFF),  # no: take all of it
    )
)


def refuse_newcomers(listener: socket.socket) -> None:
    """Where the kernel has no such filters, closing must do."""
    code = ctypes.create_string_buffer(_DROP_SYN, len(_DROP_SYN))
    program = struct.pack("HP", len(_DROP_SYN) // 8, ctypes.addressof(code))
    with contextlib.suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
