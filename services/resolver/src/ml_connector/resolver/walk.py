"""Decide about one walk of a sync: whether a page is to be read, and what follows from what was found. Pure.

A page follows its predecessor only when all that came from that one is acknowledged, so whoever finds a page may read
it. Pages that were read already, or belong to a walk that is not running, are left alone. The next page is asked for
before the state says so: a crash between them leads to a page that is read twice, never to one that is left out.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

import msgspec

from ml_connector.common.errors import Malformed
from ml_connector.common.keys import is_source_id
from ml_connector.common.syncing import (
    LIST_TOKENS,
    MAX_IDS,
    PAGE_IDS,
    PAGE_OBJECTS,
    Progress,
    SyncControl,
    SyncPage,
    SyncState,
    SyncStatus,
)

MAX_RESTARTS: Final = 3
MAX_FAULTS: Final = 10
MAX_FAULT_CHARS: Final = 300

_JOB: Final = re.compile(r"[A-Za-z0-9_.-]{1,60}\Z")  # it is part of causes
_EVERY_DEAL: Final = "open,won,lost,deleted"  # without it those that were deleted in the last 30 days are missing


@dataclass(slots=True)
class Found:
    """What one page held. `faults`: why objects were rejected."""

    cursor: str = ""
    read: int = 0
    desired: int = 0
    tokens: int = 0
    faults: Counter[str] = field(default_factory=Counter)


def refuse_unfit(page: SyncPage) -> None:
    """Raises Malformed for what nobody can walk."""
    if not _JOB.match(page.job_id):
        raise Malformed("job_id is not an id (letters, digits, . _ -; at most 60)")
    if page.page < 1 or not 0 < page.token_share <= 1:
        raise Malformed("page counts from 1; token_share is above 0, at most 1")
    if len(page.ids) > MAX_IDS or not all(map(is_source_id, page.ids)):
        raise Malformed(f"ids are positive numbers, at most {MAX_IDS}")


def is_due(page: SyncPage, state: SyncState | None) -> bool:
    """Whether it is to be read now. Without a state only the first page is: the walk was forgotten since."""
    if state is None:
        return page.page == 1
    return state.state == "running" and state.next is not None and page.page >= state.next.page


def begun(page: SyncPage, now_ms: int) -> SyncState:
    return SyncState(
        job_id=page.job_id,
        flow=page.flow,
        entity=page.entity,
        state="running",
        started_at_ms=now_ms,
        changed_at_ms=now_ms,
        progress=page.progress,
        unfollowed=page.unfollowed,
        next=page,
    )


def query_of(page: SyncPage) -> tuple[str, dict[str, str | int], int]:
    """Path, query and API tokens of the page's request."""
    path = f"/api/v2/{page.entity}s" + ("/archived" if page.shelf == "archived" else "")
    tokens = LIST_TOKENS[page.shelf]
    if page.ids:
        return path, {"ids": ",".join(page.ids[:PAGE_IDS]), "limit": PAGE_IDS}, tokens
    given = {"updated_since": page.updated_since, "updated_until": page.updated_until, "cursor": page.cursor}
    query: dict[str, str | int] = {"limit": PAGE_OBJECTS, "sort_by": "id", "sort_direction": "asc"}
    query |= {name: value for name, value in given.items() if value}
    return path, query | ({"status": _EVERY_DEAL} if page.entity == "deal" else {}), tokens


def share_of(page: SyncPage, daily_spendable: int) -> int:
    """Tokens of any 24 hours. All that was spent counts, so that the rest stays for what is not a sync."""
    return int(daily_spendable * page.token_share)


def advanced(state: SyncState, page: SyncPage, found: Found, now_ms: int) -> SyncState:
    """After this page. If the walk still runs, its `next` is to be asked for first."""
    progress = _added(page, found)
    if found.cursor and found.cursor == page.cursor:
        return failed(state, _first(page, now_ms), "Pipedrive gave a page's own cursor as that of the next one", now_ms)
    following = _following(page, found, progress, now_ms)
    if following is None:
        return _moved(state, "done", now_ms, progress=progress, next=None)
    left = progress.rejected - page.rejected_before
    if page.stop_after and left >= page.stop_after:
        why = max(progress.faults, key=lambda fault: progress.faults[fault], default="")
        reason = f"{left} objects were rejected, most of them so: {why}; correct the flow, then go on"
        return _moved(state, "paused", now_ms, progress=progress, next=following, reason=reason)
    return _moved(state, "running", now_ms, progress=progress, next=following)


def cursor_refused(state: SyncState, page: SyncPage, tokens: int, now_ms: int) -> SyncState:
    """There is no way to begin in the middle: it begins again, since objects that come twice change nothing."""
    was = page.progress
    if was.restarts >= MAX_RESTARTS:
        reason = (
            f"Pipedrive refused the cursor of a page {was.restarts + 1} times; does the walk wait too long for tokens?"
        )
        return failed(state, _first(page, now_ms), reason, now_ms)
    spent = Progress(pages=was.pages, tokens=was.tokens + tokens, restarts=was.restarts + 1)
    again = _first(msgspec.structs.replace(page, page=page.page + 1), now_ms, progress=spent)
    return _moved(state, "running", now_ms, progress=again.progress, next=again)


def failed(state: SyncState, again: SyncPage, reason: str, now_ms: int) -> SyncState:
    """`again`: where it goes on, should somebody want that."""
    return _moved(state, "failed", now_ms, progress=again.progress, next=again, reason=reason)


def waiting(state: SyncState, page: SyncPage, reason: str, *, until_ms: int, now_ms: int) -> SyncState:
    return _moved(state, "running", now_ms, progress=page.progress, next=page, reason=reason, until_ms=until_ms)


def controlled(state: SyncState, control: SyncControl, now_ms: int) -> SyncState:
    """A walk that was cancelled or is done stays so. If it runs afterwards, its `next` is to be asked for."""
    page = state.next
    if page is None or state.state in {"cancelled", "done"}:
        return state
    match control.to:
        case "paused" if state.state == "running":
            return _moved(state, "paused", now_ms, progress=state.progress, next=page)
        case "cancelled":
            return _moved(state, "cancelled", now_ms, progress=state.progress, next=None)
        case "running":
            stop_after = page.stop_after if control.stop_after is None else control.stop_after
            seen = state.progress.rejected
            page = msgspec.structs.replace(page, at_ms=now_ms, stop_after=stop_after, rejected_before=seen)
            return _moved(state, "running", now_ms, progress=state.progress, next=page)
    return state


def _moved(
    state: SyncState,
    to: SyncStatus,
    now_ms: int,
    *,
    progress: Progress,
    next: SyncPage | None,  # noqa: A002  the member's name
    reason: str = "",
    until_ms: int = 0,
) -> SyncState:
    return msgspec.structs.replace(
        state, state=to, changed_at_ms=now_ms, progress=progress, next=next, reason=reason, until_ms=until_ms
    )


def _added(page: SyncPage, found: Found) -> Progress:
    was = page.progress
    faults = Counter(was.faults)
    for reason, count in found.faults.items():
        faults[reason[:MAX_FAULT_CHARS]] += count
    return Progress(
        pages=was.pages + 1,
        read=was.read + found.read,
        desired=was.desired + found.desired,
        rejected=was.rejected + found.faults.total(),
        tokens=was.tokens + found.tokens,
        restarts=was.restarts,
        first_page=was.first_page,
        last_page=page.page,
        faults=dict(faults.most_common(MAX_FAULTS)),
    )


def _following(page: SyncPage, found: Found, progress: Progress, now_ms: int) -> SyncPage | None:
    after = msgspec.structs.replace(page, page=page.page + 1, at_ms=now_ms, progress=progress, cursor="")
    if page.ids:
        left = page.ids[PAGE_IDS:]
        return msgspec.structs.replace(after, ids=left) if left else None
    if found.cursor:
        return msgspec.structs.replace(after, cursor=found.cursor)
    if page.entity == "deal" and page.shelf == "current":
        return msgspec.structs.replace(after, shelf="archived")
    return None


def _first(page: SyncPage, now_ms: int, *, progress: Progress | None = None) -> SyncPage:
    """As if the walk began with it."""
    if progress is None:
        progress = Progress(pages=page.progress.pages, tokens=page.progress.tokens)
    progress = msgspec.structs.replace(progress, first_page=page.page)
    return msgspec.structs.replace(page, shelf="current", cursor="", at_ms=now_ms, rejected_before=0, progress=progress)
