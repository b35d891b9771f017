"""The headers that travel with an event: what ingest stamps, what the resolver reads, what a dead letter keeps."""

from __future__ import annotations

from typing import Final

FLOW: Final = "flow"
COMPANY: Final = "company"
ACCOUNT: Final = "account"
RECEIPT: Final = "receipt"  # one id per delivery, made by ingest
RECEIVED_AT_MS: Final = "received-at-ms"
VERIFIED_BY: Final = "verified-by"  # "hmac-sha256:<key id>", "basic:<key id>", both joined by "+"
CONTENT_TYPE: Final = "content-type"
TRACEPARENT: Final = "traceparent"

# Only on what is not a webhook: a replay, or an event put aside.
CAUSE: Final = "cause"
REPLAY_OF: Final = "replay-of"
REVISION: Final = "revision"
LANE: Final = "lane"
FORCE: Final = "force"  # write it even if NetSuite is known to hold exactly this
MAPPING_VERSION: Final = "mapping-version"  # map with this version of the flow, not with the active one
# The value is an object as REST gave it, `<entity>/<id>`, of this generation; not a webhook body.
OBJECT: Final = "object"
GENERATION: Final = "generation"
KIND: Final = "kind"  # in pipedrive.deferred: "event" or "request"; of a request: what is asked for (asking.py)
REQUEST_ID: Final = "request-id"  # of a request that wants an answer: its key in connector.replies
DRAFT: Final = "draft"  # of a preview: the value is a Draft (asking.py)
DUE_AT_MS: Final = "due-at-ms"
DEFERRALS: Final = "deferrals"
REASON: Final = "reason"

# What a dead letter keeps of the original's headers; credentials are never among them.
ORIGINAL: Final = frozenset(
    {
        FLOW,
        COMPANY,
        ACCOUNT,
        RECEIPT,
        RECEIVED_AT_MS,
        VERIFIED_BY,
        CONTENT_TYPE,
        CAUSE,
        REPLAY_OF,
        REVISION,
        LANE,
        OBJECT,
        GENERATION,
    }
)

Headers = dict[str, bytes]


def asks(headers: Headers) -> bool:
    """Whether a request only wants an answer: it is no cause, and no record comes from it."""
    return REQUEST_ID in headers


def text(headers: Headers, name: str, default: str = "") -> str:
    """One header as text; what is not UTF-8 is replaced, since a header never decides anything alone."""
    value = headers.get(name)
    return default if value is None else value.decode("utf-8", "replace")


def number(headers: Headers, name: str, default: int) -> int:
    """One header as a whole number; anything else counts as absent."""
    try:
        return int(headers[name])
    except (KeyError, ValueError):
        return default
