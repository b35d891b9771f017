"""A sync: a walk over the objects of one entity, page by page. What the company's owner is asked, and what it keeps.

Requests are in `pipedrive.requests`, key: the company, with `headers.KIND`. A page's last act is to ask for the next
one, so that nothing else waits behind a walk. A page is no cause: each of its objects is one (`cause.of_sync`), unless
they are only compared (`comparing.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from ml_connector.common import headers as h
from ml_connector.common.codec import Wire
from ml_connector.common.headers import Headers
from ml_connector.common.keys import Entity

PAGE: Final = b"sync"
CONTROL: Final = b"sync-control"

# Lists of Pipedrive: archived deals have one of their own.
Shelf = Literal["current", "archived"]
# Write what the objects should be, or compare it with what NetSuite holds; `drift`: and do what the flow's policy says.
Purpose = Literal["sync", "compare", "drift"]
LIST_TOKENS: Final[Mapping[Shelf, int]] = {"current": 10, "archived": 20}  # of a page (facts/pipedrive.md section 8)
OBJECT_TOKENS: Final = 1  # of one object that is asked for by its id
PAGE_OBJECTS: Final = 500  # as many as Pipedrive gives
PAGE_IDS: Final = 100  # as many as it takes
MAX_IDS: Final = 10_000  # of one walk

SyncStatus = Literal["running", "paused", "cancelled", "done", "failed"]


class Progress(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a walk has done so far. `read` = `desired` + `rejected`, since it last began at the first page.

    Of a comparison: what is compared, and what cannot be, since it does not fit the mapping.
    """

    pages: int = 0
    read: int = 0  # objects
    desired: int = 0
    rejected: int = 0  # each is a dead letter, but for an object without an id
    tokens: int = 0  # of Pipedrive's daily budget
    restarts: int = 0  # from the first page, because Pipedrive refused the cursor
    first_page: int = 1  # with which it last began
    last_page: int = 0  # that was read
    faults: dict[str, int] = {}  # why objects were rejected: the most frequent reasons


class SyncPage(Wire, frozen=True, tag_field="kind", tag="sync"):
    """Kind `sync`: read one page, emit what its objects should be, ask for the next page.

    `page` 1 begins a walk; it counts up without gaps, over all lists and restarts. All that a walk must remember is
    carried from page to page.
    """

    job_id: str
    flow: str
    entity: Entity
    at_ms: int
    page: int = 1
    shelf: Shelf = "current"
    cursor: str = ""
    updated_since: str = ""  # RFC 3339; this and later
    updated_until: str = ""  # before this
    ids: tuple[str, ...] = ()  # these and no others; those that are still to be read
    token_share: float = 1.0  # a page is read only while all that was spent in 24 h is within this share
    stop_after: int = 0  # pause after so many rejected objects; 0: never
    rejected_before: int = 0  # of those, how many do not count: somebody has seen them and gone on
    force: bool = False  # as of a desired state
    purpose: Purpose = "sync"
    urgent: bool = False  # before pages that are not: somebody has just changed these in NetSuite
    unfollowed: bool = False  # nobody follows the walk: its state is deleted when it ends, however it does
    progress: Progress = Progress()


class SyncControl(Wire, frozen=True, tag_field="kind", tag="sync-control"):
    """Kind `sync-control`: what shall become of a walk. `running` also helps one that has failed, or is stuck.

    `forgotten`: its state is deleted; for a walk that has ended.
    """

    job_id: str
    flow: str
    entity: Entity
    to: Literal["running", "paused", "cancelled", "forgotten"]
    at_ms: int
    stop_after: int | None = None  # with `running`: from now on this many


class SyncState(Wire, frozen=True):
    """How far a walk is. In `pipedrive.state`, key: `sync_key`."""

    job_id: str
    flow: str
    entity: Entity
    state: SyncStatus
    started_at_ms: int
    changed_at_ms: int
    progress: Progress = Progress()
    reason: str = ""  # why it failed, was paused by itself, or waits
    until_ms: int = 0  # it waits until then, and looks again
    unfollowed: bool = False
    next: SyncPage | None = None  # the page that is to be read; None when there is none


def sync_key(company: str, job_id: str, entity: str) -> str:
    return f"{company}/sync/{job_id}/{entity}"


def page_headers(page: SyncPage) -> Headers:
    """Of the request for it."""
    urgent = {h.LANE: b"live"} if page.urgent else {}
    return {h.KIND: PAGE, h.FLOW: page.flow.encode(), **urgent}


def is_urgent(headers: Headers) -> bool:
    """Whether a request, of a page or for a comparison, goes before those that are not."""
    return headers.get(h.LANE) == b"live"


def is_sync(headers: Headers) -> bool:
    """Whether a request is a page of a walk, or about one."""
    return headers.get(h.KIND) in {PAGE, CONTROL}
