"""What asked for a write: one text id for each webhook event, replay, hydrate or sync entry. Pure."""

from __future__ import annotations

import hashlib
import re

from ml_connector.common.errors import Malformed

# Causes are parts of Kafka keys that use "/" and "#" as separators.
_PART = re.compile(r"[A-Za-z0-9_.@-]{1,100}\Z")
_EVENT = re.compile(r"[A-Za-z0-9_.@-]{1,100}:[A-Za-z0-9_.@-]{1,100}\Z")


def of_event(webhook_id: str, event_id: str) -> str:
    """`<webhook_id>:<meta.id>`: equal for every delivery of one event (facts/pipedrive.md section 5)."""
    cause = f"{webhook_id}:{event_id}"
    if _EVENT.match(cause):
        return cause
    for name, part in (("meta.webhook_id", webhook_id), ("meta.id", event_id)):
        if not _PART.match(part):
            raise Malformed(f"{name} is not an id (letters, digits, . _ @ -; at most 100)")
    return cause


def of_unreadable(body: bytes) -> str:
    """For a verified body that names no event: the same bytes give the same cause."""
    return f"raw:{hashlib.sha256(body).hexdigest()[:32]}"


def of_hydrate(request_id: str) -> str:
    return f"hyd:{request_id}"


def is_hydrate(cause: str) -> bool:
    return cause.startswith("hyd:")


def of_replay(job: str, number: int) -> str:
    return f"rpl:{job}:{number}"


def of_sync(job: str, entity: str, source_id: str) -> str:
    return f"syn:{job}:{entity}:{source_id}"
