"""Say why a record failed: what failures have in common, which field they name, what usually helps. Pure.

In: stage, code, message and NetSuite's answer as a dead letter holds them. Never: a value of the event in a signature.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, Final

import msgspec

# Parts of a message that differ from record to record, in the order in which they are looked for.
_VOLATILE: Final = (
    (re.compile(r"(?i)error id: ?\S+"), "Error ID: *"),
    (re.compile(r"(?i)\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "*"),
    (re.compile(r"\b\d{4}-\d\d-\d\d([T ][\d:.]+(Z|[+-]\d\d:?\d\d)?)?"), "*"),
    (re.compile(r"\S+@\S+\.\w+"), "*"),
    (re.compile(r"'[^']*'|\"[^\"]*\"|\u201c[^\u201d]*\u201d"), "'*'"),
    (re.compile(r"\b\w*\d\w*\b"), "*"),
    (re.compile(r"\*([ ,;.-]*\*)+"), "*"),
)
_FIELD: Final = re.compile(r"^field '([^']+)':")
_MISSING: Final = re.compile(r"(?i)please enter value\(s\) for: ([^.]+)\.?")
_NAMED: Final = re.compile(r"(?i)\b(?:following field|invalid [\w -]+): ?([A-Za-z_][\w.]*)")
_QUOTED_FIELD: Final = re.compile(r"(?i)\bfield (?:named )?['\"]?([A-Za-z_][\w.\[\]]*)['\"]?")

# What an operator does about it, by code, then by stage (DESIGN section 6, facts/netsuite.md section 7).
_BY_CODE: Final = {
    "MALFORMED": "The event is not what Pipedrive documents. Edit a copy and replay that, or discard it.",
    "UNKNOWN_FLOW": "Apply the flow again (`mlc flows apply`), then replay; or discard it.",
    "UNKNOWN_VERSION": "This version of the flow does not exist: replay with today's mapping.",
    "MAPPING": "Change the flow's expression (or the object in Pipedrive), then replay with today's mapping.",
    "UNMAPPED_STAGE": "Give the stage a NetSuite status in the flow's `stages`, then replay with today's mapping.",
    "TOO_LARGE": "Map fewer or shorter fields, then replay.",
    "ORPHAN": "Give the object an organization in Pipedrive, or the flow a default customer, then replay.",
    "UNKNOWN_REFERENCE": "NetSuite knows no such currency, subsidiary or status: correct the look-up, then replay.",
    "SEVERAL_MATCHES": "Give one candidate the external id by hand, or make `match` stricter, then replay.",
    "DUPLICATE": "NetSuite has a record of this name. Add `match` to the flow to adopt it, or rename one, then replay.",
    "NONEXISTENT_ID": "A reference names a record that NetSuite does not have: correct it, then replay.",
    "UPSERT_REFUSED": "Set `netsuite.opportunities: look-up` in the flow, then replay.",
    "INSUFFICIENT_PERMISSION": "Give the integration's role this permission in NetSuite, then replay.",
    "FORBIDDEN": "Give the integration's role this permission in NetSuite, then replay.",
    "NO_SUCCESS": "NetSuite failed at this record only: look for a script or workflow there, then replay.",
}
_BY_STAGE: Final = {
    "decode": _BY_CODE["MALFORMED"],
    "map": _BY_CODE["MAPPING"],
    "orphan": _BY_CODE["ORPHAN"],
    "vendor": _BY_CODE["NO_SUCCESS"],
}
_INVALID: Final = re.compile(r"(?i)\binvalid\b")
_INVALID_VALUE: Final = "NetSuite does not take this value: correct it in Pipedrive, or edit a copy, then replay."
_MISSING_VALUE: Final = "Map {field} in the flow, or fill it in Pipedrive (or edit a copy), then replay."


def field_of(message: str, response: bytes) -> str:
    """Which field the failure names: NetSuite's error path, our own `field '...'`, or the text's; else empty."""
    path = _error_path(response)
    if path:
        return path
    for pattern in (_FIELD, _MISSING, _NAMED, _QUOTED_FIELD):
        found = pattern.search(message)
        if found:
            return found[1].strip()[:100]
    return ""


def signature_of(*, stage: str, code: str, field: str, flow: str, message: str) -> str:
    """Equal for failures that one and the same act would mend; ten hexadecimal digits."""
    parts = "\0".join((stage, code, field, flow, normal(message)))
    return hashlib.sha256(parts.encode()).hexdigest()[:10]


def normal(message: str) -> str:
    """A message without what differs from record to record."""
    for pattern, instead in _VOLATILE:
        message = pattern.sub(instead, message)
    return " ".join(message.split())[:500]


def suggested_fix(*, stage: str, code: str, message: str) -> str:
    """What usually helps; empty where nobody knows."""
    missing = _MISSING.search(message)
    if missing:
        return _MISSING_VALUE.format(field=missing[1].strip())
    if stage == "write" and _INVALID.search(message):
        return _INVALID_VALUE
    return _BY_CODE.get(code) or _BY_STAGE.get(stage, "")


def letter_id(cause: str, record_key: str) -> str:
    """The same after every rebuild, and short enough to be typed."""
    return hashlib.sha256(f"{cause}\0{record_key}".encode()).hexdigest()[:12]


def _error_path(response: bytes) -> str:
    """`o:errorPath` of the first detail that has one (Oracle section_156570709583)."""
    try:
        found: Any = msgspec.json.decode(response) if response else None
    except (msgspec.DecodeError, RecursionError):
        return ""
    details = found.get("o:errorDetails") if isinstance(found, dict) else None
    for detail in details if isinstance(details, list) else ():
        path = detail.get("o:errorPath") if isinstance(detail, dict) else None
        if isinstance(path, str) and path:
            return re.sub(r"\[\d+\]", "[]", path)[:100]
    return ""
