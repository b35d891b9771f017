"""Read what NetSuite answered: whatever comes, an `Answer`. Pure.

In: a response as it came. Out: the answer, the rows of a SuiteQL page. Never: an exception for what the bytes are; a
proxy's page, a cut body or an unexpected shape in a look-up says nothing, and it is asked again as after a 502.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from email.utils import parsedate_to_datetime
from typing import Any, Final, Protocol

import msgspec

from ml_connector.netsuite_writer.settle import Answer, fault_of

MAX_DETAIL_CHARS: Final = 300
UNREADABLE: Final = 502
_NOT_JSON: Final = "the answer is not JSON"
_NO_ERROR: Final = "the answer is not an error body"
_SECONDS: Final = re.compile(r"[0-9]{1,9}\Z")


class Reply(Protocol):
    """An answer with its body. `headers`: found in any case."""

    @property
    def status_code(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    @property
    def content(self) -> bytes: ...


def read_json(body: bytes) -> Any:
    """None for what is no JSON."""
    try:
        return msgspec.json.decode(body)
    except (ValueError, RecursionError):  # malformed; no UTF-8; nested too deeply
        return None


def read_answer(response: Reply) -> Answer:
    """A status below 300 with an error body is an error all the same: results of batches may come so."""
    location = str(response.headers.get("location", ""))
    if response.status_code < 300 and b"o:errorDetails" not in response.content:
        return Answer(response.status_code, internal_id=_internal_id(response, location), location=location)
    code, detail, status = _error(response.content)
    if response.status_code >= 300:
        status = response.status_code
    asked_s = _retry_after_s(response)
    answer = Answer(status, code, detail[:MAX_DETAIL_CHARS], location=location, retry_after_s=asked_s)
    foreign = detail in {_NOT_JSON, _NO_ERROR} and fault_of(answer) is None
    return replace(answer, foreign=True) if foreign else answer


def looked_up(answer: Answer) -> Answer:
    """Of a read: a record without an id, or a refusal that is not NetSuite's, says nothing."""
    no_id = answer.status == 200 and answer.internal_id is None
    return replace(answer, status=UNREADABLE) if no_id or answer.foreign else answer


def read_rows(body: bytes) -> list[dict[str, Any]] | None:
    """Of a SuiteQL page; None: it is none."""
    page = read_json(body)
    rows = page.get("items") if isinstance(page, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        return None
    return rows


def last_segment(address: str) -> str:
    """What an address names: a record, a job, a task."""
    return address.rstrip("/").rpartition("/")[2]


def granted_by(body: bytes) -> int | None:
    """Requests in flight that governanceLimits grants this integration (Oracle article_0625010817)."""
    found = read_json(body)
    if not isinstance(found, dict):
        return None
    name = "integrationConcurrencyLimit"
    if found.get("integrationLimitType") != "integrationSpecific":
        name = "accountUnallocatedConcurrencyLimit"
    limit = found.get(name, found.get("accountConcurrencyLimit"))
    return limit if isinstance(limit, int) and limit > 0 else None


def _internal_id(response: Reply, location: str) -> str | None:
    """After a write the last segment of `Location`; after a read the member `id`."""
    if location:
        return last_segment(location) or None
    found = read_json(response.content)
    named = found.get("id") if isinstance(found, dict) else None
    return str(named) if isinstance(named, str | int) and not isinstance(named, bool) and named else None


def _error(body: bytes) -> tuple[str, str, int]:
    """Code and text of the first detail, and the status; the printed 429 has a misleading code at top level."""
    found = read_json(body)
    if found is None:
        return "", _NOT_JSON, UNREADABLE
    if not isinstance(found, dict) or not ("o:errorDetails" in found or "o:errorCode" in found):
        return "", _NO_ERROR, UNREADABLE
    details = found.get("o:errorDetails")
    first = details[0] if isinstance(details, list) and details and isinstance(details[0], dict) else found
    status = found.get("status")
    return (
        str(first.get("o:errorCode", "")),
        str(first.get("detail") or found.get("title") or ""),
        status if isinstance(status, int) and status >= 400 else 400,
    )


def _retry_after_s(response: Reply) -> float:
    """0 for none. A moment counts from the answer's own Date: our clock may be wrong."""
    asked = str(response.headers.get("retry-after", "")).strip()
    if _SECONDS.match(asked):
        return float(asked)
    try:
        until, now = parsedate_to_datetime(asked), parsedate_to_datetime(str(response.headers.get("date", "")))
        return max(0.0, (until - now).total_seconds())
    except (ValueError, TypeError, OverflowError):  # no date; only one of them with a zone
        return 0.0
