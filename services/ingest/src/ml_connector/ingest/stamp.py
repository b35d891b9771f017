"""What ingest adds to a verified body: an allow-list of headers, never a credential. Pure."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from ml_connector.common import headers as h
from ml_connector.common.headers import Headers

if TYPE_CHECKING:
    from ml_connector.ingest.doors import Door

# W3C trace context, version 00, neither id all zeros.
_TRACEPARENT: Final = re.compile(rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}\Z")
MAX_CONTENT_TYPE: Final = 100


def stamp(door: Door, *, verified_by: str, received_at_ms: int, content_type: bytes, traceparent: str) -> Headers:
    """The headers of the message in `pipedrive.events`; `receipt` is a fresh id."""
    return {
        **door.stamped,
        h.RECEIPT: random.randbytes(16).hex().encode(),  # noqa: S311  an id, no secret
        h.RECEIVED_AT_MS: b"%d" % received_at_ms,
        h.VERIFIED_BY: verified_by.encode(),
        h.CONTENT_TYPE: content_type[:MAX_CONTENT_TYPE],
        h.TRACEPARENT: traceparent.encode(),
    }


def incoming_trace(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    """A valid `traceparent` of the sender (a signing relay may have one)."""
    found = [value for name, value in headers if name == b"traceparent"]
    return found[0] if len(found) == 1 and _TRACEPARENT.match(found[0]) else None
